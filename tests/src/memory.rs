//! How much memory a process has had, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// Most memory that the process has had at once since its start or the last [`reset_peak`] (`VmHWM`), bytes.
///
/// # Errors
///
/// When it is not running.
pub fn peak(pid: u32) -> Result<u64> {
    read(pid, "VmHWM:")
}

/// Memory that the process has now (`VmRSS`), bytes.
///
/// # Errors
///
/// When it is not running.
pub fn now(pid: u32) -> Result<u64> {
    read(pid, "VmRSS:")
}

fn read(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("no {path}"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name} in {path}"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Counts the peak from now on.
///
/// # Errors
///
/// When the system refuses.
pub fn reset_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("failed to write {path}"))
}

/// For reports: whole mebibytes.
#[must_use]
pub fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
