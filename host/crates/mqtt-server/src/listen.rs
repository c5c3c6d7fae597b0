//! Binds the listeners, before any thread starts, so that an error names the listener.
//!
//! Accepted sockets inherit keep-alive probes and `TCP_NODELAY` from the listening one (Linux); ntex
//! sets neither.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::tls::LoadCertificateError;
use crate::{BoundAddresses, MqttServerConfig};

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
        /// `tcp`, `ws`, `tls` or `wss`.
        listener: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The configuration has no address at all.
    #[error("the mqtt server has no listener; set mqtt.tcp, mqtt.ws, mqtt.tls or mqtt.wss")]
    NoListener,
    /// A TLS listener needs a certificate.
    #[error("mqtt.tls and mqtt.wss need mqtt.tls-cert and mqtt.tls-key")]
    NoCertificate,
    /// The certificate cannot be used.
    #[error("mqtt tls certificate")]
    Certificate {
        /// What is wrong with it.
        #[source]
        source: LoadCertificateError,
    },
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

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// MQTT.
    Tcp,
    /// MQTT over WebSocket.
    Ws,
    /// MQTT over TLS.
    Tls,
    /// MQTT over WebSocket over TLS.
    Wss,
}

impl Kind {
    /// The name in events, logs and metric labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Tls => "tls",
            Self::Wss => "wss",
        }
    }
}

/// Where all of them are bound.
pub(crate) fn addresses(listening: &[Listening]) -> BoundAddresses {
    let of_kind = |kind| {
        let matching = listening.iter().filter(move |one| one.kind == kind);
        matching.map(|one| one.address).collect()
    };
    BoundAddresses {
        tcp: of_kind(Kind::Tcp),
        ws: of_kind(Kind::Ws),
        tls: of_kind(Kind::Tls),
        wss: of_kind(Kind::Wss),
    }
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) socket: TcpListener,
}

/// Binds all listeners of `config`, or none.
pub(crate) fn bind_all(config: &MqttServerConfig) -> Result<Vec<Listening>, StartServerError> {
    let all = [
        (Kind::Tcp, &config.tcp),
        (Kind::Ws, &config.ws),
        (Kind::Tls, &config.tls),
        (Kind::Wss, &config.wss),
    ];
    let listening = all
        .into_iter()
        .flat_map(|(kind, addresses)| addresses.iter().map(move |address| (kind, *address)))
        .map(|(kind, address)| {
            bind(kind, address).map_err(|source| StartServerError::Bind {
                listener: kind.as_str(),
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

fn bind(kind: Kind, address: SocketAddr) -> io::Result<Listening> {
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
