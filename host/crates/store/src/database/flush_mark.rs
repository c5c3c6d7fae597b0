//! Beside each file of the store: the number of its last commit that is known to be on the disk.
//!
//! A commit in one phase writes the first page before the others and flushes once, so whoever dies in
//! between, process or machine, leaves a commit that is not whole and that nobody was told of. From the
//! file alone that looks like damage of a commit that was acknowledged. The mark tells them apart: it is
//! written after the flush and before anybody is told. It is not flushed itself, so after a power failure
//! it may be behind, never ahead.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of the commit, and a checksum of it.
const MARK_BYTES: usize = 12;

/// The mark of an open file.
#[derive(Debug)]
pub(crate) struct FlushMark {
    file: File,
    path: PathBuf,
    /// Whether one of this process is on the disk: until then it may hold that of an older file.
    is_begun: AtomicBool,
    has_failed: AtomicBool,
}

impl FlushMark {
    /// Where the mark of the file at `path` is.
    pub(crate) fn path_of(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".flushed");
        PathBuf::from(name)
    }

    /// The last commit of the file at `path` that was flushed; `None` if that is not known.
    pub(crate) fn read(path: &Path) -> Option<u64> {
        let bytes = fs::read(Self::path_of(path)).ok()?;
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        (rest == crc32fast::hash(number).to_le_bytes()).then(|| u64::from_le_bytes(*number))
    }

    /// Opens that of the file at `path`. What it holds stays until the first commit is flushed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = Self::path_of(path);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        Ok(Self {
            file,
            path,
            is_begun: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Notes that the commit was flushed. A failure costs the certainty of the next start only.
    pub(crate) fn set(&self, commit: u64) {
        let number = commit.to_le_bytes();
        let mut mark = [0; MARK_BYTES];
        let (first, rest) = mark.split_at_mut(number.len());
        first.copy_from_slice(&number);
        rest.copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
        let write = || {
            self.file.write_all_at(&mark, 0)?;
            // Commits of a new file count from the begin: the mark of the one before must not return.
            if !self.is_begun.swap(true, Ordering::Relaxed) {
                self.file.sync_data()?;
            }
            Ok::<_, io::Error>(())
        };
        if let Err(error) = write()
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %self.path.display(), %error,
                "the last flushed commit cannot be noted: if this process is killed, the next start cannot tell damage from an unfinished commit"
            );
        }
    }

    /// Removes that of the file at `path`: another file takes its place.
    pub(crate) fn remove(path: &Path) -> io::Result<()> {
        match fs::remove_file(Self::path_of(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
