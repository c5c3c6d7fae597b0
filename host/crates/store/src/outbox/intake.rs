//! What socket threads touch: reservations, stamps and the queue of events that wait for their commit.
//!
//! One lock around all of it, so that the order of sequences is the order of the queue and of the
//! commits. Everything under the lock takes constant time and never waits for the disk.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use domain::{
    ChannelFacts, CloseReason, EventId, EventType, IncarnationId, RefuseConnectError, Sequence,
    Slot, StatusEvent, Synthetic,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{OutboxConfig, Settlement};

/// What an event that is not encoded yet counts as. Typical events take 130 to 200 bytes with
/// their key; one with the longest client id and a long user name takes more, and the difference
/// is added when it is committed.
pub(crate) const EVENT_BYTES_RESERVED: u64 = 256;

/// `connect`, `disconnect`, `tcpclean`.
const EVENTS_PER_CHANNEL: u64 = 3;

/// The queue is worth a commit of its own from this many events on.
pub(crate) const GROUP_EVENTS_MIN: usize = 1024;

/// An event on its way to its commit.
#[derive(Debug)]
pub(crate) struct Intent {
    pub(crate) incarnation: IncarnationId,
    pub(crate) slot: Slot,
    pub(crate) event: StatusEvent,
    pub(crate) row: RowChange,
}

/// What an event does to the table of open channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowChange {
    /// A channel opened: its row has the event's sequence.
    Put,
    /// Nothing.
    Keep,
    /// The channel that opened with this sequence is closed.
    Remove(Sequence),
}

/// What an event is, beside its stamp and its channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventKind {
    pub(crate) event_type: EventType,
    pub(crate) reason: Option<CloseReason>,
    pub(crate) synthetic: Option<Synthetic>,
    /// `None`: now.
    pub(crate) connected_at_ms: Option<u64>,
}

/// Gives sequence, time and id. Neither sequence nor time ever goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamper {
    /// The largest sequence given.
    pub(crate) sequence: u64,
    /// The largest time given, UNIX milliseconds.
    pub(crate) time_ms: u64,
}

impl Stamper {
    pub(crate) fn stamp(
        &mut self,
        now_ms: u64,
        channel: &Arc<ChannelFacts>,
        kind: EventKind,
    ) -> StatusEvent {
        self.sequence += 1;
        self.time_ms = self.time_ms.max(now_ms);
        StatusEvent {
            event_id: EventId::at(self.time_ms),
            event_type: kind.event_type,
            time_ms: self.time_ms,
            sequence: Sequence(self.sequence),
            reason: kind.reason,
            synthetic: kind.synthetic,
            connected_at_ms: kind.connected_at_ms.unwrap_or(self.time_ms),
            channel: Arc::clone(channel),
        }
    }
}

/// A removal of everything that an incarnation has pending.
#[derive(Debug)]
pub(crate) struct Purge {
    pub(crate) incarnation: IncarnationId,
    /// Also its tally and slot map.
    pub(crate) forget: bool,
    /// Events and settlements that were taken in before it and are not committed yet.
    pub(crate) events_ahead: usize,
    pub(crate) settlements_ahead: usize,
    /// Removed by earlier commits of this purge.
    pub(crate) removed: u64,
    /// Gets the number of removed events.
    pub(crate) reply: crossbeam_channel::Sender<u64>,
}

impl Purge {
    /// Whether everything that came before it is committed.
    pub(crate) fn is_next(&self) -> bool {
        self.events_ahead == 0 && self.settlements_ahead == 0
    }

    /// So many events and settlements went into a commit.
    pub(crate) fn advance(&mut self, events: usize, settlements: usize) {
        self.events_ahead = self.events_ahead.saturating_sub(events);
        self.settlements_ahead = self.settlements_ahead.saturating_sub(settlements);
    }
}

/// How far the outbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// [`Outbox::close`](super::Outbox::close) was called: what is queued is still written.
    Closing,
    /// Nothing is written any more.
    Closed,
}

/// Everything behind the intake lock.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) stamper: Stamper,
    pub(crate) queue: VecDeque<Intent>,
    /// When the first event of `queue` came, or when the rest of it was left over.
    pub(crate) queue_since: Option<Instant>,
    pub(crate) settlements: Vec<Settlement>,
    pub(crate) settlements_since: Option<Instant>,
    pub(crate) purges: VecDeque<Purge>,
    pub(crate) phase: Phase,
    /// The last commit failed; it is tried again.
    pub(crate) failed: bool,
    /// Events ever taken in by this process.
    pub(crate) appended: u64,
    /// Events of those that are committed.
    pub(crate) durable: u64,
    waiters: VecDeque<(u64, oneshot::Sender<bool>)>,
    /// Stored bytes and reservations of each incarnation.
    shares: HashMap<IncarnationId, u64>,
    /// Sum of `shares`.
    bytes: u64,
    pub(crate) unmatched_events: u64,
    /// Events that came after the end.
    pub(crate) late_events: u64,
}

