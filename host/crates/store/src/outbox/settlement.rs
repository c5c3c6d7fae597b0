//! Events on their way out of the outbox, and how they end.

use std::sync::Arc;

use domain::{IncarnationId, Sequence, Slot, StatusEvent};
use tokio::time::Instant;

use super::Burial;

/// A committed event that is not settled.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    /// The rule it was recorded for.
    pub incarnation: IncarnationId,
    /// Its client's slot.
    pub slot: Slot,
    /// What orders the events of a slot, and its key in the file together with incarnation and slot.
    /// The event's sequence, or a later one when it was replayed.
    pub position: Sequence,
    /// The event.
    pub event: StatusEvent,
    /// When it entered: the event's time, or when it was replayed. UNIX milliseconds. Never falls
    /// from one position to the next.
    pub entered_ms: u64,
    /// What it takes of its share.
    pub bytes: u32,
    /// When it was taken in; `None` once it was read from the file.
    pub appended: Option<Instant>,
}

impl PendingEvent {
    /// Whether it was a dead letter before: its position is then later than its sequence.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.position != self.event.sequence
    }
}

/// Called on the writer thread after each commit that appended, with its events in the order of their positions. Must not block.
pub type CommitListener = Box<dyn Fn(&[Arc<PendingEvent>]) + Send>;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The rule it was recorded for.
    pub incarnation: IncarnationId,
    /// Its client's slot.
    pub slot: Slot,
    /// Its position.
    pub position: Sequence,
    /// What became of it.
    pub outcome: Outcome,
}

/// How an event ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// RocketMQ stored its messages.
    Delivered,
    /// Its mapping has no message.
    Skipped,
    /// It became too old.
    Expired,
    /// It is not wanted any more.
    Discarded,
    /// It is kept as a dead letter.
    Buried(Burial),
}
