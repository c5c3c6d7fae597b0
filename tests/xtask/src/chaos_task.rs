//! `cargo xtask chaos`: builds and runs the tool of that name, as `demo` does.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{build, places};

/// Names the host's binary for the tool, unless it is set already.
const HOST: &str = "RULEMILL_BIN";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build::binaries()?;
    let mut chaos = Command::new(places::binary("chaos"));
    if std::env::var_os(HOST).is_none() {
        chaos.env(HOST, places::binary("rulemill"));
    }
    let status = chaos
        .args(args)
        .status()
        .context("failed to start the tool")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
