//! One write transaction of the outbox.
//!
//! Events, open channels, settlements, tallies and the largest sequence and time change together
//! or not at all. Tallies are written as absolute numbers, so a repeated commit counts nothing twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use domain::{IncarnationId, Slot};
use parking_lot::Mutex;
use redb::{Database, Durability, WriteTransaction};

use super::batch::{Batch, row_bytes};
use super::dead_letter::{self, Buried, DeadLetterBook};
use super::ledger::{After, Ledger};
use super::tables::{
    COMMIT, EVENTS, FORGOTTEN, OPEN_CHANNELS, SEQUENCE, SLOT_MAPS, SLOTS, TALLIES, TIME_MS,
};
use super::{Outcome, Settlement};
use crate::database::NUMBERS;
use crate::record::{EventKey, decode_event, event_key};
use crate::{EngineError, OpenStoreError};

/// From so much in the file on, commits keep it quick to repair: a repair takes about 1.2 s per
/// million events otherwise, and large commits hardly notice the second flush.
const QUICK_REPAIR_BYTES_MIN: u64 = 48 << 20;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettledAs {
    Delivered,
    Skipped,
    Expired,
    Discarded,
    Buried,
}

impl SettledAs {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Skipped => Self::Skipped,
            Outcome::Expired => Self::Expired,
            Outcome::Discarded => Self::Discarded,
            Outcome::Buried(_) => Self::Buried,
        }
    }
}

/// An event that entered the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    pub(crate) incarnation: IncarnationId,
    pub(crate) slot: Slot,
    pub(crate) position: u64,
    pub(crate) entered_ms: u64,
    pub(crate) bytes: u64,
    /// It was a dead letter.
    pub(crate) is_replay: bool,
}

/// An event that left the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) incarnation: IncarnationId,
    pub(crate) slot: Slot,
    pub(crate) position: u64,
    pub(crate) how: SettledAs,
    pub(crate) bytes: u64,
}

/// What a commit changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) appended: Vec<Appended>,
    pub(crate) settled: Vec<Settled>,
    pub(crate) dead_letters: DeadLetterBook,
    /// An incarnation whose tally went to that of another one, or to the total.
    pub(crate) forgotten: Option<(IncarnationId, Option<IncarnationId>)>,
    /// Tallies and slots as they are then.
    pub(crate) after: After,
    /// Rows that the job of the batch changed.
    pub(crate) job_rows: u64,
    /// It is not finished.
    pub(crate) job_goes_on: bool,
    /// Events that a job ended, each with its end.
    pub(crate) ended_by_job: Vec<(EventKey, SettledAs)>,
    /// Events that a job had ended, and which RocketMQ stored all the same; with that end.
    pub(crate) delivered_late: Vec<(EventKey, SettledAs)>,
    /// Settlements of events that are not in the file: settled before, or purged.
    pub(crate) unknown_settlements: u64,
    /// Events whose record was damaged.
    pub(crate) damaged_events: u64,
}

/// A commit that may not have happened.
#[derive(Debug)]
pub(crate) struct CommitFailure {
    pub(crate) error: CommitError,
    /// Set if the engine was asked to commit: what will have changed if it did all the same.
    pub(crate) unsure: Option<Box<Changes>>,
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the storage engine panicked")]
    Panicked,
    #[error("the outbox file is not open")]
    NotOpen,
}

impl CommitError {
    /// The same as an error of opening the file at `path`.
    pub(crate) fn of(self, path: &Path) -> OpenStoreError {
        match self {
            Self::Engine(error) => OpenStoreError::of(path, error),
            Self::Panicked | Self::NotOpen => OpenStoreError::Damaged {
                path: path.to_owned(),
                detail: "its pages are inconsistent".to_owned(),
            },
        }
    }
}

