//! One look at the folder: what is in it, without opening anything.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Entries that are looked at; far more than there are plugins.
pub(super) const ENTRIES_MAX: usize = 1024;
/// Whoever may write into the folder may load plugins.
const OTHERS_MAY_WRITE: u32 = 0o002;

/// By what a file is known to be the same: any write, rename or change of rights alters it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    /// Bytes.
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(test)]
    pub(super) fn made_up(size: u64, modified: i64) -> Self {
        Self {
            device: 1,
            inode: 1,
            size,
            modified: (modified, 0),
            changed: (modified, 0),
        }
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File(Stamp),
    Symlink,
    Folder,
    Other,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Its name; what is no Unicode in it is replaced.
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The folder at one moment.
#[derive(Debug)]
pub(super) struct Glance {
    /// Sorted by name, at most [`ENTRIES_MAX`].
    pub(super) entries: Vec<Sighting>,
    /// Whether there are more.
    pub(super) is_cut: bool,
    /// Whether every user of the machine may write into the folder.
    pub(super) is_open_to_others: bool,
}

/// Looks. The folder may be a link to one, its entries may not.
///
/// # Errors
///
/// When there is no such folder, or it cannot be listed.
pub(super) fn take(folder: &Path) -> io::Result<Glance> {
    let mut entries = Vec::new();
    let mut is_cut = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What vanishes between the two is as good as never seen.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if entries.len() == ENTRIES_MAX {
            is_cut = true;
            break;
        }
        let file_type = metadata.file_type();
        let kind = if file_type.is_symlink() {
            Kind::Symlink
        } else if file_type.is_dir() {
            Kind::Folder
        } else if file_type.is_file() {
            Kind::File(Stamp::of(&metadata))
        } else {
            Kind::Other
        };
        entries.push(Sighting {
            name: entry.file_name().to_string_lossy().into_owned(),
            kind,
        });
    }
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    let mode = fs::metadata(folder)?.permissions().mode();
    Ok(Glance {
        entries,
        is_cut,
        is_open_to_others: mode & OTHERS_MAY_WRITE != 0,
    })
}
