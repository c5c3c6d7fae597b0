//! Numbers of the outbox for metrics and status.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Shared;
use super::commit::Changes;

/// What became of the events of an incarnation:
/// recorded + replayed = delivered + skipped + buried + expired + discarded + pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncarnationCounts {
    /// Events that entered.
    pub recorded: u64,
    /// Dead letters that entered again.
    pub replayed: u64,
    /// RocketMQ stored them.
    pub delivered: u64,
    /// Their mapping had no message.
    pub skipped: u64,
    /// They became dead letters.
    pub buried: u64,
    /// They became too old.
    pub expired: u64,
    /// They were not wanted any more, or damaged.
    pub discarded: u64,
    /// They are in the file.
    pub pending: u64,
    /// What they take there.
    pub pending_bytes: u64,
}

/// How the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutboxStats {
    /// Pending events, as of the last commit.
    pub bytes: u64,
    /// Pending events, uncommitted ones, and what open channels owe: what the limits are about.
    pub reserved_bytes: u64,
    /// When the oldest pending event happened, to the second: UNIX milliseconds.
    pub oldest_time_ms: Option<u64>,
    /// Events that wait for their commit.
    pub uncommitted: u64,
    /// Events since the start that no rule wanted.
    pub unmatched_events: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Time spent in them.
    pub commit_seconds: f64,
    /// Commits since the start that failed.
    pub commit_failures: u64,
    /// The last commit failed, or the outbox closed with events that it could not write.
    pub failed: bool,
    /// Damaged records found since the start.
    pub damaged_events: u64,
    /// Settlements since the start of events that were not in the file.
    pub unknown_settlements: u64,
    /// Events that came after the outbox was closed; they are lost.
    pub late_events: u64,
    /// Dead letters in the file.
    pub dead_letters: u64,
    /// What they take there.
    pub dead_letter_bytes: u64,
    /// Dead letters that were dropped since the start to make room.
    pub dead_letters_dropped: u64,
}

/// Counters that the writer changes.
#[derive(Debug)]
pub(crate) struct Meters {
    commits: AtomicU64,
    commit_micros: AtomicU64,
    pub(crate) commit_failures: AtomicU64,
    pub(crate) damaged_events: AtomicU64,
    unknown_settlements: AtomicU64,
}

impl Meters {
    pub(crate) fn new(damaged_events: u64) -> Self {
        Self {
            commits: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
            commit_failures: AtomicU64::new(0),
            damaged_events: AtomicU64::new(damaged_events),
            unknown_settlements: AtomicU64::new(0),
        }
    }

    pub(crate) fn commit(&self, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn changes(&self, changes: &Changes) {
        self.damaged_events
            .fetch_add(changes.damaged_events, Ordering::Relaxed);
        self.unknown_settlements
            .fetch_add(changes.unknown_settlements, Ordering::Relaxed);
    }
}

/// Reads all of them. They are read one after the other, so they need not fit each other exactly.
pub(crate) fn stats(shared: &Shared) -> OutboxStats {
    let mut stats = OutboxStats::default();
    {
        let intake = shared.intake.lock();
        stats.reserved_bytes = intake.bytes();
        stats.uncommitted = intake.uncommitted();
        stats.unmatched_events = intake.unmatched_events;
        stats.late_events = intake.late_events;
        stats.failed = intake.failed;
    }
    {
        let ledger = shared.ledger.lock();
        stats.bytes = ledger.pending_bytes();
        stats.oldest_time_ms = ledger.oldest_time_ms();
        stats.dead_letters = ledger.dead_letters.count;
        stats.dead_letter_bytes = ledger.dead_letters.bytes;
        stats.dead_letters_dropped = ledger.dead_letters.dropped;
    }
    let meters = &shared.meters;
    stats.commits = meters.commits.load(Ordering::Relaxed);
    stats.commit_seconds =
        Duration::from_micros(meters.commit_micros.load(Ordering::Relaxed)).as_secs_f64();
    stats.commit_failures = meters.commit_failures.load(Ordering::Relaxed);
    stats.damaged_events = meters.damaged_events.load(Ordering::Relaxed);
    stats.unknown_settlements = meters.unknown_settlements.load(Ordering::Relaxed);
    stats
}