/// What a commit needs beside its batch.
pub(crate) struct Commit<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) ledger: &'a Mutex<Ledger>,
    /// Its number.
    pub(crate) number: u64,
    pub(crate) now_ms: u64,
    /// Set in the first commit after a failure: events that were settled by commits which the
    /// disk never confirmed, already in the ledger.
    pub(crate) redo: Option<&'a [EventKey]>,
}

impl Commit<'_> {
    /// Writes the batch.
    pub(crate) fn run(&self, database: &Database) -> Result<Changes, CommitFailure> {
        let prepared = without_panic(|| {
            let transaction = self.begin(database)?;
            let changes = self.write(&transaction)?;
            Ok((transaction, changes))
        });
        let (transaction, changes) = prepared.map_err(|error| CommitFailure {
            error,
            unsure: None,
        })?;
        match without_panic(|| Ok(transaction.commit()?)) {
            Ok(()) => Ok(changes),
            Err(error) => Err(CommitFailure {
                error,
                unsure: Some(Box::new(changes)),
            }),
        }
    }

    fn begin(&self, database: &Database) -> Result<WriteTransaction, EngineError> {
        let mut transaction = database.begin_write()?;
        if self.batch.durable {
            transaction.set_durability(Durability::Immediate)?;
            transaction.set_quick_repair(is_quick_repair(&self.ledger.lock()));
        } else {
            transaction.set_durability(Durability::None)?;
        }
        Ok(transaction)
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<Changes, EngineError> {
        let mut changes = Changes {
            dead_letters: self.ledger.lock().dead_letters,
            ..Changes::default()
        };
        self.write_events(transaction, &mut changes)?;
        self.write_open_channels(transaction)?;
        if let Some(job) = &self.batch.job {
            job.run(transaction, &mut changes)?;
        }
        self.write_ledger(transaction, &mut changes)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(COMMIT, self.number)?;
        if let Some(last) = self.batch.events.last() {
            numbers.insert(SEQUENCE, last.position.0)?;
            numbers.insert(TIME_MS, last.entered_ms)?;
        }
        Ok(changes)
    }

    fn write_events(
        &self,
        transaction: &WriteTransaction,
        changes: &mut Changes,
    ) -> Result<(), EngineError> {
        let mut table = transaction.open_table(EVENTS)?;
        for key in self.redo.unwrap_or_default() {
            table.remove(key)?;
        }
        for (key, record) in &self.batch.event_rows {
            table.insert(key, record.as_slice())?;
        }
        changes
            .appended
            .extend(self.batch.events.iter().map(|pending| Appended {
                incarnation: pending.incarnation,
                slot: pending.slot,
                position: pending.position.0,
                entered_ms: pending.entered_ms,
                bytes: u64::from(pending.bytes),
                is_replay: pending.is_replay(),
            }));
        let mut buried = Vec::new();
        for settlement in &self.batch.settlements {
            let key = event_key(settlement.incarnation, settlement.slot, settlement.position);
            match table.remove(key)? {
                Some(record) => settle(settlement, record.value(), changes, &mut buried),
                None => self.settle_late(settlement, key, changes),
            }
        }
        drop(table);
        if !buried.is_empty() {
            changes.dead_letters =
                dead_letter::bury(transaction, &buried, changes.dead_letters, self.now_ms)?;
        }
        let replayed = &self.batch.replayed;
        if !replayed.is_empty() {
            changes.dead_letters =
                dead_letter::remove(transaction, replayed, changes.dead_letters)?;
        }
        Ok(())
    }

    /// The event is not in the file any more.
    fn settle_late(&self, settlement: &Settlement, key: EventKey, changes: &mut Changes) {
        let is_delivered = matches!(settlement.outcome, Outcome::Delivered);
        let end = self.ledger.lock().late_deliveries.ended(key);
        match end.filter(|_| is_delivered) {
            Some(end) => changes.delivered_late.push((key, end)),
            None => changes.unknown_settlements += 1,
        }
    }

    fn write_open_channels(&self, transaction: &WriteTransaction) -> Result<(), EngineError> {
        if self.batch.opened.is_empty() && self.batch.closed.is_empty() {
            return Ok(());
        }
        let mut table = transaction.open_table(OPEN_CHANNELS)?;
        for opened in &self.batch.closed {
            table.remove(opened)?;
        }
        for (opened, record) in &self.batch.opened {
            table.insert(opened, record.as_slice())?;
        }
        Ok(())
    }

    /// Tallies, slots, the total of the forgotten and the numbers of dead letters: what changed,
    /// and after a failure all of it.
    fn write_ledger(
        &self,
        transaction: &WriteTransaction,
        changes: &mut Changes,
    ) -> Result<(), EngineError> {
        let (mut rows, before) = {
            let ledger = self.ledger.lock();
            changes.after = ledger.after(changes);
            let rows = match self.redo {
                Some(_) => ledger.everything(),
                None => After::default(),
            };
            (rows, ledger.dead_letters)
        };
        let after = &changes.after;
        rows.tallies.extend(&after.tallies);
        rows.slots.extend(&after.slots);
        rows.forgotten = after.forgotten.or(rows.forgotten);
        if let Some((incarnation, _)) = changes.forgotten {
            rows.tallies.remove(&incarnation);
            transaction.open_table(TALLIES)?.remove(incarnation.0)?;
            transaction.open_table(SLOT_MAPS)?.remove(incarnation.0)?;
        }
        write_rows(transaction, &rows)?;
        if self.redo.is_some() || changes.dead_letters != before {
            changes.dead_letters.write(transaction)?;
        }
        Ok(())
    }
}

