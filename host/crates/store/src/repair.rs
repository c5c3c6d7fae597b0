//! `rulemill outbox check|repair`: what is wrong in a file of the store, and a new file without it.
//!
//! Reads the engine's format itself, since the engine goes back to an older commit, panics or gives up
//! where a page is damaged. Every page has a checksum of 128 bits in its parent, so a single wrong
//! bit is found and turned back and nothing is lost; a row of ours has a checksum of its own, so what
//! is left of a worse damaged page is provably ours. The file itself is never changed.

mod header;
mod image;
mod page;
mod report;
mod salvage;
mod scan;
mod sink;
mod survey;
mod swap;
mod walk;
mod xxh3;

use std::io;
use std::path::{Path, PathBuf};

use self::image::Image;
use self::survey::Survey;
use crate::database::FlushMark;
use crate::outbox::tables::SCHEMA as OUTBOX_SCHEMA;
use crate::{OpenStoreError, meta};

pub(crate) use self::header::served_commit;
pub use self::report::{
    CheckReport, Damage, Remedy, RepairReport, TableCheck, TableRepair, TallyMismatch, TallyRepair,
};

/// Why a file was not checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckStoreError {
    /// A host runs on it.
    #[error("{} is in use by another process: stop the host first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is not there or cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a file was not repaired. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairStoreError {
    /// It could not be examined.
    #[error(transparent)]
    Check(#[from] CheckStoreError),
    /// A newer version of this program wrote it.
    #[error("{} has schema {found}, but this version knows only up to {supported}: repair it with the version that wrote it", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that is known.
        supported: u64,
    },
    /// Its records have no checksums of their own, so nothing proves what is left of a damaged page.
    #[error("{} has damage of more than one bit on a page, and only outbox.redb can be salvaged then: restore it from a copy", path.display())]
    NotSalvageable {
        /// The file.
        path: PathBuf,
    },
    /// No row of ours is in it.
    #[error("{} has nothing that can be kept: move it away to start without it", path.display())]
    NothingFound {
        /// The file.
        path: PathBuf,
    },
    /// The new file could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The new file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The engine could not write the new file.
    #[error("{} cannot be written", path.display())]
    Build {
        /// The new file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Box<OpenStoreError>,
    },
    /// The new file is not what it should be. It stays for a look.
    #[error("{} was written but is not sound: {detail}", path.display())]
    NotVerified {
        /// The new file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFile {
    /// `outbox.redb`.
    Outbox,
    /// `meta.redb`.
    Meta,
}

impl StoreFile {
    /// Its name in the data folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Outbox => "outbox.redb",
            Self::Meta => "meta.redb",
        }
    }

    fn schema(self) -> u64 {
        match self {
            Self::Outbox => OUTBOX_SCHEMA,
            Self::Meta => meta::SCHEMA,
        }
    }
}

/// Reads the whole file and says what is wrong. Never changes it. Blocks; some seconds per GiB.
///
/// # Errors
///
/// When a host has it open, or it cannot be read.
pub fn check(path: &Path, kind: StoreFile) -> Result<CheckReport, CheckStoreError> {
    let image = open(path)?;
    let survey = survey(path, &image)?;
    Ok(report_of(path, kind, &image, survey))
}

