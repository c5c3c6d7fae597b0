//! Puts a new file in the place of a damaged one, so that a crash at any point leaves one of both there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use domain::{Clock as _, SystemClock};

use super::RepairStoreError;
use super::header::Patch;
use super::image::Image;
use crate::database::sync_folder;

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// The name of the file that is being written.
pub(super) fn new_file(path: &Path) -> PathBuf {
    beside(path, ".new")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes what an earlier repair left.
pub(super) fn clear(new: &Path) -> Result<(), RepairStoreError> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(new, error)),
        _ => Ok(()),
    }
}

/// Copies the file with its wrong bytes replaced.
pub(super) fn copy(image: &Image, patches: &[Patch], new: &Path) -> Result<(), RepairStoreError> {
    clear(new)?;
    write_copy(image, patches, new).map_err(|error| unwritable(new, error))
}

fn write_copy(image: &Image, patches: &[Patch], new: &Path) -> io::Result<()> {
    let mut file = File::create_new(new)?;
    file.set_permissions(image.file().metadata()?.permissions())?;
    let mut offset = 0;
    loop {
        let data = image.read_at(offset, COPY_BYTES)?;
        if data.is_empty() {
            break;
        }
        file.write_all(&data)?;
        offset += u64::try_from(data.len()).unwrap_or(0);
    }
    for patch in patches {
        file.write_all_at(&[patch.byte], patch.offset)?;
    }
    file.sync_all()
}

/// Keeps the damaged file under another name, then puts the new one in its place. Returns that name.
pub(super) fn swap(path: &Path, new: &Path) -> Result<PathBuf, RepairStoreError> {
    let damaged = beside(path, &format!(".damaged-{}", SystemClock.now_ms()));
    let steps = || {
        File::open(new)?.sync_all()?;
        // A second name first: a rename would leave a moment without a file, and a start in
        // it would begin with an empty one.
        if fs::hard_link(path, &damaged).is_err() {
            fs::copy(path, &damaged)?;
            File::open(&damaged)?.sync_all()?;
        }
        fs::rename(new, path)?;
        sync_folder(path)
    };
    steps().map_err(|error| unwritable(new, error))?;
    Ok(damaged)
}

pub(super) fn unwritable(new: &Path, source: io::Error) -> RepairStoreError {
    RepairStoreError::Write {
        path: new.to_owned(),
        source,
    }
}
