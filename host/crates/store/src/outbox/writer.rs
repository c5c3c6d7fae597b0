//! The writer thread: the only one that changes events, open channels and tallies.
//!
//! A commit carries everything that is queued when it starts. When little happens it starts at
//! once; when the last one carried many events, the next waits until it is worth a flush or the
//! commit interval has passed. A failed commit is repeated until it works: events leave the
//! memory only through the file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{ErrorChain, IncarnationId, Sequence};
use tokio::time::Instant;

use super::batch::Batch;
use super::commit::{Changes, Commit, CommitError, CommitFailure};
use super::compaction::LastCompaction;
use super::intake::{EVENT_BYTES_RESERVED, GROUP_EVENTS_MIN, Intake, Phase};
use super::jobs::Job;
use super::{CommitListener, Outcome, Shared};
use crate::OpenStoreError;
use crate::database::read_number;
use crate::fail_point::{self, FailPoint};
use crate::outbox::tables::COMMIT;
use crate::record::{EventKey, event_key};

/// Events that one commit carries.
const COMMIT_EVENTS_MAX: usize = 4096;
/// Settlements that one commit carries.
const COMMIT_SETTLEMENTS_MAX: usize = 16_384;
/// After a commit with so many events, the next one collects.
const BUSY_EVENTS_MIN: usize = 64;
/// So many settlements are worth a commit of their own.
pub(crate) const SETTLEMENTS_MIN: usize = 1024;
/// Settlements wait at most so long.
const SETTLEMENTS_WAIT: Duration = Duration::from_millis(50);
/// After so long, settlements that the disk has not confirmed are confirmed.
const UNSAVED_WAIT: Duration = Duration::from_secs(1);
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// What the writer does next.
enum Step {
    /// Commits; `true`: and the disk confirms it.
    Write(bool),
    Wait(Option<Duration>),
    End,
}

