//! The SDK as a crate that one can have without the repository: `cargo package`, unpacked elsewhere, used
//! by a plugin of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use acceptance::cli;
use anyhow::{Context, Result, ensure};
use xtask::places;

use crate::readme_blocks;

/// What the kit promises: a minimal plugin is no longer than this.
const MINIMAL_LINES_MAX: usize = 15;

const MANIFEST: &str = r#"[package]
name = "stranger"
version = "0.1.0"
edition = "2024"

[lib]
crate-type = ["cdylib", "lib"]

[dependencies]
rulemill-sdk = { path = "../sdk" }

[dev-dependencies]
rulemill-sdk = { path = "../sdk", features = ["testing"] }

[workspace]
"#;

const NATIVE_TEST: &str = r##"
#[cfg(test)]
mod tests {
    use rulemill_sdk::testing::{Plugin, tcpclean};

    #[test]
    fn a_client_is_told_by_its_id() {
        let mapped = Plugin::<super::MyRule>::start("{}").unwrap().map(&tcpclean().build());
        assert_eq!(mapped.body(), r#"{"id":"GID_Test@@@device-1"}"#);
    }
}
"##;

/// The README's first example: short enough, and what its Rust section writes.
fn minimal() -> Result<String> {
    let readme = fs::read_to_string(places::root().join("guest-sdk/README.md"))?;
    let code = readme_blocks::first_block(&readme, "rust")?;
    let lines = code.lines().count();
    ensure!(
        lines <= MINIMAL_LINES_MAX,
        "the minimal plugin has {lines} lines"
    );
    let commands = readme_blocks::commands("guest-sdk/README.md", "rust")?;
    ensure!(
        commands.contains(&code),
        "the Rust section writes another plugin"
    );
    Ok(code)
}

pub(crate) fn works_alone() -> Result<()> {
    let code = minimal()?;
    let home = tempfile::Builder::new().prefix("rulemill-sdk-").tempdir()?;
    // The toolchain with the target; a stranger has it by the README.
    fs::copy(
        places::root().join("rust-toolchain.toml"),
        home.path().join("rust-toolchain.toml"),
    )?;
    let sdk = home.path().join("sdk");
    unpack(&package()?, home.path(), &sdk)?;
    ensure!(
        fs::symlink_metadata(sdk.join("wit"))?.is_dir() && sdk.join("wit/world.wit").is_file(),
        "the contract is not in the package"
    );

    let plugin = home.path().join("stranger");
    fs::create_dir_all(plugin.join("src"))?;
    fs::write(plugin.join("Cargo.toml"), MANIFEST)?;
    // The versions that this machine has already.
    fs::copy(places::root().join("Cargo.lock"), plugin.join("Cargo.lock"))?;
    fs::write(plugin.join("src/lib.rs"), format!("{code}{NATIVE_TEST}"))?;
    let tested = cargo(&plugin, &["test", "--offline"])?;
    ensure!(tested.contains("1 passed"), "{tested}");
    cargo(
        &plugin,
        &["build", "--offline", "--target", "wasm32-wasip2"],
    )?;
    let component = target().join("wasm32-wasip2/debug/stranger.wasm");
    let path = component.display().to_string();
    let checked = cli::run(&["plugin", "check", &path])?.expect(0)?;
    ensure!(
        checked.stdout.contains("rulemill:rule@1.0.0"),
        "{}",
        checked.stdout
    );

    fs::copy(places::root().join("Cargo.lock"), sdk.join("Cargo.lock"))?;
    for (example, shows) in [
        ("minimal", "{\"id\":\"GID_Test@@@device-1\"}"),
        ("settings", "unknown field `quite`"),
        ("verdicts", "rejected: a client without a user"),
    ] {
        let said = cargo(
            &sdk,
            &[
                "run",
                "--offline",
                "--features",
                "config,testing",
                "--example",
                example,
            ],
        )?;
        ensure!(said.contains(shows), "example {example} says {said}");
    }
    Ok(())
}

/// A target folder of its own: the crates are those of another workspace.
fn target() -> std::path::PathBuf {
    places::target().join("sdk-alone")
}

/// Makes the package; its path.
fn package() -> Result<std::path::PathBuf> {
    let to = target();
    cargo(
        &places::root(),
        &[
            "package",
            "--offline",
            "--allow-dirty",
            "--no-verify",
            "--package",
            "rulemill-sdk",
        ],
    )?;
    let name = format!("rulemill-sdk-{}.crate", env!("CARGO_PKG_VERSION"));
    Ok(to.join("package").join(name))
}

fn unpack(package: &Path, home: &Path, to: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(package).current_dir(home);
    cli::run_command(&mut tar)?.expect(0)?;
    let made = package.file_stem().context("the package has no name")?;
    Ok(fs::rename(home.join(made), to)?)
}

/// What cargo and what it runs print to stdout.
fn cargo(at: &Path, args: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(at)
        .env("CARGO_TARGET_DIR", target())
        // Strangers have no settings of ours.
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    let ran = cli::run_command(&mut command)?
        .expect(0)
        .with_context(|| format!("cargo {args:?}"))?;
    Ok(ran.stdout)
}
