//! One accepted TCP connection: what is known of it, and why it ended.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{ClientId, GroupId};

/// One TCP connection: 128 random bits, printed as 32 lower-case hex characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId(pub [u8; 16]);

impl ChannelId {
    /// A new one. 122 bits of it are random.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(uuid::Uuid::from_bytes_ref(&self.0).as_simple(), f)
    }
}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

impl MqttVersion {
    /// The value of the attribute `protocol`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V311 => "mqtt3.1.1",
            Self::V5 => "mqtt5",
        }
    }
}

/// What is known of a connection when its CONNECT is accepted. Never changes afterwards, so all
/// events of the connection share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFacts {
    /// The client.
    pub client_id: ClientId,
    /// The group in the client id; `None` if the id names none: such a client matches no status rule.
    pub group_id: Option<GroupId>,
    /// The connection.
    pub channel_id: ChannelId,
    /// The peer's address; printed `address:port`, IPv6 as `[address]:port`.
    pub client_address: SocketAddr,
    /// 3.1.1 or 5.
    pub protocol: MqttVersion,
    /// The kind of listener: `tcp` or `ws`.
    pub listener: &'static str,
    /// The user name of CONNECT.
    pub username: Option<Arc<str>>,
    /// Keep alive of CONNECT, seconds; 0 is none.
    pub keep_alive_seconds: u16,
    /// Clean Start (5) or Clean Session (3.1.1).
    pub clean_start: bool,
    /// What CONNACK said of an earlier session.
    pub session_present: bool,
}

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a connection ended. A closed set.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
        }

        impl CloseReason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name on the wire and in metric labels.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

close_reasons! {
    /// DISCONNECT with reason 0x00 (or of MQTT 3.1.1).
    ClientDisconnect = "client-disconnect",
    /// DISCONNECT with reason 0x04: the will is wanted.
    ClientDisconnectWithWill = "client-disconnect-with-will",
    /// The peer closed the connection without DISCONNECT.
    ConnectionLost = "connection-lost",
    /// The peer or the network reset the connection.
    ConnectionReset = "connection-reset",
    /// Nothing came within 1.5 times the keep alive [MQTT-3.1.2-22].
    KeepAliveTimeout = "keep-alive-timeout",
    /// The client broke the protocol.
    ProtocolError = "protocol-error",
    /// A packet larger than the limit.
    PacketTooLarge = "packet-too-large",
    /// The same client id connected again [MQTT-3.1.4-3].
    TakenOver = "taken-over",
    /// An operator closed the connection.
    Kicked = "kicked",
    /// The client did what it may not.
    NotAuthorized = "not-authorized",
    /// The client exceeded a limit.
    QuotaExceeded = "quota-exceeded",
    /// The host is shutting down.
    HostShutdown = "host-shutdown",
    /// The host died with the connection open; found at the next start.
    HostRestart = "host-restart",
    /// A fault of the host.
    InternalError = "internal-error",
}

impl CloseReason {
    /// Reads [`CloseReason::as_str`] back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == name)
    }

    /// Whether the client sent a DISCONNECT: then the close is two events, else only `tcpclean`.
    #[must_use]
    pub fn is_client_disconnect(self) -> bool {
        matches!(
            self,
            Self::ClientDisconnect | Self::ClientDisconnectWithWill
        )
    }
}
