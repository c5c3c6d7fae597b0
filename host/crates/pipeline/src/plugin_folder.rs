//! The watched plugin folder: a `NAME.wasm` in it becomes a version of plugin NAME, through the same
//! steps as an upload.
//!
//! The folder is looked at four times a second, by its entries' sizes and times. Notifications of the
//! system would save a listing of a flat folder, some microseconds, and cost certainty: network and
//! container mounts give none, their queue can overflow, and a folder that is removed and made again
//! has to be found again. With them a rescan would be needed all the same; it alone is enough.
//!
//! Listing, reading, compiling and trying run on blocking threads, one file at a time, and wait for
//! their turn among all changes. Nothing is queued but the names in the folder.

mod component;
mod glance;
mod judge;
mod ledger;
mod outcome;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{Actor, ErrorChain};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::component::ReadComponentError;
use self::glance::Glance;
use self::ledger::{Ended, Finding, Ledger, Ready};
pub use self::outcome::FolderOutcome;
use crate::control::{Control, NewAuditEntry};

/// Well below what a person notices, and nothing for a disk.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the end of the host waits for a file that is being compiled. What is not stored by then is
/// tried again at the next start.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Problems that are shown; the log has all of them.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// The watched plugin folder as the status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFolderView {
    /// Where it is.
    pub path: PathBuf,
    /// Why it cannot be watched; `None` while it is.
    pub reason: Option<String>,
    /// How many entries it has, whatever they are.
    pub entries: usize,
    /// How many of them somebody should do something about.
    pub problem_count: usize,
    /// The first of those, by name.
    pub problems: Vec<FolderProblemView>,
}

/// An entry of the folder that is no version of a plugin, but may have been meant as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderProblemView {
    /// Its name.
    pub file: String,
    /// What became of it.
    pub outcome: FolderOutcome,
    /// The cause.
    pub detail: String,
}

/// Watches `folder` until `shutdown`. The folder need not be there yet.
pub(crate) fn start(
    tasks: &TaskTracker,
    control: &Arc<Control>,
    folder: PathBuf,
    component_bytes_max: usize,
    shutdown: &CancellationToken,
) {
    let watcher = Watcher {
        ledger: Ledger::new(u64::try_from(component_bytes_max).unwrap_or(u64::MAX)),
        folder,
        control: Arc::clone(control),
        folder_state: None,
    };
    for outcome in FolderOutcome::ALL {
        control.metrics.watched_outcome(*outcome);
    }
    let (running, ending) = (shutdown.clone(), shutdown.clone());
    tasks.spawn(async move {
        let too_long = async {
            ending.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            () = watcher.run(running) => {}
            () = too_long => {
                tracing::warn!("a file of the watched plugin folder was still being tried at the end");
            }
        }
    });
}

/// What was last said of the folder itself.
#[derive(Debug, PartialEq, Eq)]
enum FolderState {
    Watched { is_open_to_others: bool },
    Unreadable(String),
}

struct Watcher {
    folder: PathBuf,
    control: Arc<Control>,
    ledger: Ledger,
    folder_state: Option<FolderState>,
}

