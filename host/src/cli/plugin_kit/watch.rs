//! `plugin watch`: from a save to the live plugin, over and over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::Mapping;
use plugin_runtime::Answer;

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
    drop(Manifest::here()?);
    let mut seen = Glance::new();
    loop {
        let now = look()?;
        if now != seen {
            seen = now;
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
    talk(format_args!(
        "{} version {} is live",
        manifest.name,
        field(&version, "/version")
    ));
    Ok(())
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

/// All files that may change the component.
fn look() -> Result<Glance, Failure> {
    let mut glance = Glance::new();
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("{} cannot be read: {error}", folder.display()),
            )
        })?;
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
            } else if is_source(&entry.path())
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

/// Not what builds write themselves.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| {
        name != "Cargo.lock" && !name.ends_with(".unfinished") && !name.ends_with('~')
    })
}
