//! Runs commands from the repository's root, with what runs and how long it took on stderr.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::places;

/// `cargo args…` in the root, by the cargo that runs this task.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.args(args).current_dir(places::root());
    command
}

/// Says `what`, runs the command with its output shown, fails if it fails.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("xtask: {what}");
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("failed to start {command:?}"))?;
    if !status.success() {
        bail!("{what}: failed ({status})");
    }
    eprintln!("xtask: {what}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// What the command prints to stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed no UTF-8"))
}
