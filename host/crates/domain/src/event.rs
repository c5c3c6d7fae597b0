//! A status event: one observed change of one client's connection.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::{AttributeName, ChannelFacts, CloseReason};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The client came online.
    Connect,
    /// The client sent DISCONNECT.
    Disconnect,
    /// The TCP connection is gone; also after a DISCONNECT.
    TcpClean,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Disconnect, Self::TcpClean];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::TcpClean => "tcpclean",
        }
    }
}

/// Unique id of an event, for deduplication: a UUIDv7, printed without dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// A new one for the UNIX time `time_ms`.
    #[must_use]
    pub fn at(time_ms: u64) -> Self {
        let seconds = time_ms / 1000;
        let nanos = u32::try_from(time_ms % 1000).unwrap_or(0) * 1_000_000;
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
        Self(uuid::Uuid::new_v7(stamp).into_bytes())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(uuid::Uuid::from_bytes_ref(&self.0).as_simple(), f)
    }
}

/// A number that only grows per client, across restarts too; below 2^53, gaps allowed. The default,
/// 0, is below all that are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// Why an event exists that nobody observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Synthetic {
    /// A rule was activated and told who is online.
    Snapshot,
    /// The host found the channel open at its start.
    HostRestart,
}

impl Synthetic {
    /// The value of the attribute and of the message property `synthetic`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::HostRestart => "host-restart",
        }
    }
}

/// One observed change of one client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEvent {
    /// For deduplication.
    pub event_id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// When: UNIX milliseconds; never goes back on one node.
    pub time_ms: u64,
    /// Strictly growing per client.
    pub sequence: Sequence,
    /// Why the connection ended; on `disconnect` and `tcpclean`.
    pub reason: Option<CloseReason>,
    /// Set when nobody observed it.
    pub synthetic: Option<Synthetic>,
    /// When the connection was accepted: UNIX milliseconds.
    pub connected_at_ms: u64,
    /// The connection.
    pub channel: Arc<ChannelFacts>,
}

impl StatusEvent {
    /// What plugins and the API see beside the fixed fields, in this order; absent when
    /// empty. `node` and `instance` are `node.id` and `instance.id` of the configuration.
    #[must_use]
    pub fn attributes<'a>(
        &'a self,
        node: &'a str,
        instance: &'a str,
    ) -> Vec<(&'static str, Cow<'a, str>)> {
        self.attributes_of(&AttributeName::ALL, node, instance)
    }

    /// Those of [`StatusEvent::attributes`] that are called so.
    #[must_use]
    pub fn attributes_of<'a>(
        &'a self,
        names: &[AttributeName],
        node: &'a str,
        instance: &'a str,
    ) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut all = Vec::with_capacity(names.len());
        all.extend(names.iter().filter_map(|name| {
            let value = self.attribute(*name, node, instance)?;
            Some((name.as_str(), value))
        }));
        all
    }

    fn attribute<'a>(
        &'a self,
        name: AttributeName,
        node: &'a str,
        instance: &'a str,
    ) -> Option<Cow<'a, str>> {
        let channel = &self.channel;
        let flag = |value: bool| if value { "true" } else { "false" };
        Some(Cow::Borrowed(match name {
            AttributeName::Reason => self.reason?.as_str(),
            AttributeName::Protocol => channel.protocol.as_str(),
            AttributeName::Listener => channel.listener,
            AttributeName::Username => channel.username.as_deref()?,
            AttributeName::KeepAlive => {
                return Some(Cow::Owned(channel.keep_alive_seconds.to_string()));
            }
            AttributeName::CleanStart => flag(channel.clean_start),
            AttributeName::SessionPresent => flag(channel.session_present),
            AttributeName::ConnectedAt => {
                return Some(Cow::Owned(self.connected_at_ms.to_string()));
            }
            AttributeName::Node => node,
            AttributeName::Instance => instance,
            AttributeName::Synthetic => self.synthetic?.as_str(),
        }))
    }
}
