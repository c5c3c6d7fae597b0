//! What is known of each entry of the folder, and what follows from the next look at it. No IO.
//!
//! A file is read once it has been the same for [`SETTLE`], and then not again until it changes. Each
//! thing that becomes of an entry is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::PluginName;
use tokio::time::Instant;

use super::glance::{ENTRIES_MAX, Sighting, Stamp};
use super::judge;
use super::outcome::FolderOutcome;
use crate::control_error::ControlError;

/// A file that is the same for so long is taken for complete.
pub(super) const SETTLE: Duration = Duration::from_secs(1);
/// A file that changes for so long is told.
pub(super) const UNFINISHED_AFTER: Duration = Duration::from_secs(30);
/// What failed for a reason that may pass without a change of the file.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(60);

const VANISHED: &str = "it vanished before it was read";

/// What became of an entry, to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) outcome: FolderOutcome,
    pub(super) detail: String,
}

/// A file that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) file: String,
    pub(super) plugin: PluginName,
    pub(super) stamp: Stamp,
}

/// What follows from a look.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) told: Vec<Finding>,
    /// In the order of their names.
    pub(super) ready: Vec<Ready>,
}

/// How the reading and pushing of a file ended.
#[derive(Debug)]
pub(super) enum Ended {
    Pushed { version: u32, is_new: bool },
    Refused(ControlError),
    Unreadable(String),
    Changed,
    Vanished,
}

#[derive(Debug)]
enum State {
    /// Not read yet; it looks as it does since `since`, and was never still since `unsettled`.
    Settling { since: Instant, unsettled: Instant },
    /// It is known what it is, until it changes.
    Known,
    /// As `Known`, and tried again at that moment.
    Again(Instant),
}

#[derive(Debug)]
struct Entry {
    /// Of a file.
    stamp: Option<Stamp>,
    state: State,
    /// The last thing told of it.
    told: Option<(FolderOutcome, String)>,
}

/// All entries of the folder, by name.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: BTreeMap<String, Entry>,
    component_bytes_max: u64,
    is_cut_told: bool,
}

impl Ledger {
    pub(super) fn new(component_bytes_max: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            component_bytes_max,
            is_cut_told: false,
        }
    }

    /// Compares with what was known. An empty look, such as that of a missing folder, forgets everything.
    pub(super) fn look(&mut self, seen: Vec<Sighting>, is_cut: bool, now: Instant) -> Looked {
        let mut looked = Looked::default();
        let mut before = std::mem::take(&mut self.entries);
        for sighting in seen {
            let judged = judge::judge(&sighting, self.component_bytes_max);
            let name = sighting.name;
            let known = before.remove(&name);
            let entry = match judged {
                Ok((plugin, stamp)) => {
                    let ready = Ready {
                        file: name.clone(),
                        plugin,
                        stamp,
                    };
                    follow(ready, known, now, &mut looked)
                }
                Err(what) => put_aside(&name, what, known, &mut looked),
            };
            self.entries.insert(name, entry);
        }
        for (file, entry) in before {
            if matches!(entry.state, State::Settling { .. }) {
                looked.told.push(Finding {
                    file,
                    outcome: FolderOutcome::Vanished,
                    detail: VANISHED.to_owned(),
                });
            }
        }
        if is_cut && !self.is_cut_told {
            looked.told.push(Finding {
                file: String::new(),
                outcome: FolderOutcome::TooMany,
                detail: format!(
                    "the folder has more than {ENTRIES_MAX} entries, only so many are looked at"
                ),
            });
        }
        self.is_cut_told = is_cut;
        looked
    }

    /// Notes how a file of [`Looked::ready`] ended; what is new of it is to be told.
    pub(super) fn ended(&mut self, ready: &Ready, ended: Ended, now: Instant) -> Option<Finding> {
        let entry = self.entries.get_mut(&ready.file)?;
        let (outcome, detail, state) = match ended {
            Ended::Pushed { version, is_new } => {
                let (outcome, verb) = if is_new {
                    (FolderOutcome::NewVersion, "became")
                } else {
                    (FolderOutcome::Unchanged, "is")
                };
                let detail = format!("it {verb} version {version} of plugin {}", ready.plugin);
                (outcome, detail, State::Known)
            }
            Ended::Refused(error) if error.code.kind().may_pass() => {
                let again = State::Again(now + RETRY_AFTER);
                (FolderOutcome::Failed, error.message, again)
            }
            Ended::Refused(error) => (FolderOutcome::Rejected, error.message, State::Known),
            Ended::Unreadable(cause) => {
                let again = State::Again(now + RETRY_AFTER);
                (FolderOutcome::Unreadable, cause, again)
            }
            // The next look sees what is there now.
            Ended::Changed => return None,
            Ended::Vanished => {
                self.entries.remove(&ready.file);
                return Some(Finding {
                    file: ready.file.clone(),
                    outcome: FolderOutcome::Vanished,
                    detail: VANISHED.to_owned(),
                });
            }
        };
        entry.state = state;
        let told = (outcome, detail);
        if entry.told.as_ref() == Some(&told) {
            return None;
        }
        entry.told = Some(told.clone());
        Some(Finding {
            file: ready.file.clone(),
            outcome: told.0,
            detail: told.1,
        })
    }

    /// Every entry that is known to be something, with what was told of it.
    pub(super) fn told(&self) -> impl Iterator<Item = (&str, FolderOutcome, &str)> {
        self.entries.iter().filter_map(|(name, entry)| {
            let (outcome, detail) = entry.told.as_ref()?;
            Some((name.as_str(), *outcome, detail.as_str()))
        })
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// What is no component, as long as it is there.
fn put_aside(
    file: &str,
    what: (FolderOutcome, String),
    known: Option<Entry>,
    looked: &mut Looked,
) -> Entry {
    if known.and_then(|entry| entry.told).as_ref() != Some(&what) {
        looked.told.push(Finding {
            file: file.to_owned(),
            outcome: what.0,
            detail: what.1.clone(),
        });
    }
    Entry {
        stamp: None,
        state: State::Known,
        told: Some(what),
    }
}

/// A file that may be a component: it is read when it is still, and not again until it changes.
fn follow(ready: Ready, known: Option<Entry>, now: Instant, looked: &mut Looked) -> Entry {
    let stamp = Some(ready.stamp);
    let (since, unsettled, told) = match known {
        Some(entry) if entry.stamp == stamp => match entry.state {
            State::Settling { since, unsettled } => (since, unsettled, entry.told),
            State::Again(at) if at <= now => {
                looked.ready.push(ready);
                return entry;
            }
            State::Known | State::Again(_) => return entry,
        },
        Some(Entry {
            state: State::Settling { unsettled, .. },
            told,
            ..
        }) => (now, unsettled, told),
        Some(_) | None => (now, now, None),
    };
    let mut entry = Entry {
        stamp,
        state: State::Settling { since, unsettled },
        told,
    };
    if now.saturating_duration_since(since) >= SETTLE {
        looked.ready.push(ready);
    } else if now.saturating_duration_since(unsettled) >= UNFINISHED_AFTER && entry.told.is_none() {
        let detail = format!(
            "it has been changing for {} seconds",
            UNFINISHED_AFTER.as_secs()
        );
        entry.told = Some((FolderOutcome::Unfinished, detail.clone()));
        looked.told.push(Finding {
            file: ready.file,
            outcome: FolderOutcome::Unfinished,
            detail,
        });
    }
    entry
}

#[cfg(test)]
mod tests;