/// The state of the writer thread.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, all private to one thread"
)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: CommitListener,
    /// Number of the last commit.
    pub(crate) number: u64,
    busy: bool,
    /// The last commit was a job's.
    job_last: bool,
    /// Events settled by commits that the disk has not confirmed, and since when.
    unsaved: Vec<EventKey>,
    unsaved_since: Option<Instant>,
    /// The file was opened again, and `unsaved` may be back in it.
    redo: bool,
    /// The outbox closes and the file cannot be written.
    gave_up: bool,
    pub(crate) last_compaction: LastCompaction,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, listener: CommitListener, number: u64) -> Self {
        Self {
            shared,
            listener,
            number,
            busy: false,
            job_last: false,
            unsaved: Vec::new(),
            unsaved_since: None,
            redo: false,
            gave_up: false,
            last_compaction: LastCompaction::default(),
        }
    }

    /// Whether the disk has not confirmed all commits yet.
    pub(crate) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Writes until the outbox closes.
    pub(crate) fn run(mut self) {
        // Also if a listener panics: nobody may wait for a writer that is gone.
        let _ending = Ending(Arc::clone(&self.shared));
        while let Some(batch) = self.next_batch() {
            self.write(batch);
            self.compact_if_due();
        }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let shared = Arc::clone(&self.shared);
        let mut intake = shared.intake.lock();
        loop {
            match self.step(&intake, Instant::now()) {
                Step::Write(durable) => {
                    let mut batch = Batch {
                        durable: durable || self.redo,
                        ..Batch::default()
                    };
                    if self.is_job_due(&intake) {
                        // Alone in its commit, and never twice in a row while others wait.
                        batch.job = intake.jobs.pop_front();
                        batch.durable = true;
                        self.job_last = true;
                        return Some(batch);
                    }
                    self.job_last = false;
                    let count = intake.queue.len().min(COMMIT_EVENTS_MAX);
                    let intents: Vec<_> = intake.queue.drain(..count).collect();
                    intake.queue_since = (!intake.queue.is_empty()).then(Instant::now);
                    let position = intake.appended - u64::try_from(intake.queue.len()).unwrap_or(0);
                    let count = intake.settlements.len().min(COMMIT_SETTLEMENTS_MAX);
                    let settlements: Vec<_> = intake.settlements.drain(..count).collect();
                    intake.settlements_since = (!intake.settlements.is_empty()).then(Instant::now);
                    for job in &mut intake.jobs {
                        job.advance(intents.len(), settlements.len());
                    }
                    let rows = intents
                        .iter()
                        .map(|intent| (intent.event.sequence, intent.row));
                    intake.committing = rows.collect();
                    drop(intake);
                    // A burial must not come back as pending.
                    batch.durable |= settlements
                        .iter()
                        .any(|settlement| matches!(settlement.outcome, Outcome::Buried(_)));
                    batch.add_events(intents, position);
                    batch.add_settlements(settlements);
                    return Some(batch);
                }
                Step::Wait(None) => shared.wake.wait(&mut intake),
                Step::Wait(Some(wait)) => {
                    shared.wake.wait_for(&mut intake, wait);
                }
                Step::End => return None,
            }
        }
    }

    /// Whether the next commit is a job's. Under a steady load the queue is never empty, so a job
    /// takes turns with it once everything that came before is committed.
    fn is_job_due(&self, intake: &Intake) -> bool {
        let is_idle = intake.queue.is_empty() && intake.settlements.is_empty();
        (is_idle || !self.job_last) && intake.jobs.front().is_some_and(Job::is_next)
    }

    fn step(&self, intake: &Intake, now: Instant) -> Step {
        let closing = intake.phase != Phase::Open;
        if closing && self.gave_up {
            return Step::End;
        }
        let left = |since: Option<Instant>, wait: Duration| {
            since.map_or(Duration::ZERO, |since| {
                wait.saturating_sub(now.saturating_duration_since(since))
            })
        };
        if self.is_job_due(intake) {
            return Step::Write(true);
        }
        if !intake.queue.is_empty() {
            let wait = left(intake.queue_since, self.shared.config.commit_interval);
            let collect =
                self.busy && !closing && intake.queue.len() < GROUP_EVENTS_MIN && !wait.is_zero();
            return if collect {
                Step::Wait(Some(wait))
            } else {
                Step::Write(true)
            };
        }
        if !intake.settlements.is_empty() {
            let wait = left(intake.settlements_since, SETTLEMENTS_WAIT);
            let job = !intake.jobs.is_empty();
            let collect =
                !closing && !job && intake.settlements.len() < SETTLEMENTS_MIN && !wait.is_zero();
            // Also under a steady load: what is not confirmed is kept in memory.
            let is_late =
                self.unsaved_since.is_some() && left(self.unsaved_since, UNSAVED_WAIT).is_zero();
            return if collect {
                Step::Wait(Some(wait))
            } else {
                Step::Write(closing || is_late)
            };
        }
        match self.unsaved_since {
            Some(since) => {
                let wait = left(Some(since), UNSAVED_WAIT);
                if closing || wait.is_zero() {
                    Step::Write(true)
                } else {
                    Step::Wait(Some(wait))
                }
            }
            None if closing => Step::End,
            None => Step::Wait(None),
        }
    }

    /// Commits `batch`, however often it takes; gives up only when the outbox closes.
    fn write(&mut self, mut batch: Batch) {
        self.busy = batch.events.len() >= BUSY_EVENTS_MIN;
        let mut wait = RETRY_WAIT_MIN;
        let mut unsure = None;
        loop {
            let started = Instant::now();
            match self.attempt(&batch) {
                Ok(changes) => {
                    self.shared.meters.commit(started.elapsed());
                    return self.publish(batch, &changes);
                }
                Err(failure) => {
                    // What is unsure stays so until the file was read again.
                    unsure = failure.unsure.or(unsure);
                    self.fail(&failure.error);
                }
            }
            loop {
                if !self.wait_for_retry(wait) {
                    return self.give_up(&batch);
                }
                wait = (wait * 2).min(RETRY_WAIT_MAX);
                match self.reopen() {
                    Ok(number) if number == self.number + 1 => match unsure.take() {
                        Some(changes) => return self.publish(batch, &changes),
                        None => break,
                    },
                    Ok(_) => {
                        unsure = None;
                        break;
                    }
                    Err(error) => {
                        tracing::error!(error = %ErrorChain(&error), "outbox file could not be opened again");
                    }
                }
            }
            batch.durable = true;
        }
    }

    fn attempt(&self, batch: &Batch) -> Result<Changes, CommitFailure> {
        let commit = Commit {
            batch,
            ledger: &self.shared.ledger,
            number: self.number + 1,
            now_ms: self.shared.clock.now_ms(),
            redo: self.redo.then_some(self.unsaved.as_slice()),
        };
        fail_point::reached(FailPoint::BeforeCommit);
        self.shared.disk.with(|database| match database {
            Some(database) => commit.run(database),
            None => Err(CommitFailure {
                error: CommitError::NotOpen,
                unsure: None,
            }),
        })
    }

    /// Opens the file again and reads the number of its last commit.
    fn reopen(&mut self) -> Result<u64, OpenStoreError> {
        self.shared.disk.reopen()?;
        self.redo = true;
        let path = &self.shared.config.path;
        self.shared.disk.with(|database| match database {
            Some(database) => read_number(database, COMMIT)
                .map(Option::unwrap_or_default)
                .map_err(|error| OpenStoreError::of(path, error)),
            None => Ok(self.number),
        })
    }

    fn fail(&self, error: &CommitError) {
        self.shared
            .meters
            .commit_failures
            .fetch_add(1, Ordering::Relaxed);
        tracing::error!(error = %ErrorChain(error), "outbox commit failed and will be repeated");
        let mut intake = self.shared.intake.lock();
        intake.failed = true;
        intake.fail_waiters();
    }

    /// Waits; `false` when the outbox closed meanwhile: then the last attempt is over.
    fn wait_for_retry(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut intake = self.shared.intake.lock();
        while intake.phase == Phase::Open && Instant::now() < until {
            self.shared
                .wake
                .wait_for(&mut intake, until.saturating_duration_since(Instant::now()));
        }
        intake.phase == Phase::Open
    }

    fn give_up(&mut self, batch: &Batch) {
        self.gave_up = true;
        let lost = self.shared.intake.lock().uncommitted();
        tracing::error!(
            lost_events = lost,
            lost_settlements = batch.settlements.len(),
            "outbox closes although it cannot be written"
        );
    }

    fn publish(&mut self, mut batch: Batch, changes: &Changes) {
        fail_point::reached(FailPoint::AfterCommit);
        self.number += 1;
        self.redo = false;
        if batch.durable {
            self.unsaved.clear();
            self.unsaved_since = None;
        } else {
            let keys = changes
                .settled
                .iter()
                .map(|event| event_key(event.incarnation, event.slot, Sequence(event.position)));
            self.unsaved.extend(keys);
            self.unsaved_since.get_or_insert_with(Instant::now);
        }
        self.shared.ledger.lock().apply(changes);
        self.shared.meters.changes(changes);
        self.account(&batch, changes);
        if !batch.events.is_empty() {
            (self.listener)(&batch.events);
        }
        for reply in batch.replies.drain(..) {
            // Whoever asked may have gone.
            let _: Result<(), _> = reply.send(());
        }
        if let Some(mut job) = batch.job.take() {
            job.done = job.done.saturating_add(changes.job_rows);
            if changes.job_goes_on {
                self.shared.intake.lock().jobs.push_front(job);
            } else {
                // Whoever asked may have gone.
                let _: Result<(), _> = job.reply.send(job.done);
            }
        }
    }

    /// Reservations of committed events become what they really take.
    fn account(&self, batch: &Batch, changes: &Changes) {
        let mut shares: BTreeMap<IncarnationId, (u64, u64)> = BTreeMap::new();
        for event in &changes.appended {
            let (grown, shrunk) = shares.entry(event.incarnation).or_default();
            *grown += event.bytes;
            *shrunk += EVENT_BYTES_RESERVED;
        }
        for event in &changes.settled {
            let (_, shrunk) = shares.entry(event.incarnation).or_default();
            *shrunk += event.bytes;
        }
        let mut intake = self.shared.intake.lock();
        intake.failed = false;
        intake.committing.clear();
        for (incarnation, (grown, shrunk)) in shares {
            intake.grow(incarnation, grown);
            intake.shrink(incarnation, shrunk);
        }
        if let Some(position) = batch.position {
            intake.resolve(position);
        }
    }
}

/// Ends the outbox when the writer does.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut intake = self.0.intake.lock();
        intake.phase = Phase::Closed;
        intake.failed |= intake.uncommitted() > 0;
        intake.fail_waiters();
        intake.drop_callers();
        drop(intake);
        self.0.disk.close();
    }
}

#[cfg(test)]
mod tests;
