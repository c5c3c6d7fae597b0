//! A new file of the store: it appears under its name when it is whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, StorageError};

use super::{OpenStoreError, SCHEMA_NUMBER, without_panic, write_number};

/// The name of a file that is being created.
pub(super) fn creating(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".creating");
    PathBuf::from(name)
}

/// Makes a new file at `path` that appears there when it is whole: half of one would be taken for a
/// damaged one by every later start.
pub(super) fn create(path: &Path, cache_bytes: usize, schema: u64) -> Result<(), OpenStoreError> {
    let new = creating(path);
    let fail = |error: io::Error| OpenStoreError::of(path, StorageError::Io(error));
    clear(&new).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenStoreError::InUse {
            path: path.to_owned(),
        },
        _ => fail(error),
    })?;
    let built = build(&new, cache_bytes, schema).and_then(|database| {
        drop(database);
        fs::rename(&new, path).map_err(fail)?;
        sync_folder(path).map_err(fail)
    });
    if !matches!(built, Ok(()) | Err(OpenStoreError::InUse { .. })) {
        // What fails here failed before.
        drop(fs::remove_file(&new));
    }
    built
}

/// Removes what a start that did not end left; an error of the kind `WouldBlock` if another is at it.
fn clear(new: &Path) -> io::Result<()> {
    match File::open(new) {
        Ok(left) => match left.try_lock() {
            Ok(()) => fs::remove_file(new),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Flushes the names in the folder of the file at `path`.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Makes a new file at `path`, where none is, that holds nothing but its schema.
pub(crate) fn build(
    path: &Path,
    cache_bytes: usize,
    schema: u64,
) -> Result<Database, OpenStoreError> {
    without_panic(path, || {
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        let database = builder
            .create(path)
            .map_err(|error| OpenStoreError::of(path, error))?;
        write_number(&database, SCHEMA_NUMBER, schema)
            .map_err(|error| OpenStoreError::of(path, error))?;
        Ok(database)
    })
}
