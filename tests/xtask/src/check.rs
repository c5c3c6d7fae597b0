//! `cargo xtask check`: everything that CI checks beside the tests.

mod direction;
mod licences;
mod tidy;

use anyhow::{Result, bail};

use crate::{build, cargo};

/// Runs all checks, also after one failed, and fails if any did.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    let steps: [(&str, fn() -> Result<()>); 8] = [
        ("tidiness", tidy::run),
        ("format", format),
        ("dependency direction", direction::run),
        ("licences", licences::run),
        ("clippy", clippy),
        ("clippy of the components", clippy_components),
        ("build without the embedded RocketMQ", without_embedded),
        ("documentation", documentation),
    ];
    for (name, step) in steps {
        match step() {
            Ok(()) => eprintln!("xtask: check {name}: ok"),
            Err(error) => {
                eprintln!("xtask: check {name}: FAILED: {error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed checks: {}", failed.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    cargo::run("cargo fmt", &mut cargo::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    cargo::run("clippy", &mut cargo::cargo(&args))
}

fn clippy_components() -> Result<()> {
    let mut clippy = cargo::cargo(&[
        "clippy",
        "--target",
        "wasm32-wasip2",
        "--package",
        "rulemill-sdk",
    ]);
    for plugin in build::plugin_names()? {
        clippy.args(["--package", plugin.as_str()]);
    }
    cargo::run(
        "clippy for wasm32-wasip2",
        clippy.args(["--", "-D", "warnings"]),
    )
}

fn without_embedded() -> Result<()> {
    let args = ["check", "--package", "rulemill", "--no-default-features"];
    cargo::run(
        "checking the host without default features",
        &mut cargo::cargo(&args),
    )
}

fn documentation() -> Result<()> {
    let mut doc = cargo::cargo(&["doc", "--workspace", "--no-deps"]);
    cargo::run("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"))
}
