//! The new file that rows are copied into, through the engine, in batches.

use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::RepairStoreError;
use super::page::Row;
use super::survey::Seal;
use crate::database::NUMBERS;
use crate::outbox::migration::create_tables;
use crate::outbox::tables::{
    DEAD_LETTERS, EVENTS, FORGOTTEN, OPEN_CHANNELS, SCHEMA, SLOT_MAPS, SLOTS, SlotRow, TALLIES,
    TallyRow,
};
use crate::{EngineError, OpenStoreError};

/// Memory for pages of the new file, bytes.
const CACHE_BYTES: usize = 64 << 20;

/// Rows of one transaction: some MiB.
const BATCH_ROWS: usize = 20_000;

/// A sealed table by its name.
type Numbered = TableDefinition<'static, u64, &'static [u8]>;

/// The new file.
pub(super) struct Sink {
    path: PathBuf,
    database: Database,
    batch: Vec<(&'static str, Vec<u8>, Vec<u8>)>,
}

impl Sink {
    pub(super) fn create(path: &Path) -> Result<Self, RepairStoreError> {
        super::swap::clear(path)?;
        let build = |source| RepairStoreError::Build {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let database = crate::database::build(path, CACHE_BYTES, SCHEMA).map_err(build)?;
        Ok(Self {
            path: path.to_owned(),
            database,
            batch: Vec::new(),
        })
    }

    fn failed(&self, error: EngineError) -> RepairStoreError {
        RepairStoreError::Build {
            path: self.path.clone(),
            source: Box::new(OpenStoreError::of(&self.path, error)),
        }
    }

    /// Takes a row over. A row with the same key is replaced.
    pub(super) fn put(
        &mut self,
        table: &'static str,
        (key, value): Row<'_>,
    ) -> Result<(), RepairStoreError> {
        self.batch.push((table, key.to_vec(), value.to_vec()));
        if self.batch.len() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what was put.
    pub(super) fn flush(&mut self) -> Result<(), RepairStoreError> {
        let batch = std::mem::take(&mut self.batch);
        self.write(&batch).map_err(|error| self.failed(error))
    }

    fn write(&self, batch: &[(&'static str, Vec<u8>, Vec<u8>)]) -> Result<(), EngineError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        {
            let mut events = transaction.open_table(EVENTS)?;
            let mut open_channels = transaction.open_table(OPEN_CHANNELS)?;
            let mut dead_letters = transaction.open_table(DEAD_LETTERS)?;
            let mut slot_maps = transaction.open_table(SLOT_MAPS)?;
            for (table, key, value) in batch {
                let Some(key) = Seal::of(table).key(key) else {
                    continue;
                };
                let value = value.as_slice();
                match *table {
                    "events" => drop(events.insert(key, value)?),
                    "open_channels" => drop(open_channels.insert(key.2, value)?),
                    "dead_letters" => drop(dead_letters.insert(key.2, value)?),
                    _ => drop(slot_maps.insert(key.0, value)?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Whether a row with this key was written. What was put must be flushed before.
    pub(super) fn has(&self, table: &'static str, key: &[u8]) -> Result<bool, RepairStoreError> {
        self.find(table, key).map_err(|error| self.failed(error))
    }

    fn find(&self, table: &'static str, key: &[u8]) -> Result<bool, EngineError> {
        let Some(key) = Seal::of(table).key(key) else {
            return Ok(false);
        };
        let transaction = self.database.begin_read()?;
        let numbered = |table: Numbered| -> Result<bool, EngineError> {
            Ok(transaction.open_table(table)?.get(key.2)?.is_some())
        };
        match table {
            "events" => Ok(transaction.open_table(EVENTS)?.get(key)?.is_some()),
            "open_channels" => numbered(OPEN_CHANNELS),
            "dead_letters" => numbered(DEAD_LETTERS),
            _ => Ok(transaction.open_table(SLOT_MAPS)?.get(key.0)?.is_some()),
        }
    }

    /// Writes counts and numbers and closes the file.
    pub(super) fn finish(mut self, end: &Ending) -> Result<(), RepairStoreError> {
        self.flush()?;
        self.write_end(end).map_err(|error| self.failed(error))
    }

    fn write_end(&self, end: &Ending) -> Result<(), EngineError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        if end.is_current {
            create_tables(&transaction)?;
        }
        {
            let mut tallies = transaction.open_table(TALLIES)?;
            for (incarnation, row) in &end.tallies {
                tallies.insert(incarnation, *row)?;
            }
            for (key, row) in &end.slots {
                transaction.open_table(SLOTS)?.insert(*key, *row)?;
            }
            if let Some(row) = end.forgotten {
                transaction.open_table(FORGOTTEN)?.insert((), row)?;
            }
            let mut numbers = transaction.open_table(NUMBERS)?;
            for (name, number) in &end.numbers {
                numbers.insert(name.as_str(), number)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// What is written last.
#[derive(Default)]
pub(super) struct Ending {
    /// Whether the file has the tables of this version.
    pub(super) is_current: bool,
    pub(super) tallies: Vec<(u32, TallyRow)>,
    pub(super) forgotten: Option<TallyRow>,
    pub(super) slots: Vec<((u32, u8), SlotRow)>,
    pub(super) numbers: Vec<(String, u64)>,
}