/// Writes a sound file in the place of a damaged one, which is kept beside it under another name.
/// Blocks. A sound file is left alone.
///
/// # Errors
///
/// When a host has it open, it cannot be read, it is of a newer version, nothing of it can be kept,
/// or the new file cannot be written. The file is as it was then.
pub fn repair(path: &Path, kind: StoreFile) -> Result<RepairReport, RepairStoreError> {
    let image = open(path)?;
    let survey = survey(path, &image)?;
    if let Some(found) = survey.schema().filter(|found| *found > kind.schema()) {
        return Err(RepairStoreError::NewerSchema {
            path: path.to_owned(),
            found,
            supported: kind.schema(),
        });
    }
    let (patches, is_mendable) = (survey.patches.clone(), survey.is_mendable);
    let check = report_of(path, kind, &image, survey);
    let mut report = RepairReport {
        file: path.to_owned(),
        remedy: Remedy::None,
        damaged_file: None,
        damages: check.damages.clone(),
        more_damages: check.more_damages,
        tables: Vec::new(),
        possibly_repeated: 0,
        settled_before: 0,
        tallies: Vec::new(),
        is_loss_known: true,
        notes: check.notes.clone(),
    };
    if check.is_sound() {
        return Ok(report);
    }
    let new = swap::new_file(path);
    if is_mendable && !check.damages.is_empty() {
        swap::copy(&image, &patches, &new)?;
        if verify(&new, kind).is_ok() {
            report.remedy = Remedy::Mended;
            report.damaged_file = Some(swap::swap(path, &new)?);
            return Ok(report);
        }
        report
            .notes
            .push("turning wrong bits back was not enough".to_owned());
    }
    if kind == StoreFile::Meta {
        return Err(RepairStoreError::NotSalvageable {
            path: path.to_owned(),
        });
    }
    salvage::salvage(&image, &new, &mut report)?;
    verify(&new, kind)?;
    report.remedy = Remedy::Salvaged;
    report.damaged_file = Some(swap::swap(path, &new)?);
    // The new file counts its commits from the begin. A start would replace the mark before its first one.
    drop(FlushMark::remove(path));
    Ok(report)
}

/// What keeps a start from using the file as it is: where, and what; `None` if nothing does.
///
/// The engine by itself would go back to the commit before, without a word, when one of its last
/// pages is damaged after a crash. That is right for a commit that was not finished, which nobody was
/// told of; it is wrong for one that was flushed. The mark beside the file tells which it is. Where it
/// does not, after a power failure or without the mark, the commit is left out, and the log says so.
///
/// A file above `verify_bytes_max` is read only as far as the engine would read it itself.
pub(crate) fn damage_at_start(path: &Path, verify_bytes_max: u64) -> Option<String> {
    let image = Image::open(path, true).ok()??;
    if image.header.is_foreign {
        // The engine says what it is.
        return None;
    }
    let survey = if image.header.may_go_back() || image.bytes <= verify_bytes_max {
        Survey::of(&image).ok()?
    } else {
        Survey::of_header(&image)
    };
    if is_left_out(&image, &survey) {
        if image.header.is_untold() {
            tracing::warn!(path = %path.display(), "the last commit was not finished and is left out; nobody was told of it");
        } else {
            tell_left_out(path);
        }
        return None;
    }
    let Some(first) = survey.damages.first() else {
        if image.header.is_before_flagged {
            tell_left_out(path);
        }
        return None;
    };
    let more = survey.damages.len() - 1;
    Some(if more == 0 {
        first.to_string()
    } else {
        format!("{first}; {more} more")
    })
}

fn tell_left_out(path: &Path) {
    tracing::error!(
        path = %path.display(),
        "the last commit is not whole and is left out: after a power failure nobody was told of it; if the machine did not go down, the file was damaged, and up to one commit of acknowledged changes is lost"
    );
}

/// Whether a start goes back to the commit before the last one, since that may be torn and this is whole.
fn is_left_out(image: &Image, survey: &Survey) -> bool {
    let header = &image.header;
    header.may_be_torn()
        && !header.is_layout_damaged
        && !survey.is_mendable
        && is_other_whole(image)
}

/// Whether the commit before the last one is whole.
fn is_other_whole(image: &Image) -> bool {
    let Some(other) = image.header.other else {
        return false;
    };
    Survey::of_slot(image, other).is_ok_and(|survey| survey.damages.is_empty())
}

