//! Changes of many rows at once, one commit after the other: events that are not wanted or too old,
//! incarnations that are forgotten, dead letters that are deleted.
//!
//! A job's commits are bounded and take turns with the queue, so that appends never wait for a
//! whole job. What a job does not do is in the batch of the queue.

use domain::{IncarnationId, Sequence, Slot};
use redb::{ReadableTable, Table, WriteTransaction};

use super::commit::{Changes, SettledAs, settled};
use super::dead_letter;
use super::intake::Phase;
use super::tables::EVENTS;
use super::{IncarnationCounts, Outbox};
use crate::EngineError;
use crate::record::{EventKey, event_key, event_time_ms};

/// A job changes so many rows a commit, so that no commit takes seconds.
const JOB_ROWS_MAX: usize = 20_000;

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// Everything that the incarnation has pending is discarded.
    Discard(IncarnationId),
    /// The same, and its counts go to those of another one, or to the total of the forgotten.
    Forget {
        incarnation: IncarnationId,
        into: Option<IncarnationId>,
    },
    /// What the incarnation has pending and entered before this time is expired.
    Expire {
        incarnation: IncarnationId,
        before_ms: u64,
    },
    /// These dead letters are deleted.
    DeleteDeadLetters(Vec<u64>),
}

/// A job that waits for its turn, or for its next one.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) kind: JobKind,
    /// Events and settlements that were taken in before it and are not committed yet.
    pub(crate) events_ahead: usize,
    pub(crate) settlements_ahead: usize,
    /// Rows that earlier commits of this job changed.
    pub(crate) done: u64,
    /// Gets the number of changed rows.
    pub(crate) reply: crossbeam_channel::Sender<u64>,
}

impl Job {
    /// Whether everything that came before it is committed.
    pub(crate) fn is_next(&self) -> bool {
        self.events_ahead == 0 && self.settlements_ahead == 0
    }

    /// So many events and settlements went into a commit.
    pub(crate) fn advance(&mut self, events: usize, settlements: usize) {
        self.events_ahead = self.events_ahead.saturating_sub(events);
        self.settlements_ahead = self.settlements_ahead.saturating_sub(settlements);
    }

    /// Does the next part of it.
    pub(crate) fn run(
        &self,
        transaction: &WriteTransaction,
        changes: &mut Changes,
    ) -> Result<(), EngineError> {
        match &self.kind {
            JobKind::Discard(incarnation) => discard(transaction, *incarnation, changes),
            JobKind::Forget { incarnation, into } => {
                discard(transaction, *incarnation, changes)?;
                changes.forgotten = (!changes.job_goes_on).then_some((*incarnation, *into));
                Ok(())
            }
            JobKind::Expire {
                incarnation,
                before_ms,
            } => expire(transaction, *incarnation, *before_ms, changes),
            JobKind::DeleteDeadLetters(ids) => {
                let before = changes.dead_letters.count;
                // Those of earlier commits are gone: they cost a look each.
                changes.dead_letters = dead_letter::remove(transaction, ids, changes.dead_letters)?;
                changes.job_rows = before - changes.dead_letters.count;
                Ok(())
            }
        }
    }
}

type EventTable<'a> = Table<'a, EventKey, &'static [u8]>;

fn discard(
    transaction: &WriteTransaction,
    incarnation: IncarnationId,
    changes: &mut Changes,
) -> Result<(), EngineError> {
    let mut table = transaction.open_table(EVENTS)?;
    let first = event_key(incarnation, Slot(0), Sequence(0));
    let last = event_key(incarnation, Slot(u8::MAX), Sequence(u64::MAX));
    extract(&mut table, (first, last), SettledAs::Discarded, changes)
}

