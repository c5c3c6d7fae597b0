//! Numbers of the outbox for metrics and status.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redb::ReadableDatabase;

use super::Shared;
use super::commit::Changes;
use super::compaction::file_bytes;
use super::tables::EVENTS;
use super::take::first_row;

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
    /// When the oldest pending event entered: UNIX milliseconds. While the file cannot be read, at the latest.
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
    /// From there on burials wait.
    pub dead_letter_bytes_max: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// How often disk space was given back since the start.
    pub compactions: u64,
    /// How often the clock was set back by more than a second, since the start.
    pub clock_steps: u64,
}

/// Counters that the writer changes.
#[derive(Debug)]
pub(crate) struct Meters {
    commits: AtomicU64,
    commit_micros: AtomicU64,
    pub(crate) commit_failures: AtomicU64,
    pub(crate) damaged_events: AtomicU64,
    unknown_settlements: AtomicU64,
    compactions: AtomicU64,
}

impl Meters {
    pub(crate) fn new(damaged_events: u64) -> Self {
        Self {
            commits: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
            commit_failures: AtomicU64::new(0),
            damaged_events: AtomicU64::new(damaged_events),
            unknown_settlements: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
        }
    }

    pub(crate) fn commit(&self, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn compacted(&self) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
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
        stats.clock_steps = intake.stamper.clock_steps();
    }
    read_heads(shared);
    {
        let ledger = shared.ledger.lock();
        stats.bytes = ledger.pending_bytes();
        stats.oldest_time_ms = ledger.oldest_time_ms();
        stats.dead_letters = ledger.dead_letters.count;
        stats.dead_letter_bytes = ledger.dead_letters.bytes;
    }
    stats.dead_letter_bytes_max = shared.config.dead_letters_bytes_max;
    stats.file_bytes = file_bytes(&shared.config.path);
    let meters = &shared.meters;
    stats.commits = meters.commits.load(Ordering::Relaxed);
    stats.commit_seconds =
        Duration::from_micros(meters.commit_micros.load(Ordering::Relaxed)).as_secs_f64();
    stats.commit_failures = meters.commit_failures.load(Ordering::Relaxed);
    stats.damaged_events = meters.damaged_events.load(Ordering::Relaxed);
    stats.unknown_settlements = meters.unknown_settlements.load(Ordering::Relaxed);
    stats.compactions = meters.compactions.load(Ordering::Relaxed);
    stats
}

/// Reads the first events of slots that lost theirs since the last time. What cannot be read stays
/// as it was: the numbers of a store that fails are wanted most.
fn read_heads(shared: &Shared) {
    let (version, unknown) = shared.ledger.lock().unknown_heads();
    if unknown.is_empty() {
        return;
    }
    let read = shared.disk.try_run(|database| {
        let table = database.begin_read()?.open_table(EVENTS)?;
        let mut heads = Vec::new();
        for (incarnation, slot) in unknown {
            if let Some(first) = first_row(&table, incarnation, slot)? {
                heads.push(first);
            }
        }
        Ok(heads)
    });
    if let Some(Ok(heads)) = read {
        let mut ledger = shared.ledger.lock();
        for first in heads {
            ledger.set_head(version, (first.incarnation, first.slot), &first);
        }
    }
}
