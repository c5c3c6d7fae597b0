//! One file of the storage engine: opening it, its schema version, and its errors.
//!
//! A file that cannot be read is always an error and never an empty store. Small files are
//! verified page by page when they open, since the engine trusts a file that was closed cleanly.

mod creation;
mod flush_mark;
mod marked_file;

use std::fs::{self, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, StorageBackend, StorageError,
    TableDefinition, TableError,
};

use self::creation::create;
pub(crate) use self::creation::{build, sync_folder};
pub(crate) use self::flush_mark::FlushMark;
use self::marked_file::MarkedFile;
use crate::repair::damage_at_start;

/// Numbers of a file, by name; `schema` is the version of its tables.
pub(crate) const NUMBERS: TableDefinition<'static, &'static str, u64> =
    TableDefinition::new("numbers");

/// In the table of numbers: the version of the tables.
pub(crate) const SCHEMA_NUMBER: &str = "schema";

/// Files up to this size are verified page by page at every open: some tenths of a second. A larger one
/// is verified only after a crash that a commit may not have survived; its events carry checksums of their own.
const VERIFY_BYTES_MAX: u64 = 256 << 20;

/// Memory for pages of a file that is only verified, bytes.
const VERIFY_CACHE_BYTES: usize = 64 << 20;

/// What the storage engine said.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EngineError(Box<redb::Error>);

impl EngineError {
    /// Whether the file is not what was written.
    pub(crate) fn is_damage(&self) -> bool {
        match &*self.0 {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. } => true,
            // A file that was cut ends before its pages do.
            redb::Error::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ),
            _ => false,
        }
    }
}

macro_rules! engine_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for EngineError {
            fn from(error: $error) -> Self {
                Self(Box::new(error.into()))
            }
        })*
    };
}

engine_errors!(
    StorageError,
    TableError,
    redb::TransactionError,
    redb::CommitError,
    DatabaseError,
    redb::CursorError,
    redb::SetDurabilityError
);

/// Why a file of the store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error("{} has schema {found}, but this version reads only up to {supported}; it was written by a newer version", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that can be read.
        supported: u64,
    },
    /// Its contents are not what was written.
    #[error("{} is damaged ({detail}); see what is wrong with `rulemill outbox check --data-dir {folder}`, then mend it with `rulemill outbox repair --data-dir {folder}` or restore it from a copy", path.display(), folder = folder(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It could not be read or written.
    #[error("{} cannot be opened", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: EngineError,
    },
    /// Its thread did not start.
    #[error("the writer thread of {} did not start", path.display())]
    Thread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The data folder of a file, as a shell takes it.
fn folder(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path).display().to_string();
    if folder.contains(|c: char| c.is_whitespace() || "'\"$`\\*?&;|<>()".contains(c)) {
        format!("'{}'", folder.replace('\'', r"'\''"))
    } else {
        folder
    }
}

impl OpenStoreError {
    /// Sorts an engine error of the file at `path`.
    pub(crate) fn of(path: &Path, error: impl Into<EngineError>) -> Self {
        let path = path.to_owned();
        let source = error.into();
        let is_damage = source.is_damage();
        match *source.0 {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Self::InUse { path }
            }
            redb::Error::Corrupted(detail) => Self::Damaged { path, detail },
            redb::Error::UpgradeRequired(version) => Self::Damaged {
                path,
                detail: format!("unknown file format {version}"),
            },
            redb::Error::TableTypeMismatch { table, .. } => Self::Damaged {
                path,
                detail: format!("table {table} has other types"),
            },
            other if is_damage => Self::Damaged {
                path,
                detail: other.to_string(),
            },
            other => Self::Engine {
                path,
                source: EngineError(Box::new(other)),
            },
        }
    }
}

/// An open file.
pub(crate) struct OpenedFile {
    pub(crate) database: Database,
    /// The last process that had it open did not close it.
    pub(crate) repaired: bool,
}