fn open(path: &Path) -> Result<Image, CheckStoreError> {
    match Image::open(path, true) {
        Ok(Some(image)) => Ok(image),
        Ok(None) => Err(CheckStoreError::InUse {
            path: path.to_owned(),
        }),
        Err(source) => Err(unreadable(path, source)),
    }
}

/// What a start would use of the file, and what is wrong with that.
fn survey(path: &Path, image: &Image) -> Result<Survey, CheckStoreError> {
    let fail = |source| unreadable(path, source);
    let survey = Survey::of(image).map_err(fail)?;
    match image.header.other {
        Some(other) if image.header.is_untold() && is_left_out(image, &survey) => {
            let mut survey = Survey::of_slot(image, other).map_err(fail)?;
            survey.leaves_out_last = true;
            Ok(survey)
        }
        _ => Ok(survey),
    }
}

fn unreadable(path: &Path, source: io::Error) -> CheckStoreError {
    CheckStoreError::Read {
        path: path.to_owned(),
        source,
    }
}

fn report_of(path: &Path, kind: StoreFile, image: &Image, survey: Survey) -> CheckReport {
    let mut notes: Vec<String> = image.header.notes.iter().map(ToString::to_string).collect();
    if swap::new_file(path).exists() {
        notes.push(format!(
            "{} is left from a repair that did not end",
            swap::new_file(path).display()
        ));
    }
    if survey.leaves_out_last {
        notes.push("the last commit was not finished and is left out".to_owned());
    } else if is_left_out(image, &survey) {
        notes.push(
            "a start would leave the last commit out, as one that a power failure cut off"
                .to_owned(),
        );
    }
    let is_whole = survey.damages.is_empty();
    let mut damages = survey.damages.clone();
    if image.bytes == 0 {
        damages.clear();
        damages.push(Damage {
            offset: None,
            table: None,
            detail: "the file has no bytes".to_owned(),
            is_mendable: false,
        });
    } else if image.header.is_foreign {
        damages.clear();
        damages.push(Damage {
            offset: Some(0),
            table: None,
            detail: "this is not a file of the store, or its begin is destroyed".to_owned(),
            is_mendable: false,
        });
    }
    if is_whole {
        damages.extend(survey.wrong_slots().iter().map(wrong_slot));
    }
    let schema = survey.schema();
    match schema {
        Some(found) if found > kind.schema() => notes.push(format!(
            "schema {found} is newer than this version, which knows up to {}",
            kind.schema()
        )),
        None if is_whole && !survey.tables.is_empty() => damages.push(Damage {
            offset: None,
            table: Some("numbers".to_owned()),
            detail: "there is no schema version".to_owned(),
            is_mendable: false,
        }),
        _ => {}
    }
    CheckReport {
        file: path.to_owned(),
        bytes: image.bytes,
        schema,
        is_closed: !image.header.is_open,
        tallies: survey.mismatches(),
        damages,
        more_damages: survey.more_damages,
        tables: survey.tables,
        notes,
    }
}

fn wrong_slot(&((incarnation, slot), stored, found): &((u32, u8), u64, u64)) -> Damage {
    Damage {
        offset: None,
        table: Some("slots".to_owned()),
        detail: format!(
            "slot {slot} of incarnation {incarnation} says {stored} pending events, the file has {found}"
        ),
        is_mendable: false,
    }
}

/// Reads the new file as a check and as the engine do.
fn verify(new: &Path, kind: StoreFile) -> Result<(), RepairStoreError> {
    let fail = |detail: String| RepairStoreError::NotVerified {
        path: new.to_owned(),
        detail,
    };
    let report = check(new, kind)?;
    if !report.is_sound() {
        let detail = report.damages.first().map(ToString::to_string);
        return Err(fail(
            detail.unwrap_or_else(|| "its rows do not fit its counts".to_owned()),
        ));
    }
    match crate::database::verify(new) {
        Ok(()) => Ok(()),
        Err(detail) => Err(fail(detail)),
    }
}

#[cfg(test)]
mod tests;
