//! Rules about files that no compiler knows.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::{cargo, places};

/// Lines of a Rust file; longer ones hold more than one concept.
const LINES_MAX: usize = 600;
/// Modules that say nothing about what is in them.
const DRAWERS: [&str; 8] = [
    "util", "utils", "common", "helper", "helpers", "misc", "types", "mod",
];

pub(super) fn run() -> Result<()> {
    let mut problems = Vec::new();
    let files = files()?;
    let mut rust_files = 0_usize;
    for path in &files {
        match Path::new(path)
            .extension()
            .and_then(|ending| ending.to_str())
        {
            Some("rs") => {
                rust_files += 1;
                let text = fs::read_to_string(places::root().join(path))
                    .with_context(|| format!("failed to read {path}"))?;
                rust_file(path, &text, &mut problems);
            }
            // Those of released contracts must never be built again.
            Some("wasm") if path.starts_with("tests/fixtures/contracts/") => {}
            Some("wasm") => problems.push(format!("{path}: components are built, not committed")),
            _ => {}
        }
    }
    ensure!(rust_files > 10, "git names only {rust_files} Rust files");
    if !problems.is_empty() {
        bail!("\n  {}", problems.join("\n  "));
    }
    Ok(())
}

/// All files that are or would be committed.
fn files() -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ]);
    let text = cargo::output(git.current_dir(places::root()))?;
    Ok(text
        .lines()
        .filter(|path| places::root().join(path).exists())
        .map(str::to_owned)
        .collect())
}

fn rust_file(path: &str, text: &str, problems: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{path}: {lines} lines, the limit is {LINES_MAX}"));
    }
    // A file of unit tests belongs to the module beside it.
    let is_tests = Path::new(path)
        .file_name()
        .is_some_and(|name| name == "tests.rs");
    if !is_tests && !text.starts_with("//!") {
        problems.push(format!("{path}: starts without //!"));
    }
    let stem = Path::new(path)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("");
    if DRAWERS.contains(&stem) {
        problems.push(format!("{path}: put each thing where its noun lives"));
    }
    // Spelt in two parts, so that this file does not find itself.
    let (to_do, ignore, allow) = (
        ["TO", "DO"].concat(),
        ["#[", "ignore"].concat(),
        ["#[", "allow("].concat(),
    );
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.contains(&to_do) && !line.contains("issue ") {
            problems.push(format!("{path}:{number}: a {to_do} without its issue"));
        }
        if line.contains(&ignore) {
            problems.push(format!("{path}:{number}: an ignored test"));
        }
        if line.contains(&allow) {
            problems.push(format!(
                "{path}:{number}: expect(…, reason) instead of allow"
            ));
        }
    }
}
