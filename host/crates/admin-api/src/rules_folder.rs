//! The folder of rules: what is in its files is true, from the start on and after each change of them.
//!
//! It is looked at twice a second, by its entries' sizes and times. A change is taken up when the folder
//! looks the same twice, so that a file that is being written is not read half. Rules that the files
//! name belong to them: they are changed there only, and go when their file no longer names them.
//! What cannot be applied is told and leaves everything as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use domain::{Actor, Clock as _, ErrorChain, SystemClock};
use parking_lot::Mutex;
use pipeline::control::{ApplyScope, Control, NewAuditEntry};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api_error::ApiError;
use crate::apply::ApplyIn;
use crate::declaration::{DeclaredComponent, read_declarations};
use crate::strict_json;

/// Well below what a person notices, and nothing for a disk.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What failed is tried again although nothing changed: the cause may have been elsewhere.
const RETRY_EVERY: Duration = Duration::from_secs(60);
/// A larger component is refused by the host anyway.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// What is known of the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FolderState {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Why its files are not true now.
    pub(crate) problem: Option<String>,
    /// When they were last made true, UNIX milliseconds.
    pub(crate) applied_at_ms: Option<u64>,
}

/// The watched folder.
#[derive(Debug)]
pub(crate) struct RulesFolder {
    folder: PathBuf,
    control: Arc<Control>,
    state: Arc<Mutex<FolderState>>,
    /// What was seen last, and what was taken up last.
    seen: Option<Glance>,
    taken: Option<Glance>,
    tried_at: Instant,
}

/// Name, size and time of each entry.
type Glance = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl RulesFolder {
    pub(crate) fn new(folder: PathBuf, control: Arc<Control>) -> Self {
        let state = FolderState {
            path: folder.clone(),
            ..FolderState::default()
        };
        Self {
            folder,
            control,
            state: Arc::new(Mutex::new(state)),
            seen: None,
            taken: None,
            tried_at: Instant::now(),
        }
    }

    pub(crate) fn state(&self) -> Arc<Mutex<FolderState>> {
        Arc::clone(&self.state)
    }

    /// Takes up what is there now.
    pub(crate) async fn begin(&mut self) {
        let glance = self.glance().await;
        self.take(glance).await;
    }

    /// Takes up what changes, until `shutdown`.
    pub(crate) async fn watch(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let glance = self.glance().await;
            let is_settled = self.seen == glance;
            let is_due =
                self.state.lock().problem.is_some() && self.tried_at.elapsed() >= RETRY_EVERY;
            if is_settled && (self.taken != glance || is_due) {
                self.take(glance).await;
            } else {
                self.seen = glance;
            }
        }
    }

    async fn glance(&self) -> Option<Glance> {
        let folder = self.folder.clone();
        let look = tokio::task::spawn_blocking(move || glance(&folder));
        look.await.ok().flatten()
    }

    async fn take(&mut self, glance: Option<Glance>) {
        self.seen.clone_from(&glance);
        self.taken = glance;
        self.tried_at = Instant::now();
        let problem = self.apply().await.err();
        let mut state = self.state.lock();
        match &problem {
            None => {
                state.applied_at_ms = Some(SystemClock.now_ms());
            }
            Some(problem) if state.problem.as_ref() != Some(problem) => {
                tracing::error!(folder = %self.folder.display(), error = problem, "folder of rules is not applied, all stays as it was");
            }
            Some(_) => {}
        }
        state.problem = problem;
    }

    async fn apply(&self) -> Result<(), String> {
        let folder = self.folder.clone();
        let read = tokio::task::spawn_blocking(move || read_declarations(&folder));
        let read = read.await.map_err(|error| error.to_string())?;
        let declared = read.map_err(|error| ErrorChain(&error).to_string())?;
        let mut plugins = Vec::new();
        for plugin in declared.plugins {
            let digest = match plugin.component {
                DeclaredComponent::Digest(digest) => digest,
                DeclaredComponent::File(file) => self.stage(&file).await?,
            };
            plugins.push(json!({ "name": plugin.name, "digest": digest }));
        }
        let (rules, files): (Vec<_>, Vec<_>) = declared.rules.into_iter().unzip();
        let body = json!({
            "groups": declared.groups,
            "plugins": plugins,
            "rules": rules,
            "prune": true,
            // A RocketMQ that is away when the host starts must not keep its rules away.
            "force": true,
        });
        let body: ApplyIn = strict_json::from_value(&body).map_err(|error| error.to_string())?;
        let declaration = body
            .declaration(ApplyScope::Folder, |place| files.get(place).cloned())
            .map_err(|error| told(&error))?;
        let by = Actor::file("rules.dir");
        let plan = self.control.apply(declaration, false, &by).await;
        let plan = plan.map_err(|error| told(&error.into()))?;
        for (change, warnings) in &plan.changes {
            let what = crate::apply::name_of(change);
            tracing::info!(
                ?warnings,
                change = what,
                "folder of rules changed something"
            );
            let entry = NewAuditEntry::without_request(&by, "APPLY", what);
            self.control.access().note(entry).await;
        }
        Ok(())
    }

    async fn stage(&self, file: &Path) -> Result<String, String> {
        let (path, name) = (file.to_owned(), file.display().to_string());
        let read = tokio::task::spawn_blocking(move || {
            let bytes = fs::metadata(&path)?.len();
            if bytes > COMPONENT_BYTES_MAX {
                return Err(std::io::Error::other(
                    "the file is too large for a component",
                ));
            }
            fs::read(&path)
        });
        let bytes = read
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("{name} cannot be read: {error}"))?;
        let staged = self.control.stage_component(bytes).await;
        let digest =
            staged.map_err(|error| format!("{name}: {error} ({})", error.code.as_str()))?;
        Ok(digest.to_string())
    }
}

fn told(error: &ApiError) -> String {
    error.problems().join("; ")
}

fn glance(folder: &Path) -> Option<Glance> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        // What it points to, if it is a link: orchestrators swap those.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        entries.push((path, metadata.len(), metadata.modified().ok()));
    }
    entries.sort();
    Some(entries)
}
