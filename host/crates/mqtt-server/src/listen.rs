//! Binds the listeners, before any thread starts, so that an error names the listener.
//!
//! Accepted sockets inherit keep-alive probes and `TCP_NODELAY` from the listening one (Linux); ntex
//! sets neither.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::MqttServerConfig;

/// Connections that the kernel holds until a worker takes them.
const BACKLOG: i32 = 4096;
/// A peer that vanished without a word is noticed even if it chose no MQTT keep alive.
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// Why the MQTT server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartServerError {
    /// A listener cannot be bound, often since the address is in use.
    #[error("mqtt {listener} listener {address}")]
    Bind {
        /// `tcp` or `ws`.
        listener: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The configuration has no address at all.
    #[error("the mqtt server has no listener; set mqtt.tcp or mqtt.ws")]
    NoListener,
    /// The server's thread cannot be started.
    #[error("the mqtt server's thread cannot be started")]
    Thread {
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The server stopped before it ran.
    #[error("the mqtt server stopped while it started")]
    Stopped,
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listening {
    /// `tcp` or `ws`.
    pub(crate) kind: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) socket: TcpListener,
}

/// Binds all listeners of `config`, or none.
pub(crate) fn bind_all(config: &MqttServerConfig) -> Result<Vec<Listening>, StartServerError> {
    let tcp = config.tcp.iter().map(|address| ("tcp", *address));
    let ws = config.ws.iter().map(|address| ("ws", *address));
    let listening = tcp
        .chain(ws)
        .map(|(listener, address)| {
            bind(listener, address).map_err(|source| StartServerError::Bind {
                listener,
                address,
                source,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if listening.is_empty() {
        return Err(StartServerError::NoListener);
    }
    Ok(listening)
}

fn bind(kind: &'static str, address: SocketAddr) -> io::Result<Listening> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restarted host binds at once, whatever connections of its predecessor still linger.
    socket.set_reuse_address(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER))?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from(socket);
    Ok(Listening {
        kind,
        address: socket.local_addr()?,
        socket,
    })
}
