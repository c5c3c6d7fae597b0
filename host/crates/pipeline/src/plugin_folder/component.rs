//! Reads one file of the folder, whole or not at all.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::glance::Stamp;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadComponentError {
    /// It is another file by now, or still written to.
    #[error("it changed while it was read")]
    Changed,
    /// It is gone.
    #[error("it vanished before it was read")]
    Vanished,
    /// The system does not give it.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
}

/// Reads the file that was seen as `stamp`.
///
/// # Errors
///
/// When it is no longer that file, or the system refuses.
pub(super) fn read(path: &Path, stamp: &Stamp) -> Result<Vec<u8>, ReadComponentError> {
    // What took the place of the file meanwhile is neither followed (a link) nor waited for (a pipe).
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadComponentError::Vanished,
        _ => ReadComponentError::Unreadable(error),
    })?;
    let is_same = || match file.metadata() {
        Ok(metadata) if metadata.is_file() && Stamp::of(&metadata) == *stamp => Ok(()),
        Ok(_) => Err(ReadComponentError::Changed),
        Err(error) => Err(ReadComponentError::Unreadable(error)),
    };
    is_same()?;
    let mut bytes = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or_default());
    // One byte more than it had: what has grown is seen without reading all of it.
    (&file)
        .take(stamp.size.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(ReadComponentError::Unreadable)?;
    is_same()?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read == stamp.size) {
        Ok(bytes)
    } else {
        Err(ReadComponentError::Changed)
    }
}