impl Watcher {
    async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.look(&shutdown).await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&mut self, shutdown: &CancellationToken) {
        let folder = self.folder.clone();
        let glance = tokio::task::spawn_blocking(move || glance::take(&folder)).await;
        let glance = glance.unwrap_or_else(|error| Err(io::Error::other(error)));
        let has_changed = self.look_at_folder(&glance);
        let (entries, is_cut) = match glance {
            Ok(glance) => (glance.entries, glance.is_cut),
            Err(_) => (Vec::new(), false),
        };
        let before = self.ledger.len();
        let looked = self.ledger.look(entries, is_cut, Instant::now());
        let is_news = has_changed
            || before != self.ledger.len()
            || !(looked.told.is_empty() && looked.ready.is_empty());
        for finding in &looked.told {
            self.tell(finding);
        }
        for ready in &looked.ready {
            if shutdown.is_cancelled() {
                return;
            }
            let ended = self.push(ready).await;
            if let Some(finding) = self.ledger.ended(ready, ended, Instant::now()) {
                self.tell(&finding);
            }
        }
        if is_news {
            self.show();
        }
    }

    /// Tells what changed of the folder itself; whether anything did.
    fn look_at_folder(&mut self, glance: &io::Result<Glance>) -> bool {
        let state = match glance {
            Ok(glance) => FolderState::Watched {
                is_open_to_others: glance.is_open_to_others,
            },
            Err(error) => FolderState::Unreadable(ErrorChain(error).to_string()),
        };
        if self.folder_state.as_ref() == Some(&state) {
            return false;
        }
        let folder = self.folder.display();
        match &state {
            FolderState::Watched { is_open_to_others } => {
                tracing::info!(%folder, "plugin folder is watched");
                if *is_open_to_others {
                    tracing::warn!(%folder, remedy = "chmod o-w", "every user of this machine may put plugins into the watched folder");
                }
            }
            FolderState::Unreadable(cause) => {
                tracing::warn!(%folder, cause, remedy = "make the folder and let the user of the host list it; it is watched as soon as it is there", "plugin folder cannot be watched");
            }
        }
        self.folder_state = Some(state);
        true
    }

    async fn push(&self, ready: &Ready) -> Ended {
        let (path, stamp) = (self.folder.join(&ready.file), ready.stamp);
        let read = tokio::task::spawn_blocking(move || component::read(&path, &stamp)).await;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(ReadComponentError::Changed)) => return Ended::Changed,
            Ok(Err(ReadComponentError::Vanished)) => return Ended::Vanished,
            Ok(Err(error @ ReadComponentError::Unreadable(_))) => {
                return Ended::Unreadable(ErrorChain(&error).to_string());
            }
            Err(error) => return Ended::Unreadable(ErrorChain(&error).to_string()),
        };
        let by = Actor::file(&ready.file);
        let pushed = self.control.push_plugin(ready.plugin.clone(), bytes, &by);
        match pushed.await {
            Ok((version, is_new)) => {
                if is_new {
                    let what = format!("/v1/plugins/{}/versions/{}", ready.plugin, version.version);
                    let entry = NewAuditEntry::without_request(&by, "APPLY", what);
                    self.control.access().note(entry).await;
                }
                Ended::Pushed {
                    version: version.version,
                    is_new,
                }
            }
            Err(error) => Ended::Refused(error),
        }
    }

    /// Logs and counts, from one value.
    fn tell(&self, finding: &Finding) {
        let Finding {
            file,
            outcome,
            detail,
        } = finding;
        self.control.metrics.watched(*outcome);
        let (word, remedy) = (outcome.as_str(), outcome.remedy());
        match outcome {
            FolderOutcome::NewVersion => {
                tracing::info!(
                    file,
                    outcome = word,
                    detail,
                    "plugin came by the watched folder"
                );
            }
            FolderOutcome::Vanished => {
                tracing::info!(
                    file,
                    outcome = word,
                    detail,
                    "file left the watched plugin folder"
                );
            }
            FolderOutcome::Unchanged | FolderOutcome::Temporary => {
                tracing::debug!(
                    file,
                    outcome = word,
                    detail,
                    "file of the watched plugin folder was left alone"
                );
            }
            _ => {
                tracing::warn!(
                    file,
                    outcome = word,
                    cause = detail,
                    remedy,
                    "file of the watched plugin folder is no new version"
                );
            }
        }
    }

    fn show(&self) {
        let problems = || {
            self.ledger
                .told()
                .filter(|(_, outcome, _)| outcome.is_problem())
        };
        let shown = problems().take(PROBLEMS_SHOWN_MAX);
        let view = PluginFolderView {
            path: self.folder.clone(),
            reason: match &self.folder_state {
                Some(FolderState::Unreadable(cause)) => Some(cause.clone()),
                Some(FolderState::Watched { .. }) | None => None,
            },
            entries: self.ledger.len(),
            problem_count: problems().count(),
            problems: shown
                .map(|(file, outcome, detail)| FolderProblemView {
                    file: file.to_owned(),
                    outcome,
                    detail: detail.to_owned(),
                })
                .collect(),
        };
        self.control.plugin_folder.store(Some(Arc::new(view)));
    }
}

#[cfg(test)]
mod tests;
