//! Why a connection ended: the values of the attribute `reason`.
//!
//! A newer host may have more of them, so a plugin must do without a name for some.

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a connection ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(any(test, feature = "config"), derive(serde::Deserialize))]
        #[non_exhaustive]
        pub enum CloseReason {
            $(
                $(#[$doc])*
                #[cfg_attr(any(test, feature = "config"), serde(rename = $text))]
                $name,
            )*
        }

        impl CloseReason {
            /// All that this version of the SDK knows.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The value of the attribute, such as `keep-alive-timeout`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

close_reasons! {
    /// The client sent DISCONNECT.
    ClientDisconnect = "client-disconnect",
    /// The client sent DISCONNECT and wants its will published (0x04).
    ClientDisconnectWithWill = "client-disconnect-with-will",
    /// The peer closed the connection without DISCONNECT.
    ConnectionLost = "connection-lost",
    /// The peer or the network reset the connection.
    ConnectionReset = "connection-reset",
    /// Nothing came within 1.5 times the keep alive.
    KeepAliveTimeout = "keep-alive-timeout",
    /// The client broke the protocol.
    ProtocolError = "protocol-error",
    /// The client sent a packet larger than the limit.
    PacketTooLarge = "packet-too-large",
    /// The same client id connected again.
    TakenOver = "taken-over",
    /// An operator closed the connection.
    Kicked = "kicked",
    /// The client did what it may not.
    NotAuthorized = "not-authorized",
    /// The client exceeded a limit.
    QuotaExceeded = "quota-exceeded",
    /// The host was shutting down.
    HostShutdown = "host-shutdown",
    /// The host died with the connection open; found at its next start.
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

    /// Whether the client sent DISCONNECT, so that a `disconnect` came before the `tcpclean`.
    #[must_use]
    pub fn is_client_disconnect(self) -> bool {
        matches!(
            self,
            Self::ClientDisconnect | Self::ClientDisconnectWithWill
        )
    }
}

#[cfg(test)]
mod tests {
    use super::CloseReason;

    #[test]
    fn a_name_is_read_back_by_hand_and_by_serde() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::from_name(reason.as_str()), Some(*reason));
            let json = format!("\"{}\"", reason.as_str());
            assert_eq!(serde_json::from_str::<CloseReason>(&json).unwrap(), *reason);
        }
        assert_eq!(CloseReason::from_name("bored"), None);
    }
}
