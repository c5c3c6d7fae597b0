//! A file of the storage engine that notes each commit once it is flushed.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{BackendError, StorageBackend};

use super::flush_mark::FlushMark;
use crate::repair::served_commit;

/// The file.
#[derive(Debug)]
pub(crate) struct MarkedFile<F> {
    file: F,
    mark: FlushMark,
    /// The commit that the first page names as the last one, as it was last written; 0 is none.
    written: AtomicU64,
}

impl<F: StorageBackend> MarkedFile<F> {
    pub(crate) fn new(file: F, mark: FlushMark) -> Self {
        Self {
            file,
            mark,
            written: AtomicU64::new(0),
        }
    }
}

impl<F: StorageBackend> StorageBackend for MarkedFile<F> {
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // Read before: what is written meanwhile may not be part of this flush.
        let written = self.written.load(Ordering::Acquire);
        self.file.sync_data()?;
        if written != 0 {
            self.mark.set(written);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)?;
        if offset == 0
            && let Some(commit) = served_commit(data)
        {
            self.written.store(commit, Ordering::Release);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
