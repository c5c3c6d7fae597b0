//! A file of the store while it is open: readers share it, and it can be replaced after a failure.
//!
//! The engine refuses everything after an I/O error until the file is closed and opened again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::Database;

use crate::database::OpenedFile;
use crate::{EngineError, OpenStoreError};

/// Opens the file.
pub(crate) type OpenFile = Box<dyn Fn(&Path) -> Result<OpenedFile, OpenStoreError> + Send + Sync>;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadStoreError {
    /// The store is closed, or an I/O error made it close the file, which is opened again.
    #[error("the file is not open")]
    NotOpen,
    /// The engine failed.
    #[error("the file cannot be read")]
    Engine(#[from] EngineError),
    /// The engine ran into pages that contradict each other.
    #[error("the file is damaged")]
    Damaged,
}

/// The file.
pub(crate) struct Disk {
    path: PathBuf,
    open: OpenFile,
    database: RwLock<Option<Database>>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Disk {
    pub(crate) fn new(path: PathBuf, open: OpenFile, database: Database) -> Self {
        Self {
            path,
            open,
            database: RwLock::new(Some(database)),
        }
    }

    /// Runs `work` on the open file.
    pub(crate) fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, EngineError>,
    ) -> Result<T, ReadStoreError> {
        run(self.database.read().as_ref(), work)
    }

    /// The same, but `None` instead of waiting while the file is opened again or compacted.
    pub(crate) fn try_run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, EngineError>,
    ) -> Option<Result<T, ReadStoreError>> {
        Some(run(self.database.try_read()?.as_ref(), work))
    }

    /// Runs `work` on the file if it is open, with nobody else reading or writing.
    pub(crate) fn alone<T>(&self, work: impl FnOnce(&mut Database) -> T) -> Option<T> {
        let mut database = self.database.write();
        let database = database.as_mut()?;
        // A panic of the engine: the next commit fails, and the file is opened again.
        catch_unwind(AssertUnwindSafe(|| work(database))).ok()
    }

    /// Runs `work` on the file if it is open.
    pub(crate) fn with<T>(&self, work: impl FnOnce(Option<&Database>) -> T) -> T {
        work(self.database.read().as_ref())
    }

    /// Closes the file and opens it again.
    pub(crate) fn reopen(&self) -> Result<(), OpenStoreError> {
        let mut database = self.database.write();
        *database = None;
        *database = Some((self.open)(&self.path)?.database);
        Ok(())
    }

    /// Closes the file.
    pub(crate) fn close(&self) {
        *self.database.write() = None;
    }
}

fn run<T>(
    database: Option<&Database>,
    work: impl FnOnce(&Database) -> Result<T, EngineError>,
) -> Result<T, ReadStoreError> {
    let database = database.ok_or(ReadStoreError::NotOpen)?;
    // The engine may panic on a damaged page; a courier that asks again must not die of it.
    match catch_unwind(AssertUnwindSafe(|| work(database))) {
        Ok(Err(error)) if error.is_damage() => Err(ReadStoreError::Damaged),
        Ok(result) => result.map_err(ReadStoreError::Engine),
        Err(_) => Err(ReadStoreError::Damaged),
    }
}
