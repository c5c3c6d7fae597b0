//! A file as it lies on the disk, read page by page. Never written, and locked as the engine locks it.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::header::{Header, Patch};
use super::page::{self, Link, PAGE_BYTES, PageNumber, Widths};
use crate::database::FlushMark;

/// No row of ours needs a larger page; a larger one is a wrong page number.
const PAGE_BYTES_MAX: u64 = 512 << 20;

/// What was found where a page should be.
pub(super) enum Loaded {
    /// What was written.
    Whole(Vec<u8>),
    /// One bit was wrong: the page with that bit turned back.
    Mended(Vec<u8>, Patch),
    /// Something else.
    Damaged(Vec<u8>),
    /// It is behind the end of the file.
    Missing,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Image {
    file: File,
    pub(super) bytes: u64,
    pub(super) header: Header,
    /// Whether a damaged page's wrong bit is looked for.
    mends: bool,
}

impl Image {
    /// Opens the file; `None` if another process has it open.
    pub(super) fn open(path: &Path, mends: bool) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Self::of(file, FlushMark::read(path), mends).map(Some)
    }

    fn of(file: File, flushed: Option<u64>, mends: bool) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let mut page = vec![0; PAGE_BYTES];
        let readable = usize::try_from(bytes).unwrap_or(PAGE_BYTES).min(PAGE_BYTES);
        if let Some(part) = page.get_mut(..readable) {
            file.read_exact_at(part, 0)?;
        }
        Ok(Self {
            header: Header::read(&page, bytes, flushed),
            file,
            bytes,
            mends,
        })
    }

    /// Where a page begins, bytes.
    pub(super) fn offset(page: PageNumber) -> u64 {
        // The engine's regions have no headers of their own in this format.
        let region_bytes = (1_u64 << 20) * 4096;
        4096 + page.region() * region_bytes + page.index() * page.bytes()
    }

    /// Reads the page and compares it with its checksum.
    pub(super) fn load(&self, link: Link, widths: Widths) -> io::Result<Loaded> {
        let offset = Self::offset(link.page);
        let bytes = link.page.bytes();
        if bytes > PAGE_BYTES_MAX || offset.saturating_add(bytes) > self.bytes {
            return Ok(Loaded::Missing);
        }
        let mut data = vec![0; usize::try_from(bytes).unwrap_or(PAGE_BYTES)];
        self.file.read_exact_at(&mut data, offset)?;
        if page::is_whole(&data, widths, link.checksum) {
            return Ok(Loaded::Whole(data));
        }
        let wrong = if self.mends {
            page::wrong_bit(&data, widths, link.checksum)
        } else {
            None
        };
        Ok(match wrong {
            None => Loaded::Damaged(data),
            Some((byte, bit)) => {
                page::turn(&mut data, byte, bit);
                let patch = Patch {
                    offset: offset + u64::try_from(byte).unwrap_or(0),
                    byte: data.get(byte).copied().unwrap_or(0),
                };
                Loaded::Mended(data, patch)
            }
        })
    }

    /// Reads up to `len` bytes at `offset`, fewer at the end of the file.
    pub(super) fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(len);
        let mut data = vec![0; len.min(left)];
        self.file.read_exact_at(&mut data, offset)?;
        Ok(data)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}
