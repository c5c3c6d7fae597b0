//! `cargo xtask fuzz`: builds and runs the tool of that name, as `demo` does.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{build, places};

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build::binaries()?;
    let status = Command::new(places::binary("fuzz"))
        .args(args)
        .status()
        .context("failed to start the tool")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
