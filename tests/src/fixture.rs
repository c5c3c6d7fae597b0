//! Components for tests: those that the host must refuse or survive, built from `tests/fixtures/hostile`, and its own.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::places;

/// A component without anything in it: the magic number and version of the component format.
pub const EMPTY_COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
/// A core module, which is no component.
pub const CORE_MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// Builds the hostile plugin with a feature (none: it behaves until a client asks it not to).
///
/// # Errors
///
/// When it does not build.
pub fn hostile(feature: Option<&str>) -> Result<Vec<u8>> {
    component("hostile-plugin", feature)
}

/// Builds one of the plugins that the host brings.
///
/// # Errors
///
/// When it does not build.
pub fn built_in(name: &str) -> Result<Vec<u8>> {
    component(name, None)
}

/// The same component under another digest: with a custom section at its end that nobody reads.
///
/// # Errors
///
/// Never with a label of fewer than 100 bytes.
pub fn relabelled(component: &[u8], label: &str) -> Result<Vec<u8>> {
    const NAME: &[u8] = b"label";
    let content = NAME.len() + 1 + label.len();
    // Longer lengths take more than one byte in WebAssembly's numbers.
    ensure!(content < 128, "a label too long");
    let mut bytes = component.to_vec();
    bytes.extend_from_slice(&[0, u8::try_from(content)?, u8::try_from(NAME.len())?]);
    bytes.extend_from_slice(NAME);
    bytes.extend_from_slice(label.as_bytes());
    Ok(bytes)
}

fn component(package: &str, feature: Option<&str>) -> Result<Vec<u8>> {
    let target = places::target().join("fixtures");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--profile",
            "plugin",
        ])
        .args(["--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .current_dir(places::root());
    if let Some(feature) = feature {
        build.args(["--features", feature]);
    }
    let output = build.output().context("failed to start cargo")?;
    ensure!(
        output.status.success(),
        "no fixture: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let name = package.replace('-', "_");
    let path = target.join(format!("wasm32-wasip2/plugin/{name}.wasm"));
    fs::read(&path).with_context(|| format!("no {}", path.display()))
}