impl Intake {
    pub(crate) fn new(stamper: Stamper, shares: HashMap<IncarnationId, u64>) -> Self {
        Self {
            stamper,
            queue: VecDeque::new(),
            queue_since: None,
            settlements: Vec::new(),
            settlements_since: None,
            purges: VecDeque::new(),
            phase: Phase::Open,
            failed: false,
            appended: 0,
            durable: 0,
            waiters: VecDeque::new(),
            bytes: shares.values().sum(),
            shares,
            unmatched_events: 0,
            late_events: 0,
        }
    }

    /// Events that wait for their commit, those of a running commit included.
    pub(crate) fn uncommitted(&self) -> u64 {
        self.appended - self.durable
    }

    /// Stored bytes and reservations.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn reserve(
        &mut self,
        config: &OutboxConfig,
        incarnation: IncarnationId,
    ) -> Result<(), RefuseConnectError> {
        if self.phase != Phase::Open {
            return Err(RefuseConnectError::ShuttingDown);
        }
        if self.failed {
            return Err(RefuseConnectError::StoreFailed);
        }
        if self.uncommitted() >= u64::try_from(config.uncommitted_events_max).unwrap_or(u64::MAX) {
            return Err(RefuseConnectError::RecorderFull);
        }
        let wanted = EVENTS_PER_CHANNEL * EVENT_BYTES_RESERVED;
        let share = self.shares.get(&incarnation).copied().unwrap_or(0);
        if share + wanted > config.share_bytes_max {
            return Err(RefuseConnectError::ShareFull);
        }
        if self.bytes + wanted > config.bytes_max {
            return Err(RefuseConnectError::OutboxFull);
        }
        self.grow(incarnation, wanted);
        Ok(())
    }

    pub(crate) fn release(&mut self, incarnation: IncarnationId) {
        self.shrink(incarnation, EVENTS_PER_CHANNEL * EVENT_BYTES_RESERVED);
    }

    /// Takes an event in; tells whether the writer has to be woken.
    ///
    /// A `disconnect` reserves anew and a `tcpclean` frees one event more than itself: whether a
    /// `disconnect` came before need not be known then.
    pub(crate) fn append(&mut self, intent: Intent) -> bool {
        match intent.row {
            RowChange::Put => {}
            RowChange::Keep => self.grow(intent.incarnation, EVENT_BYTES_RESERVED),
            RowChange::Remove(_) => self.shrink(intent.incarnation, EVENT_BYTES_RESERVED),
        }
        if self.phase == Phase::Closed {
            self.late_events += 1;
            tracing::error!(client_id = %intent.event.channel.client_id, "event came after the outbox was closed");
            return false;
        }
        self.queue.push_back(intent);
        self.appended += 1;
        if self.queue.len() == 1 {
            self.queue_since = Some(Instant::now());
        }
        self.queue.len() == 1 || self.queue.len() == GROUP_EVENTS_MIN
    }

    /// Ends when everything appended so far is durable.
    pub(crate) fn committed(&mut self) -> oneshot::Receiver<bool> {
        let (sender, receiver) = oneshot::channel();
        if self.uncommitted() == 0 {
            // The receiver is in hand, so this cannot fail.
            let _: Result<(), bool> = sender.send(true);
        } else if self.failed || self.phase == Phase::Closed {
            let _: Result<(), bool> = sender.send(false);
        } else {
            self.waiters.push_back((self.appended, sender));
        }
        receiver
    }

    /// Events up to the position `durable` are committed.
    pub(crate) fn resolve(&mut self, durable: u64) {
        self.durable = durable;
        while self
            .waiters
            .front()
            .is_some_and(|(position, _)| *position <= durable)
        {
            if let Some((_, waiter)) = self.waiters.pop_front() {
                // Whoever asked may have gone.
                let _: Result<(), bool> = waiter.send(true);
            }
        }
    }

    /// The store failed or is closed: nobody waits for it.
    pub(crate) fn fail_waiters(&mut self) {
        for (_, waiter) in self.waiters.drain(..) {
            let _: Result<(), bool> = waiter.send(false);
        }
    }

    pub(crate) fn grow(&mut self, incarnation: IncarnationId, bytes: u64) {
        *self.shares.entry(incarnation).or_insert(0) += bytes;
        self.bytes += bytes;
    }

    pub(crate) fn shrink(&mut self, incarnation: IncarnationId, bytes: u64) {
        if let Some(share) = self.shares.get_mut(&incarnation) {
            let bytes = bytes.min(*share);
            *share -= bytes;
            self.bytes -= bytes;
            if *share == 0 {
                self.shares.remove(&incarnation);
            }
        }
    }
}
