//! Tables of a new file, and of one that an older version wrote.
//!
//! A step is one transaction, so a crash in the middle leaves the old file.

use std::collections::BTreeMap;

use domain::{IncarnationId, Slot};
use redb::{Database, ReadableDatabase, ReadableTable, TableError, WriteTransaction};

use super::batch::row_bytes;
use super::dead_letter::DeadLetterBook;
use super::ledger::{After, SlotKey};
use super::slot_sums::SlotSums;
use super::tables::{
    DEAD_LETTER_NEXT, DEAD_LETTERS, EVENTS, FORGOTTEN, OPEN_CHANNELS, SCHEMA, SLOT_MAPS, SLOTS,
    TALLIES,
};
use crate::EngineError;
use crate::database::{NUMBERS, SCHEMA_NUMBER, read_number};

/// Makes the tables that are missing; brings a file of version 1 to this one, which reads each of
/// its events once.
pub(crate) fn migrate(database: &Database) -> Result<(), EngineError> {
    let found = read_number(database, SCHEMA_NUMBER)?;
    if found == Some(SCHEMA) && has_tables(database)? {
        return Ok(());
    }
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    create_tables(&transaction)?;
    if found < Some(SCHEMA) {
        recount(&transaction)?;
        transaction
            .open_table(NUMBERS)?
            .insert(SCHEMA_NUMBER, SCHEMA)?;
        tracing::info!(schema = SCHEMA, "outbox file brought to this version");
    }
    transaction.commit()?;
    Ok(())
}

/// The table that is made last.
fn has_tables(database: &Database) -> Result<bool, EngineError> {
    match database.begin_read()?.open_table(SLOTS) {
        Ok(_) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn create_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(EVENTS)?;
    transaction.open_table(OPEN_CHANNELS)?;
    transaction.open_table(TALLIES)?;
    transaction.open_table(FORGOTTEN)?;
    transaction.open_table(SLOT_MAPS)?;
    transaction.open_table(DEAD_LETTERS)?;
    transaction.open_table(SLOTS)?;
    Ok(())
}

/// Counts pending events and dead letters anew and stores the sums.
pub(crate) fn recount(transaction: &WriteTransaction) -> Result<(), EngineError> {
    let mut sums: BTreeMap<SlotKey, SlotSums> = BTreeMap::new();
    for row in transaction.open_table(EVENTS)?.iter()? {
        let (key, record) = row?;
        let (incarnation, slot, _) = key.value();
        let key = (IncarnationId(incarnation), Slot(slot));
        let bytes = u64::from(row_bytes(record.value()));
        sums.entry(key).or_default().add(SlotSums::of(bytes));
    }
    transaction.open_table(SLOTS)?.retain(|_, _| false)?;
    let rows = After {
        slots: sums,
        ..After::default()
    };
    super::commit::write_rows(transaction, &rows)?;
    let next_id = {
        let numbers = transaction.open_table(NUMBERS)?;
        let next_id = numbers.get(DEAD_LETTER_NEXT)?;
        next_id.map_or(0, |next_id| next_id.value())
    };
    let book = DeadLetterBook::count(&transaction.open_table(DEAD_LETTERS)?, next_id)?;
    book.write(transaction)
}