/// Opens or creates the file at `path` and checks that its schema is at most `schema`.
pub(crate) fn open(
    path: &Path,
    cache_bytes: usize,
    schema: u64,
) -> Result<OpenedFile, OpenStoreError> {
    match fs::metadata(path) {
        // The engine would make a new store of it, and what was in it would be gone without a word.
        Ok(metadata) if metadata.len() == 0 => {
            return Err(OpenStoreError::Damaged {
                path: path.to_owned(),
                detail: "it has no bytes".to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, cache_bytes, schema)?;
        }
        _ => {}
    }
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let mut builder = Builder::new();
    builder
        .set_cache_size(cache_bytes)
        .set_repair_callback(move |_| seen.store(true, Ordering::Relaxed));
    let database = without_panic(path, || {
        // Before the engine, which would go back to an older commit without a word.
        if let Some(detail) = damage_at_start(path, VERIFY_BYTES_MAX) {
            return Err(OpenStoreError::Damaged {
                path: path.to_owned(),
                detail,
            });
        }
        let database =
            open_marked(&builder, path).map_err(|error| OpenStoreError::of(path, error))?;
        check_schema(&database, path, schema)?;
        Ok(database)
    })?;
    Ok(OpenedFile {
        database,
        repaired: repaired.load(Ordering::Relaxed),
    })
}

/// The engine may panic on a file that was altered after a clean close.
fn without_panic<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, OpenStoreError>,
) -> Result<T, OpenStoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(OpenStoreError::Damaged {
            path: path.to_owned(),
            detail: "its pages are inconsistent".to_owned(),
        })
    })
}

/// Has the engine check every page of the file at `path`; says what is wrong.
pub(crate) fn verify(path: &Path) -> Result<(), String> {
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(VERIFY_CACHE_BYTES);
        builder.open(path)?.check_integrity()
    }));
    match checked {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("the engine had to repair it".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its pages are inconsistent".to_owned()),
    }
}

/// Opens the file so that each flushed commit is noted beside it.
fn open_marked(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(StorageError::Io)?;
    let file = FileBackend::new(file)?;
    #[cfg(any(debug_assertions, feature = "fail-points"))]
    {
        use crate::fail_point::{FailPoint, is_armed, watched_file::WatchedFile};
        if is_armed(FailPoint::Compaction) {
            return open_backend(builder, path, WatchedFile::new(file));
        }
    }
    open_backend(builder, path, file)
}

fn open_backend(
    builder: &Builder,
    path: &Path,
    file: impl StorageBackend,
) -> Result<Database, DatabaseError> {
    match FlushMark::open(path) {
        Ok(mark) => builder.create_with_backend(MarkedFile::new(file, mark)),
        Err(error) => {
            // A folder that takes no new files, for instance.
            tracing::warn!(
                path = %FlushMark::path_of(path).display(), %error,
                "cannot be written: if this process is killed, the next start cannot tell damage from an unfinished commit"
            );
            builder.create_with_backend(file)
        }
    }
}

/// Checks that the schema is at most `schema`; writes it into a file that has no tables.
pub(crate) fn check_schema(
    database: &Database,
    path: &Path,
    schema: u64,
) -> Result<(), OpenStoreError> {
    let fail = |error: EngineError| OpenStoreError::of(path, error);
    match read_number(database, SCHEMA_NUMBER).map_err(fail)? {
        Some(found) if found > schema => Err(OpenStoreError::NewerSchema {
            path: path.to_owned(),
            found,
            supported: schema,
        }),
        Some(_) => Ok(()),
        None if has_tables(database).map_err(fail)? => Err(OpenStoreError::Damaged {
            path: path.to_owned(),
            detail: "it has no schema version".to_owned(),
        }),
        None => write_number(database, SCHEMA_NUMBER, schema).map_err(fail),
    }
}

fn has_tables(database: &Database) -> Result<bool, EngineError> {
    Ok(database.begin_read()?.list_tables()?.next().is_some())
}

/// Reads a number; `None` if it was never written.
pub(crate) fn read_number(database: &Database, name: &str) -> Result<Option<u64>, EngineError> {
    match database.begin_read()?.open_table(NUMBERS) {
        Ok(table) => {
            let number = table.get(name)?;
            Ok(number.map(|guard| guard.value()))
        }
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write_number(database: &Database, name: &str, number: u64) -> Result<(), EngineError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.open_table(NUMBERS)?.insert(name, number)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
