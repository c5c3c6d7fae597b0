//! The attributes of a status event.

/// What an event has beside its fixed fields; in the contract and the API it goes by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeName {
    /// Why the connection ended.
    Reason,
    /// The version of MQTT.
    Protocol,
    /// The listener that the client came to.
    Listener,
    /// As the client gave it.
    Username,
    /// Seconds.
    KeepAlive,
    /// Whether the client began a new session.
    CleanStart,
    /// Whether there was a session to resume.
    SessionPresent,
    /// UNIX milliseconds.
    ConnectedAt,
    /// `node.id` of the host.
    Node,
    /// `instance.id` of the host.
    Instance,
    /// Why nobody observed the event.
    Synthetic,
}

impl AttributeName {
    /// All, in the order that events have them.
    pub const ALL: [Self; 11] = [
        Self::Reason,
        Self::Protocol,
        Self::Listener,
        Self::Username,
        Self::KeepAlive,
        Self::CleanStart,
        Self::SessionPresent,
        Self::ConnectedAt,
        Self::Node,
        Self::Instance,
        Self::Synthetic,
    ];

    /// Those that one of `names` calls, in the order that events have them. A name that is not known calls none.
    #[must_use]
    pub fn called(names: &[impl AsRef<str>]) -> Vec<Self> {
        let is_called = |it: &Self| names.iter().any(|name| name.as_ref() == it.as_str());
        Self::ALL.into_iter().filter(is_called).collect()
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Protocol => "protocol",
            Self::Listener => "listener",
            Self::Username => "username",
            Self::KeepAlive => "keepAlive",
            Self::CleanStart => "cleanStart",
            Self::SessionPresent => "sessionPresent",
            Self::ConnectedAt => "connectedAt",
            Self::Node => "node",
            Self::Instance => "instance",
            Self::Synthetic => "synthetic",
        }
    }
}
