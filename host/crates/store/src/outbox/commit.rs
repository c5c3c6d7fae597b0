//! One write transaction of the outbox.
//!
//! Events, open channels, settlements, tallies and the largest sequence and time change together
//! or not at all. Tallies are written as absolute numbers, so a repeated commit counts nothing twice.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use domain::{IncarnationId, Slot};
use parking_lot::Mutex;
use redb::{Database, Durability, WriteTransaction};

use super::batch::{Batch, row_bytes};
use super::dead_letter::{self, Buried, DeadLetterBook};
use super::intake::Purge;
use super::ledger::{Ledger, Tally};
use super::tables::{COMMIT, EVENTS, OPEN_CHANNELS, SEQUENCE, SLOT_MAPS, TALLIES, TIME_MS};
use super::{Outcome, Settlement};
use crate::database::NUMBERS;
use crate::record::{EventKey, decode_event, event_key, event_time_ms};
use crate::{EngineError, OpenStoreError};

/// A purge removes so many events a commit, so that no commit takes seconds.
const PURGE_EVENTS_MAX: usize = 20_000;

/// From so many pending events on, commits keep the file quick to repair: a repair takes about
/// 1.2 s per million events, and large commits hardly notice the second flush.
const QUICK_REPAIR_EVENTS_MIN: u64 = 250_000;

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
    pub(crate) bytes: u64,
    pub(crate) time_ms: u64,
}

/// An event that left the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) incarnation: IncarnationId,
    pub(crate) slot: Slot,
    pub(crate) sequence: u64,
    pub(crate) how: SettledAs,
    pub(crate) bytes: u64,
    pub(crate) time_ms: u64,
}

/// What a commit changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) appended: Vec<Appended>,
    pub(crate) settled: Vec<Settled>,
    pub(crate) dead_letters: DeadLetterBook,
    pub(crate) forgotten: Option<IncarnationId>,
    /// The purge of the batch is not finished.
    pub(crate) purge_goes_on: bool,
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
    pub(crate) dead_letters_bytes_max: u64,
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
            transaction.set_quick_repair(self.ledger.lock().pending() >= QUICK_REPAIR_EVENTS_MIN);
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
        if let Some(purge) = &self.batch.purge {
            run_purge(transaction, purge, &mut changes)?;
        }
        self.write_tallies(transaction, &changes)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(COMMIT, self.number)?;
        if let Some(last) = self.batch.events.last() {
            numbers.insert(SEQUENCE, last.event.sequence.0)?;
            numbers.insert(TIME_MS, last.event.time_ms)?;
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
                bytes: u64::from(pending.bytes),
                time_ms: pending.event.time_ms,
            }));
        let mut buried = Vec::new();
        for settlement in &self.batch.settlements {
            let key = event_key(settlement.incarnation, settlement.slot, settlement.sequence);
            match table.remove(key)? {
                Some(record) => settle(settlement, record.value(), changes, &mut buried),
                None => changes.unknown_settlements += 1,
            }
        }
        drop(table);
        if !buried.is_empty() {
            let limits = (self.now_ms, self.dead_letters_bytes_max);
            changes.dead_letters =
                dead_letter::bury(transaction, &buried, changes.dead_letters, limits)?;
        }
        Ok(())
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

    fn write_tallies(
        &self,
        transaction: &WriteTransaction,
        changes: &Changes,
    ) -> Result<(), EngineError> {
        let mut tallies = {
            let ledger = self.ledger.lock();
            let mut tallies = if self.redo.is_some() {
                ledger.tallies()
            } else {
                BTreeMap::new()
            };
            tallies.extend(ledger.tallies_after(changes));
            tallies
        };
        if let Some(incarnation) = changes.forgotten {
            tallies.remove(&incarnation);
            transaction.open_table(TALLIES)?.remove(incarnation.0)?;
            transaction.open_table(SLOT_MAPS)?.remove(incarnation.0)?;
        }
        write_tally_rows(transaction, tallies)
    }
}

/// The engine may panic on a damaged page; the writer has to go on.
fn without_panic<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, CommitError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(CommitError::Engine),
        Err(_) => Err(CommitError::Panicked),
    }
}

/// Writes tallies as they are.
pub(crate) fn write_tally_rows(
    transaction: &WriteTransaction,
    tallies: impl IntoIterator<Item = (IncarnationId, Tally)>,
) -> Result<(), EngineError> {
    let mut table = transaction.open_table(TALLIES)?;
    for (incarnation, tally) in tallies {
        table.insert(incarnation.0, tally.row())?;
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
    let key = event_key(settlement.incarnation, settlement.slot, settlement.sequence);
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

fn settled((incarnation, slot, sequence): EventKey, record: &[u8], how: SettledAs) -> Settled {
    Settled {
        incarnation: IncarnationId(incarnation),
        slot: Slot(slot),
        sequence,
        how,
        bytes: u64::from(row_bytes(record)),
        time_ms: event_time_ms(record),
    }
}

fn run_purge(
    transaction: &WriteTransaction,
    purge: &Purge,
    changes: &mut Changes,
) -> Result<(), EngineError> {
    let incarnation = purge.incarnation.0;
    let mut table = transaction.open_table(EVENTS)?;
    let range = (incarnation, 0, 0)..=(incarnation, u8::MAX, u64::MAX);
    let mut count = 0;
    for row in table
        .extract_from_if(range, |_, _| true)?
        .take(PURGE_EVENTS_MAX)
    {
        let (key, record) = row?;
        changes
            .settled
            .push(settled(key.value(), record.value(), SettledAs::Discarded));
        count += 1;
    }
    changes.purge_goes_on = count == PURGE_EVENTS_MAX;
    changes.forgotten = (purge.forget && !changes.purge_goes_on).then_some(purge.incarnation);
    Ok(())
}
