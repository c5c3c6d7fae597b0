//! Events on their way out of the outbox, and how they end.

use std::sync::Arc;

use domain::{IncarnationId, Sequence, Slot, StatusEvent};

use super::Burial;

/// A committed event that is not settled.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    /// The rule it was recorded for.
    pub incarnation: IncarnationId,
    /// Its client's slot.
    pub slot: Slot,
    /// The event.
    pub event: StatusEvent,
    /// What it takes of its share.
    pub bytes: u32,
}

/// Called on the writer thread after each commit that appended, with its events in sequence order. Must not block.
pub type CommitListener = Box<dyn Fn(&[Arc<PendingEvent>]) + Send>;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The rule it was recorded for.
    pub incarnation: IncarnationId,
    /// Its client's slot.
    pub slot: Slot,
    /// Its sequence.
    pub sequence: Sequence,
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
