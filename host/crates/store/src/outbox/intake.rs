//! What socket threads touch: reservations, stamps and the queue of events that wait for their commit.
//!
//! One lock around all of it, so that the order of sequences is the order of the queue and of the
//! commits. Everything under the lock takes constant time and never waits for the disk.

use std::collections::{HashMap, VecDeque};

use domain::{IncarnationId, RefuseConnectError, Sequence, Slot, StatusEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::jobs::Job;
use super::stamper::Stamper;
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
    /// When it was taken in.
    pub(crate) appended: Option<Instant>,
    /// Set if it is a dead letter that enters again.
    pub(crate) replay: Option<Replay>,
}

/// How a dead letter enters again.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Its number: it is removed in the same commit.
    pub(crate) letter: u64,
    /// Larger than the event's own sequence.
    pub(crate) position: Sequence,
    /// UNIX milliseconds.
    pub(crate) entered_ms: u64,
    /// In the last one of a call: gets a word when it is committed.
    pub(crate) done: Option<crossbeam_channel::Sender<()>>,
}

impl Intent {
    pub(crate) fn position(&self) -> Sequence {
        self.replay
            .as_ref()
            .map_or(self.event.sequence, |replay| replay.position)
    }
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
    pub(crate) jobs: VecDeque<Job>,
    /// What the events of the running commit do to the table of open channels.
    pub(crate) committing: Vec<(Sequence, RowChange)>,
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
            jobs: VecDeque::new(),
            committing: Vec::new(),
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

    /// Stored bytes and reservations of one incarnation.
    pub(crate) fn share(&self, incarnation: IncarnationId) -> u64 {
        self.shares.get(&incarnation).copied().unwrap_or(0)
    }

    /// Those of a rule: its present incarnation and what earlier ones still have.
    fn rule_share(&self, incarnation: IncarnationId, predecessors: &[IncarnationId]) -> u64 {
        let earlier = predecessors.iter().map(|id| self.share(*id));
        self.share(incarnation) + earlier.sum::<u64>()
    }

    pub(crate) fn reserve(
        &mut self,
        config: &OutboxConfig,
        incarnation: IncarnationId,
        predecessors: &[IncarnationId],
    ) -> Result<(), RefuseConnectError> {
        self.reserve_events(config, incarnation, predecessors, EVENTS_PER_CHANNEL)
    }

    /// Reserves room for `count` events.
    pub(crate) fn reserve_events(
        &mut self,
        config: &OutboxConfig,
        incarnation: IncarnationId,
        predecessors: &[IncarnationId],
        count: u64,
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
        let wanted = count * EVENT_BYTES_RESERVED;
        if self.rule_share(incarnation, predecessors) + wanted > config.share_bytes_max {
            return Err(RefuseConnectError::ShareFull);
        }
        if self.bytes + wanted > config.bytes_max {
            return Err(RefuseConnectError::OutboxFull);
        }
        self.grow(incarnation, wanted);
        Ok(())
    }

    /// Whether the channel that opened with this sequence is open, if an event that is not committed yet says so.
    pub(crate) fn is_open(&self, opened: Sequence) -> Option<bool> {
        let queued = self
            .queue
            .iter()
            .map(|intent| (intent.event.sequence, intent.row));
        // The last word counts.
        queued
            .rev()
            .chain(self.committing.iter().rev().copied())
            .find_map(|(sequence, row)| match row {
                RowChange::Put if sequence == opened => Some(true),
                RowChange::Remove(closed) if closed == opened => Some(false),
                RowChange::Put | RowChange::Keep | RowChange::Remove(_) => None,
            })
    }

    pub(crate) fn release(&mut self, incarnation: IncarnationId) {
        self.release_events(incarnation, EVENTS_PER_CHANNEL);
    }

    pub(crate) fn release_events(&mut self, incarnation: IncarnationId, count: u64) {
        self.shrink(incarnation, count * EVENT_BYTES_RESERVED);
    }

    /// Takes an event in; tells whether the writer has to be woken.
    ///
    /// A `disconnect` reserves anew and a `tcpclean` frees one event more than itself: whether a
    /// `disconnect` came before need not be known then.
    pub(crate) fn append(&mut self, intent: Intent) -> bool {
        match intent.row {
            RowChange::Put => {}
            // A replay was reserved.
            RowChange::Keep if intent.replay.is_some() => {}
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

    /// The outbox ended: whoever waits for a job or a replay sees that no answer comes.
    pub(crate) fn drop_callers(&mut self) {
        self.jobs.clear();
        for intent in &mut self.queue {
            intent.replay = None;
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
