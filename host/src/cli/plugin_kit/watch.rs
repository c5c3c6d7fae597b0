//! `plugin watch`: from a save to the live plugin, over and over.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::Mapping;
use plugin_runtime::Answer;
use serde_json::Value;

use super::manifest::read_component;
use super::{Manifest, build, test};
use crate::cli::api::encode;
use crate::cli::connection::Connection;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{field, items, printable, talk};

/// How often the folder is looked at: well below what a build takes, and nothing for a disk.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// More files than a plugin has; a folder with more is looked at in part, which is told.
const FILES_MAX: usize = 5_000;
/// Rules that are named after a push; of more their number is told.
const RULES_NAMED_MAX: usize = 3;
/// Made by builds, or of no influence on them.
const SKIPPED: [&str; 7] = [
    "target",
    "node_modules",
    ".venv",
    "build",
    ".git",
    "__pycache__",
    "sdk",
];

/// When each file was written, by path.
type Glance = BTreeMap<PathBuf, (SystemTime, u64)>;

pub(super) fn run(connection: &Connection, no_push: bool) -> Result<(), Failure> {
    // Another folder is a mistake that no save mends.
    let mut component = Manifest::here()?.component;
    let mut seen = Glance::new();
    loop {
        if look(Path::new("."), &component)? != seen {
            // The save may name another one; while plugin.toml is wrong, the old one is still ours.
            if let Ok(manifest) = Manifest::here() {
                component = manifest.component;
            }
            // Before the build, so that what is saved during it is seen.
            seen = look(Path::new("."), &component)?;
            // What is wrong now may be right after the next save.
            if let Err(failure) = once(connection, no_push) {
                failure.show();
            }
            talk(format_args!("waiting for the next save"));
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command on the user's terminal: no runtime waits for this thread"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

fn once(connection: &Connection, no_push: bool) -> Result<(), Failure> {
    let started = tokio::time::Instant::now();
    let manifest = Manifest::here()?;
    build::run(&manifest)?;
    let reports = test::run_cases(&manifest, None)?;
    let mut failed = 0;
    for ran in &reports {
        if !ran.holds() {
            failed += 1;
            for mismatch in &ran.report.mismatches {
                talk(format_args!("FAIL {}: {mismatch}", ran.written.case.name));
            }
            for line in &ran.log {
                talk(format_args!(
                    "     log {:<5} {}",
                    line.level,
                    printable(&line.text)
                ));
            }
        }
    }
    if failed > 0 {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "{failed} of {} cases fail, nothing was pushed",
                reports.len()
            ),
        ));
    }
    talk(format_args!("{} cases pass", reports.len()));
    if !no_push {
        push(connection, &manifest)?;
    }
    if let Some((name, payload)) = reports
        .iter()
        .find_map(|ran| Some((&ran.written.case.name, payload(&ran.report.answer)?)))
    {
        talk(format_args!("{name} → {payload}"));
    }
    talk(format_args!(
        "{} ms after the save",
        started.elapsed().as_millis()
    ));
    Ok(())
}

fn push(connection: &Connection, manifest: &Manifest) -> Result<(), Failure> {
    let bytes = read_component(&manifest.component)?;
    let path = format!("/v1/plugins/{}/versions", encode(&manifest.name));
    let version = connection.api()?.push(&path, &bytes)?;
    for warning in items(&version, "warnings") {
        let text = warning.as_str().map(printable).unwrap_or_default();
        talk(format_args!("warning: {text}"));
    }
    talk(format_args!("{}", outcome(&manifest.name, &version)));
    Ok(())
}

/// What became of the upload of plugin `name`, of which `version` is the host's answer.
fn outcome(name: &str, version: &Value) -> String {
    let number = field(version, "/version");
    let rules = items(version, "activeFor");
    if rules.is_empty() {
        let why = if items(version, "warnings").is_empty() {
            format!(
                "none has mapping.plugin {name} with the latest version, or these are the bytes of an older one; \
                 `rulemill plugin push --again` has rules try that once more"
            )
        } else {
            "the warnings say why".to_owned()
        };
        return format!("{name} version {number} is on the host, but no rule runs it: {why}");
    }
    let named = rules.iter().take(RULES_NAMED_MAX);
    let mut names: Vec<_> = named
        .map(|rule| rule.as_str().map(printable).unwrap_or_default())
        .collect();
    if rules.len() > RULES_NAMED_MAX {
        names.push(format!("{} more", rules.len() - RULES_NAMED_MAX));
    }
    format!("{name} version {number} is live for {}", names.join(", "))
}