/// Times do not fall from one position of a slot to the next, so each slot ends at its first newer event.
fn expire(
    transaction: &WriteTransaction,
    incarnation: IncarnationId,
    before_ms: u64,
    changes: &mut Changes,
) -> Result<(), EngineError> {
    let mut table = transaction.open_table(EVENTS)?;
    for slot in Slot::all() {
        let first = event_key(incarnation, slot, Sequence(0));
        let last = event_key(incarnation, slot, Sequence(u64::MAX));
        let mut oldest = None;
        for row in table.range(first..=last)?.take(JOB_ROWS_MAX) {
            let (key, record) = row?;
            if event_time_ms(record.value()) >= before_ms {
                break;
            }
            oldest = Some(key.value());
        }
        if let Some(last) = oldest {
            extract(&mut table, (first, last), SettledAs::Expired, changes)?;
        }
        if changes.job_goes_on {
            break;
        }
    }
    Ok(())
}

/// Settles what is between two keys, until the commit has enough.
fn extract(
    table: &mut EventTable<'_>,
    (first, last): (EventKey, EventKey),
    how: SettledAs,
    changes: &mut Changes,
) -> Result<(), EngineError> {
    let room = JOB_ROWS_MAX.saturating_sub(changes.settled.len());
    let mut count = 0;
    for row in table.extract_from_if(first..=last, |_, _| true)?.take(room) {
        let (key, record) = row?;
        changes
            .settled
            .push(settled(key.value(), record.value(), how));
        changes.ended_by_job.push((key.value(), how));
        count += 1;
    }
    changes.job_rows += count;
    changes.job_goes_on = changes.settled.len() >= JOB_ROWS_MAX;
    Ok(())
}

impl Outbox {
    /// Settles everything that the incarnation has pending as discarded; returns how many events
    /// that were. Blocks until it is durable, 20,000 events a commit; a commit that fails is
    /// repeated meanwhile. 0 when the outbox is closed.
    pub fn discard(&self, incarnation: IncarnationId) -> u64 {
        self.run_job(JobKind::Discard(incarnation)).unwrap_or(0)
    }

    /// Drops the slot map of the incarnation, and whatever it still has pending, as
    /// [`Outbox::discard`] does. Its counts are added to those of `into`, else to
    /// [`Outbox::forgotten_counts`], so that sums over all of them hold for ever. Closing events
    /// that its open channels still owe are recorded all the same: ask [`Outbox::is_owed`] before.
    pub fn forget(&self, incarnation: IncarnationId, into: Option<IncarnationId>) -> u64 {
        let kind = if into == Some(incarnation) {
            JobKind::Discard(incarnation)
        } else {
            JobKind::Forget { incarnation, into }
        };
        self.run_job(kind).unwrap_or(0)
    }

    /// Settles what the incarnation has pending and entered before `before_ms` (UNIX milliseconds)
    /// as expired; returns how many events that were. A replayed event entered when it was
    /// replayed. Blocks as [`Outbox::discard`] does.
    pub fn expire(&self, incarnation: IncarnationId, before_ms: u64) -> u64 {
        self.run_job(JobKind::Expire {
            incarnation,
            before_ms,
        })
        .unwrap_or(0)
    }

    /// The sum of what became of the events of forgotten rules, as of the last commit.
    #[must_use]
    pub fn forgotten_counts(&self) -> IncarnationCounts {
        self.shared.ledger.lock().forgotten_counts()
    }

    /// Whether anything of the incarnation is pending, uncommitted or reserved: an open channel
    /// still owes its closing events. Constant time.
    #[must_use]
    pub fn is_owed(&self, incarnation: IncarnationId) -> bool {
        self.shared.intake.lock().share(incarnation) > 0
    }

    /// Runs a job to its end; `None` if the outbox closed before.
    pub(super) fn run_job(&self, kind: JobKind) -> Option<u64> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let mut intake = self.shared.intake.lock();
        if intake.phase == Phase::Closed {
            return None;
        }
        let (events_ahead, settlements_ahead) = (intake.queue.len(), intake.settlements.len());
        intake.jobs.push_back(Job {
            kind,
            events_ahead,
            settlements_ahead,
            done: 0,
            reply,
        });
        drop(intake);
        self.shared.wake.notify_one();
        // No answer: the outbox closed before.
        answer.recv().ok()
    }
}
