//! Finds and probes the ports before the servers bind them, since their library's own errors do not
//! name the address.
//!
//! Between probe and bind another process may take a port; the start then fails with the library's text.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::StartEmbeddedError;

/// How often three neighbouring ports are looked for.
const ATTEMPTS_MAX: usize = 100;

/// `wanted` if it is free, with a free port put in if it has port 0.
pub(crate) fn free_address(
    listener: &'static str,
    wanted: SocketAddr,
) -> Result<SocketAddr, StartEmbeddedError> {
    let probe = bind(listener, wanted)?;
    probe
        .local_addr()
        .map_err(|source| StartEmbeddedError::Listen {
            listener,
            address: wanted,
            source,
        })
}

/// A broker address whose port P has P-2 and P+1 free, too, and none of them is `name_server`'s.
pub(crate) fn free_broker_address(
    wanted: SocketAddr,
    name_server: SocketAddr,
) -> Result<SocketAddr, StartEmbeddedError> {
    const LISTENER: &str = "broker";
    // Nothing holds the name server's port between its probe and its start but this.
    let reserved = bind("name server", name_server)?;
    if wanted.port() != 0 {
        let [second, replication] =
            neighbours(wanted).ok_or(StartEmbeddedError::BrokerPort { address: wanted })?;
        let probes = (
            bind(LISTENER, wanted)?,
            bind(LISTENER, second)?,
            bind(LISTENER, replication)?,
        );
        drop((probes, reserved));
        return Ok(wanted);
    }
    for _ in 0..ATTEMPTS_MAX {
        let probe = bind(LISTENER, wanted)?;
        let address = probe
            .local_addr()
            .map_err(|source| StartEmbeddedError::Listen {
                listener: LISTENER,
                address: wanted,
                source,
            })?;
        let Some([second, replication]) = neighbours(address) else {
            continue;
        };
        if bind(LISTENER, second).is_ok() && bind(LISTENER, replication).is_ok() {
            drop(reserved);
            return Ok(address);
        }
    }
    Err(StartEmbeddedError::NoFreePorts { address: wanted })
}

fn neighbours(address: SocketAddr) -> Option<[SocketAddr; 2]> {
    let second = address.port().checked_sub(2).filter(|port| *port > 0)?;
    let replication = address.port().checked_add(1)?;
    Some([
        SocketAddr::new(address.ip(), second),
        SocketAddr::new(address.ip(), replication),
    ])
}

fn bind(listener: &'static str, address: SocketAddr) -> Result<TcpListener, StartEmbeddedError> {
    TcpListener::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartEmbeddedError::AddressInUse { listener, address },
        _ => StartEmbeddedError::Listen {
            listener,
            address,
            source,
        },
    })
}

#[cfg(test)]
mod tests;
