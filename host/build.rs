//! Builds the plugins that travel inside the binary, and lists the SDK for `plugin new`.
//!
//! They are components for `wasm32-wasip2`, so another cargo builds them, in a target folder of its
//! own: the one that runs this script holds the lock of its own. That cargo must not see the settings
//! of this build (target, flags, a clippy wrapper), hence the cleaned environment.

#[path = "build/bundle.rs"]
mod bundle;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "plugin";
const PLUGINS: [&str; 6] = [
    "apsaramq-status",
    "aws-iot-lifecycle",
    "cloudevents",
    "emqx-events",
    "filter",
    "template",
];

/// What of the workspace ends up in a component.
const SOURCES: [&str; 6] = [
    "plugins",
    "guest-sdk",
    "wit",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

/// Settings of the network and of the user that the other cargo needs as well.
const KEPT: [&str; 5] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRIES_",
    "CARGO_TERM_",
];

/// Cargo shows what `main` returns by `Debug`; this one shows it as text.
struct BuildPluginsError(String);

impl fmt::Debug for BuildPluginsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn main() -> Result<(), BuildPluginsError> {
    let workspace = folder("CARGO_MANIFEST_DIR")?.join("..");
    let out = folder("OUT_DIR")?;
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    bundle(&workspace, &out)?;
    check_target()?;
    build(&workspace, &out)?;
    let built = out.join("plugins").join(TARGET).join(PROFILE);
    for plugin in PLUGINS {
        let from = built.join(format!("{}.wasm", plugin.replace('-', "_")));
        let to = out.join(format!("{plugin}.wasm"));
        fs::copy(&from, &to).map_err(|error| {
            BuildPluginsError(format!("failed to copy {}: {error}", from.display()))
        })?;
    }
    Ok(())
}

/// Writes `bundle.rs`: the SDK and the contract as they go into a new plugin's folder.
fn bundle(workspace: &Path, out: &Path) -> Result<(), BuildPluginsError> {
    let manifest = out.join("sdk-Cargo.toml");
    let standalone = bundle::standalone_manifest(workspace).map_err(BuildPluginsError)?;
    fs::write(&manifest, standalone).map_err(|error| failed("write", &manifest, &error))?;
    let sdk = bundle::files(&workspace.join("guest-sdk"), "sdk").map_err(BuildPluginsError)?;
    let wit = bundle::files(&workspace.join("wit"), "wit").map_err(BuildPluginsError)?;
    let sdk = sdk
        .into_iter()
        .map(|(name, path)| match name.as_str() {
            "sdk/Cargo.toml" => (name, manifest.clone()),
            _ => (name, path),
        })
        .collect();
    let path = out.join("bundle.rs");
    let text = bundle::source("SDK", sdk) + &bundle::source("WIT", wit);
    fs::write(&path, text).map_err(|error| failed("write", &path, &error))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> BuildPluginsError {
    BuildPluginsError(format!("failed to {what} {}: {error}", path.display()))
}

fn folder(variable: &str) -> Result<PathBuf, BuildPluginsError> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| BuildPluginsError(format!("cargo did not set {variable}")))
}

/// Says what is missing before cargo says it in many lines.
fn check_target() -> Result<(), BuildPluginsError> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| BuildPluginsError(format!("failed to run rustc: {error}")))?;
    let libraries = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    Err(BuildPluginsError(format!(
        "the built-in plugins need the target {TARGET}, which this toolchain lacks; run: rustup toolchain install"
    )))
}

fn build(workspace: &Path, out: &Path) -> Result<(), BuildPluginsError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args([
            "build",
            "--locked",
            "--quiet",
            "--profile",
            PROFILE,
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(out.join("plugins"));
    for plugin in PLUGINS {
        command.args(["--package", plugin]);
    }
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_this_build(name)) {
        command.env_remove(name);
    }
    let output = command
        .output()
        .map_err(|error| BuildPluginsError(format!("failed to run cargo: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(BuildPluginsError(format!(
        "the built-in plugins do not build:\n{said}"
    )))
}

fn is_of_this_build(name: &OsString) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    if KEPT.iter().any(|kept| name.starts_with(kept)) {
        return false;
    }
    let of_cargo = name.starts_with("CARGO") || name.starts_with("DEP_");
    let of_flags = matches!(
        name,
        "RUSTFLAGS"
            | "RUSTC_WRAPPER"
            | "RUSTC_WORKSPACE_WRAPPER"
            | "RUSTDOCFLAGS"
            | "MAKEFLAGS"
            | "MFLAGS"
    );
    let of_script = matches!(
        name,
        "TARGET"
            | "HOST"
            | "OUT_DIR"
            | "NUM_JOBS"
            | "OPT_LEVEL"
            | "DEBUG"
            | "PROFILE"
            | "RUSTC_LINKER"
    );
    of_cargo || of_flags || of_script
}
