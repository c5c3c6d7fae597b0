//! What the host decides about the sockets.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::CertificateFiles;

/// Which client ids are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientIdPolicy {
    /// `<GroupID>@@@<DeviceID>` only.
    Apsaramq,
    /// Every id that MQTT allows; an empty one is replaced by a random one.
    Any,
}

/// Listeners and limits of the MQTT server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttServerConfig {
    /// MQTT over TCP; port 0 picks a free one.
    pub tcp: Vec<SocketAddr>,
    /// MQTT over WebSocket, path `/mqtt`; port 0 picks a free one.
    pub ws: Vec<SocketAddr>,
    /// MQTT over TLS; port 0 picks a free one.
    pub tls: Vec<SocketAddr>,
    /// MQTT over WebSocket over TLS, path `/mqtt`; port 0 picks a free one.
    pub wss: Vec<SocketAddr>,
    /// Needed for [`MqttServerConfig::tls`] and [`MqttServerConfig::wss`]; looked at again all the time.
    pub certificate: Option<CertificateFiles>,
    /// Threads that own the sockets.
    pub workers: NonZeroUsize,
    /// A larger packet closes the connection; at most 268,435,455.
    pub packet_bytes_max: NonZeroU32,
    /// A larger payload of a PUBLISH closes the connection.
    pub payload_bytes_max: u32,
    /// How long a TLS handshake may take, and after it a connection may wait with its CONNECT, the
    /// latter rounded up to seconds.
    pub connect_timeout: Duration,
    /// MQTT 5: a longer keep alive, or none, is answered by a Server Keep Alive of this, rounded down
    /// to seconds. Zero: no limit. MQTT 3.1.1 cannot be told, so its own keep alive holds.
    pub keep_alive_max: Duration,
    /// Which client ids are accepted.
    pub client_ids: ClientIdPolicy,
    /// Whether CONNACK waits until the `connect` event is durable.
    pub connack_after_commit: bool,
}
