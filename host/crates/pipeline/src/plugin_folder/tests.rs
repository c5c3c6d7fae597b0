//! A real folder and a whole pipeline, with files that are no plugins: what is one is shown by the
//! acceptance tests.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, SystemClock};
use tempfile::TempDir;

use super::component::{self, ReadComponentError};
use super::glance::{self, ENTRIES_MAX, Kind, Stamp};
use super::{FolderOutcome, PluginFolderView};
use crate::config::PipelineConfig;
use crate::pipeline::Pipeline;

/// Beyond it a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn stamp(path: &Path) -> Stamp {
    Stamp::of(&fs::symlink_metadata(path).unwrap())
}

#[test]
fn a_file_is_read_only_as_it_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wasm");
    fs::write(&path, b"1234").unwrap();
    let seen = stamp(&path);
    assert_eq!(component::read(&path, &seen).unwrap(), b"1234");
    fs::write(&path, b"12345").unwrap();
    let changed = component::read(&path, &seen).unwrap_err();
    assert!(matches!(changed, ReadComponentError::Changed), "{changed}");
    // Another one of the same size took its place.
    let seen = stamp(&path);
    fs::write(folder.path().join("b"), b"54321").unwrap();
    fs::rename(folder.path().join("b"), &path).unwrap();
    let replaced = component::read(&path, &seen).unwrap_err();
    assert!(
        matches!(replaced, ReadComponentError::Changed),
        "{replaced}"
    );
    let seen = stamp(&path);
    fs::remove_file(&path).unwrap();
    let gone = component::read(&path, &seen).unwrap_err();
    assert!(matches!(gone, ReadComponentError::Vanished), "{gone}");
    // A link in its place is not followed, though what it names is there.
    fs::write(folder.path().join("b"), b"54321").unwrap();
    symlink(folder.path().join("b"), &path).unwrap();
    let link = component::read(&path, &seen).unwrap_err();
    assert!(matches!(link, ReadComponentError::Unreadable(_)), "{link}");
}

#[test]
fn a_look_names_every_kind_and_reads_no_more_than_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("b.wasm"), b"1").unwrap();
    fs::create_dir(path("a")).unwrap();
    symlink(path("b.wasm"), path("c.wasm")).unwrap();
    let _socket = UnixListener::bind(path("d.wasm")).unwrap();
    let glance = glance::take(folder.path()).unwrap();
    let kinds: Vec<Kind> = glance.entries.iter().map(|it| it.kind).collect();
    let file = Kind::File(stamp(&path("b.wasm")));
    assert_eq!(kinds, [Kind::Folder, file, Kind::Symlink, Kind::Other]);
    assert!(!glance.is_cut && !glance.is_open_to_others);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o707)).unwrap();
    assert!(glance::take(folder.path()).unwrap().is_open_to_others);
    for number in 0..ENTRIES_MAX {
        fs::write(path(&format!("x{number}")), b"").unwrap();
    }
    let glance = glance::take(folder.path()).unwrap();
    assert!(glance.is_cut);
    assert_eq!(glance.entries.len(), ENTRIES_MAX);
    assert!(glance::take(&path("none")).is_err());
}

/// A pipeline that watches the folder `plugins`.
struct Watching {
    folder: TempDir,
    pipeline: Pipeline,
}

impl Watching {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = PipelineConfig {
            plugin_folder: Some(folder.path().join("plugins")),
            ..crate::tests::config(folder.path())
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let pipeline = Pipeline::open(config, clock).await.unwrap();
        Self { folder, pipeline }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("plugins").join(name)
    }

    fn make(&self) {
        fs::create_dir(self.folder.path().join("plugins")).unwrap();
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let temporary = self.path(".new");
        fs::write(&temporary, bytes).unwrap();
        fs::rename(&temporary, self.path(name)).unwrap();
    }

    fn counted(&self, outcome: FolderOutcome) -> u64 {
        let metrics = &self.pipeline.control.metrics;
        metrics.watched_outcome(outcome).get()
    }

    async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&PluginFolderView) -> bool,
    ) -> Arc<PluginFolderView> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let view = self.pipeline.control.plugin_folder();
            if let Some(view) = view.as_ref().filter(|view| is_so(view)) {
                return Arc::clone(view);
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {what}: {view:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_may_come_go_and_come_again() {
    let watching = Watching::start().await;
    let reason = |view: &PluginFolderView| view.reason.clone();
    let view = watching.until("missing", |it| reason(it).is_some()).await;
    assert!(reason(&view).unwrap().contains("No such file"), "{view:?}");
    watching.make();
    watching.put("a.wasm", b"no component");
    let view = watching.until("rejected", |it| it.problem_count == 1).await;
    assert_eq!(reason(&view), None);
    fs::remove_dir_all(watching.folder.path().join("plugins")).unwrap();
    watching
        .until("missing again", |it| reason(it).is_some())
        .await;
    watching.make();
    watching.put("a.wasm", b"no component either");
    watching
        .until("rejected again", |it| it.problem_count == 1)
        .await;
    assert_eq!(watching.counted(FolderOutcome::Rejected), 2);
    watching.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bad_files_are_each_refused_once_with_the_cause_and_nothing_is_stored() {
    let watching = Watching::start().await;
    watching.make();
    for number in 0..60 {
        watching.put(&format!("bad-{number:02}.wasm"), b"\0asm\x0d\0\x01\0rest");
    }
    let large = vec![0; (1 << 20) + 1];
    watching.put("large.wasm", &large);
    watching.put("Wrong.wasm", b"");
    let view = watching
        .until("all refused", |it| it.problem_count == 62)
        .await;
    assert_eq!(view.entries, 62);
    assert_eq!(view.problems.len(), super::PROBLEMS_SHOWN_MAX);
    let first = &view.problems[0];
    assert_eq!(first.file, "Wrong.wasm");
    assert!(
        first.detail.contains("wrong.wasm would be right"),
        "{first:?}"
    );
    assert!(view.problems[1].detail.contains("component"), "{view:?}");
    assert_eq!(watching.counted(FolderOutcome::Rejected), 60);
    assert_eq!(watching.counted(FolderOutcome::TooLarge), 1);
    assert!(watching.pipeline.control.plugins().is_empty());
    // Two more looks, and nothing is tried again.
    tokio::time::sleep(super::LOOK_EVERY * 3).await;
    assert_eq!(watching.counted(FolderOutcome::Rejected), 60);
    // Files that leave are forgotten, and with them their problems.
    fs::remove_file(watching.path("large.wasm")).unwrap();
    watching
        .until("one problem fewer", |it| it.problem_count == 61)
        .await;
    watching.pipeline.shutdown(Duration::ZERO).await;
}