/// The body of the first message.
fn payload(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Mapped(Mapping::Deliver(messages)) => messages
            .first()
            .map(|it| String::from_utf8_lossy(&it.body).into_owned()),
        Answer::Mapped(Mapping::Reject(_)) | Answer::ConfigRefused(_) | Answer::Fault(_) => None,
    }
}

/// All files in `plugin` that may change the component, which builds leave at `component`.
fn look(plugin: &Path, component: &Path) -> Result<Glance, Failure> {
    look_into(vec![plugin.to_owned()], plugin, component)
}

fn look_into(
    mut folders: Vec<PathBuf>,
    plugin: &Path,
    component: &Path,
) -> Result<Glance, Failure> {
    let mut glance = Glance::new();
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // It was there when its parent was looked at. Without the plugin's own folder there is nothing to watch.
            Err(error) if folder != plugin && is_gone(&error) => continue,
            Err(error) => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("{} cannot be read: {error}", folder.display()),
                ));
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            // A file may vanish at any moment: editors write a new one and rename it.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if is_source(&entry.path(), component)
                && let Ok(modified) = metadata.modified()
            {
                glance.insert(entry.path(), (modified, metadata.len()));
            }
            if glance.len() > FILES_MAX {
                talk(format_args!(
                    "more than {FILES_MAX} files: only the first are watched"
                ));
                return Ok(glance);
            }
        }
    }
    Ok(glance)
}

/// Whether a folder is none any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Not what builds write themselves.
fn is_source(path: &Path, component: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| {
        name != "Cargo.lock" && !name.ends_with(".unfinished") && !name.ends_with('~')
    }) && !is_same(path, component)
}

/// Whether both name one file, in whatever way. Most have other names, for which the disk is not asked.
fn is_same(path: &Path, other: &Path) -> bool {
    path.file_name() == other.file_name()
        && match (path.canonicalize(), other.canonicalize()) {
            (Ok(path), Ok(other)) => path == other,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::{look, look_into, outcome};

    #[test]
    fn the_component_in_the_plugins_folder_is_no_save() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path();
        fs::create_dir(plugin.join("src")).unwrap();
        fs::write(plugin.join("src/lib.rs"), "one").unwrap();
        fs::write(plugin.join("other.wasm"), "data of the plugin").unwrap();
        // However plugin.toml names it.
        for component in [plugin.join("my.wasm"), plugin.join("src/../my.wasm")] {
            let before = look(plugin, &component).unwrap();
            assert_eq!(before.len(), 2, "{before:?}");
            fs::write(plugin.join("my.wasm"), "a build").unwrap();
            assert_eq!(look(plugin, &component).unwrap(), before);
        }
        let component = plugin.join("my.wasm");
        let before = look(plugin, &component).unwrap();
        fs::write(plugin.join("src/lib.rs"), "another").unwrap();
        assert_ne!(look(plugin, &component).unwrap(), before);
    }

    #[test]
    fn a_folder_that_vanishes_in_the_middle_of_a_look_is_no_matter() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path();
        fs::write(plugin.join("app.py"), "").unwrap();
        // Both were listed as folders; one is removed since, one is a file now.
        let folders = vec![
            plugin.to_owned(),
            plugin.join("gone"),
            plugin.join("app.py"),
        ];
        let component = plugin.join("my.wasm");
        let glance = look_into(folders, plugin, &component).unwrap();
        assert_eq!(glance.len(), 1, "{glance:?}");
        let gone = plugin.join("gone");
        assert!(look(&gone, &component).is_err());
    }

    #[test]
    fn a_version_is_live_only_for_the_rules_that_run_it() {
        let live = json!({ "version": 3, "activeFor": ["a", "b"], "warnings": ["rule c keeps the version that it has"] });
        assert_eq!(outcome("mine", &live), "mine version 3 is live for a, b");
        let many = json!({ "version": 3, "activeFor": ["a", "b", "c", "d", "e"] });
        assert_eq!(
            outcome("mine", &many),
            "mine version 3 is live for a, b, c, 2 more"
        );
        let refused = json!({ "version": 3, "activeFor": [], "warnings": ["rule c keeps the version that it has"] });
        assert_eq!(
            outcome("mine", &refused),
            "mine version 3 is on the host, but no rule runs it: the warnings say why"
        );
        let unused = outcome("mine", &json!({ "version": 3, "activeFor": [] }));
        assert!(
            unused.contains("no rule runs it") && unused.contains("mapping.plugin mine"),
            "{unused}"
        );
    }
}
