//! `cargo xtask test`: builds, says what cannot run here, runs every test.
//!
//! What is missing is found once and handed to the test binary by environment, so that the line that
//! is printed here and the tests that are ignored there cannot differ.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::requirements::{self, Requirement};
use crate::{build, cargo, failures};

/// Builds everything and runs every test whose name contains the filter.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let mut require_all = false;
    let mut filter = None;
    for arg in args {
        match arg.as_str() {
            "--require-all" => require_all = true,
            flag if flag.starts_with('-') => bail!("test does not know {flag}"),
            name if filter.is_none() => filter = Some(name),
            extra => bail!("test takes one filter, not also {extra}"),
        }
    }
    let found = requirements::probe_all();
    let missing = say_missing(&found);
    if require_all && missing {
        bail!("--require-all: something is missing, see the line above");
    }
    build::binaries()?;

    let mut tests = cargo::cargo(&["test", "--workspace", "--no-fail-fast"]);
    tests.args(filter);
    tests.env(requirements::FOUND, requirements::to_list(&found));
    if require_all {
        tests.env(requirements::REQUIRE_ALL, "1");
    }
    drop(failures::take());
    let outcome = cargo::run("running the tests", &mut tests);
    let failed = failures::take();
    if !failed.is_empty() {
        eprintln!("xtask: failed in the acceptance tests:\n{failed}");
    }
    outcome?;
    say_missing(&found);
    Ok(ExitCode::SUCCESS)
}

/// One line that names what is missing and how to get it; returns whether something is.
fn say_missing(found: &[Requirement]) -> bool {
    let missing: Vec<String> = Requirement::ALL
        .iter()
        .filter(|requirement| !found.contains(requirement))
        .map(|requirement| format!("{} ({})", requirement.tests(), requirement.remedy()))
        .collect();
    if missing.is_empty() {
        return false;
    }
    eprintln!(
        "xtask: cannot run here, counted as ignored: {}",
        missing.join("; ")
    );
    true
}
