//! The seam between who observes connections (broker) and who records events (pipeline).

use std::fmt::Debug;
use std::sync::Arc;

use crate::rocketmq::BoxFuture;
use crate::{ChannelFacts, CloseReason, EventType, GroupId, IncarnationId, Sequence};

/// Room for everything that one channel may still owe: its `connect` and its two closing events.
/// It must be turned into a ticket by [`StatusSink::opened`] or given back by [`StatusSink::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Admission {
    /// The rule that records the channel's events; `None`: no rule matches.
    pub incarnation: Option<IncarnationId>,
}

/// A channel whose `connect` was recorded. Its closing events go to the same incarnation,
/// whatever the rule became meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelTicket {
    /// The rule; `None`: no rule matches.
    pub incarnation: Option<IncarnationId>,
    /// The sequence of its `connect`: also the key of its row in the table of open channels.
    pub opened: Sequence,
    /// When, UNIX milliseconds.
    pub opened_at_ms: u64,
}

/// Why a CONNECT is refused. Its events could not be kept otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefuseConnectError {
    /// Too many events wait for their commit.
    #[error("the recorder is full")]
    RecorderFull,
    /// The rule's share of the outbox is used up.
    #[error("the rule's share of the outbox is full")]
    ShareFull,
    /// The whole outbox is used up.
    #[error("the outbox is full")]
    OutboxFull,
    /// The store cannot be written.
    #[error("the outbox cannot be written")]
    StoreFailed,
    /// The group does not exist and is not to be created.
    #[error("the group does not exist")]
    UnknownGroup,
    /// The host is going down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

/// Takes the status events in. Nothing here ever blocks: it is called on socket threads, under
/// the lock of the client's shard, so that the order of calls is the order of a client's events.
pub trait StatusSink: Debug + Send + Sync {
    /// Reserves room for one channel of `group`. After this, its events are never refused.
    ///
    /// # Errors
    ///
    /// Refuses when what the channel may owe could not be kept.
    fn admit(&self, group: Option<&GroupId>) -> Result<Admission, RefuseConnectError>;

    /// Gives back an admission that was not used.
    fn release(&self, admission: Admission);

    /// Records the `connect` of a channel.
    fn opened(&self, admission: Admission, channel: &Arc<ChannelFacts>) -> ChannelTicket;

    /// Records a closing event. `event_type` is `Disconnect` at most once and `TcpClean` exactly
    /// once, last.
    fn closing(
        &self,
        ticket: ChannelTicket,
        channel: &Arc<ChannelFacts>,
        event_type: EventType,
        reason: CloseReason,
    );

    /// Ends when everything recorded so far is durable: true, or false when the store failed.
    fn committed(&self) -> BoxFuture<'static, bool>;
}
