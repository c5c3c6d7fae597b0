//! Builds: the demo's binaries, the plugins, the release, the benchmarks.
//!
//! Everything but the release uses the development profile and whole-workspace features, so that the
//! dependencies are compiled once for `demo`, `test` and `check`.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::{cargo, places};

/// Builds the binaries and runs the demo.
pub(crate) fn demo(args: &[String]) -> Result<ExitCode> {
    binaries()?;
    let mut demo = Command::new(places::binary("demo"));
    demo.env("RULEMILL_BIN", places::binary("rulemill"))
        .args(args);
    let status = demo.status().context("failed to start the demo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds every binary of the workspace.
pub(crate) fn binaries() -> Result<()> {
    let what = if places::binary("rulemill").exists() {
        "building the host"
    } else {
        "building the host: about 650 crates, 5 to 10 minutes on two cores the first time"
    };
    cargo::run(what, &mut cargo::cargo(&["build", "--workspace", "--bins"]))
}

/// Names of the packages below `plugins/`.
pub(crate) fn plugin_names() -> Result<Vec<String>> {
    let folder = places::root().join("plugins");
    let mut names = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?
    {
        let entry = entry?;
        if entry.path().join("Cargo.toml").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no plugin below {}", folder.display());
    Ok(names)
}

/// Builds the plugins as components and copies them to `<target>/plugins/NAME.wasm`.
pub(crate) fn plugins() -> Result<Vec<PathBuf>> {
    let names = plugin_names()?;
    let mut build = cargo::cargo(&["build", "--profile", "plugin", "--target", "wasm32-wasip2"]);
    for name in &names {
        build.args(["--package", name.as_str()]);
    }
    cargo::run("building the plugins", &mut build)?;
    let built = places::target().join("wasm32-wasip2/plugin");
    let folder = places::target().join("plugins");
    fs::create_dir_all(&folder)?;
    let mut components = Vec::new();
    for name in &names {
        let component = folder.join(format!("{name}.wasm"));
        let from = built.join(format!("{}.wasm", name.replace('-', "_")));
        fs::copy(&from, &component)
            .with_context(|| format!("failed to copy {}", from.display()))?;
        eprintln!("xtask: {}", component.display());
        components.push(component);
    }
    Ok(components)
}

/// Writes the API's document and the manual's list of errors, by the tests that compare them.
pub(crate) fn openapi() -> Result<()> {
    // Whole-workspace features, as everywhere.
    let mut write = cargo::cargo(&["test", "--workspace", "--lib", "--quiet", "--", "openapi"]);
    write.env("RULEMILL_WRITE_OPENAPI", "1");
    cargo::run("writing the API's document", &mut write)
}

/// The release binary and the plugins in `<target>/dist`.
pub(crate) fn dist() -> Result<()> {
    cargo::run(
        "building the release: longer than the development build, since it is optimised",
        &mut cargo::cargo(&["build", "--release", "--package", "rulemill"]),
    )?;
    let folder = places::target().join("dist");
    fs::create_dir_all(folder.join("plugins"))?;
    fs::copy(
        places::target().join("release/rulemill"),
        folder.join("rulemill"),
    )?;
    fs::copy(places::root().join("LICENSE"), folder.join("LICENSE"))?;
    for component in plugins()? {
        let name = component
            .file_name()
            .unwrap_or(OsStr::new("plugin.wasm"))
            .to_owned();
        fs::copy(&component, folder.join("plugins").join(name))?;
    }
    eprintln!("xtask: {}", folder.display());
    Ok(())
}

/// Runs the benchmarks, or the one target that is named.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    ensure!(args.len() <= 1, "bench takes one name");
    let mut bench = cargo::cargo(&["bench", "--workspace"]);
    match args.first() {
        Some(name) => bench.args(["--bench", name.as_str()]),
        None => bench.arg("--benches"),
    };
    cargo::run("running the benchmarks", &mut bench)
}