/// Whether a file with so much in it should be quick to repair.
pub(crate) fn is_quick_repair(ledger: &Ledger) -> bool {
    ledger.live_bytes() >= QUICK_REPAIR_BYTES_MIN
}

/// The engine may panic on a damaged page; the writer has to go on.
fn without_panic<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, CommitError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(CommitError::Engine),
        Err(_) => Err(CommitError::Panicked),
    }
}

/// Writes tallies and slots as they are.
pub(crate) fn write_rows(transaction: &WriteTransaction, rows: &After) -> Result<(), EngineError> {
    if !rows.tallies.is_empty() {
        let mut table = transaction.open_table(TALLIES)?;
        for (incarnation, tally) in &rows.tallies {
            table.insert(incarnation.0, tally.row())?;
        }
    }
    if !rows.slots.is_empty() {
        let mut table = transaction.open_table(SLOTS)?;
        for ((incarnation, slot), sums) in &rows.slots {
            let key = (incarnation.0, slot.0);
            if sums.events == 0 {
                table.remove(key)?;
            } else {
                table.insert(key, sums.row(*incarnation, *slot))?;
            }
        }
    }
    if let Some(tally) = &rows.forgotten {
        transaction.open_table(FORGOTTEN)?.insert((), tally.row())?;
    }
    Ok(())
}

/// A damaged record cannot be a dead letter: it is discarded, and counted as damaged.
fn settle<'a>(
    settlement: &'a Settlement,
    record: &[u8],
    changes: &mut Changes,
    buried: &mut Vec<Buried<'a>>,
) {
    let key = event_key(settlement.incarnation, settlement.slot, settlement.position);
    let mut how = SettledAs::of(&settlement.outcome);
    if let Outcome::Buried(burial) = &settlement.outcome {
        if decode_event(key, record).is_ok() {
            buried.push(Buried {
                key,
                event: record.to_vec(),
                burial,
            });
        } else {
            how = SettledAs::Discarded;
            changes.damaged_events += 1;
        }
    }
    changes.settled.push(settled(key, record, how));
}

/// The event in the row `key`, which left.
pub(crate) fn settled(
    (incarnation, slot, position): EventKey,
    record: &[u8],
    how: SettledAs,
) -> Settled {
    Settled {
        incarnation: IncarnationId(incarnation),
        slot: Slot(slot),
        position,
        how,
        bytes: u64::from(row_bytes(record)),
    }
}
