//! `plugin build`: calls the language's own tool, then puts the cases into the component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use plugin_runtime::with_cases;

use super::cases::{self, WrittenCase};
use super::manifest::read_component;
use super::{Language, Manifest};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::talk;

/// How a tool is called and what to do if it is not there.
struct Tool {
    command: Command,
    remedy: &'static str,
}

pub(super) fn run(manifest: &Manifest) -> Result<(), Failure> {
    let cases = cases::read()?;
    if let Some(folder) = manifest.component.parent() {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("{} cannot be made: {error}", folder.display()),
            )
        })?;
    }
    let Tool {
        mut command,
        remedy,
    } = tool(manifest);
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("{program} cannot be run: {error}; {remedy}"),
        )
    })?;
    if !status.success() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "the build failed: {program} ended with {status}; what it wrote above says why"
            ),
        ));
    }
    let count = cases.len();
    let size = embed(&manifest.component, cases)?;
    talk(format_args!(
        "{}: {size} bytes, {count} cases",
        manifest.component.display()
    ));
    Ok(())
}

/// Puts exactly these cases into the component at `path`; returns its size then, bytes.
pub(super) fn embed(path: &Path, cases: Vec<WrittenCase>) -> Result<usize, Failure> {
    let cases: Vec<_> = cases.into_iter().map(|it| it.case).collect();
    let component = read_component(path)?;
    let edited = with_cases(&component, &cases)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    if edited != component {
        write(path, &edited)?;
    }
    Ok(edited.len())
}

/// There completely or not at all: a watcher may look at any moment.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("{} cannot be written: {error}", path.display()),
            )
        })
}

fn tool(manifest: &Manifest) -> Tool {
    match manifest.language {
        Language::Rust => {
            let mut command =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2"]);
            Tool {
                command,
                remedy: "install rustup; the toolchain comes with it",
            }
        }
        Language::Python => {
            let mut command = Command::new(local(".venv/bin/componentize-py", "componentize-py"));
            command
                .args([
                    "--quiet",
                    "--wit-path",
                    "wit",
                    "--world",
                    "status-rule",
                    "componentize",
                    "app",
                    "--stub-wasi",
                ])
                .arg("--output")
                .arg(&manifest.component);
            Tool {
                command,
                remedy: "run: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
            }
        }
        Language::Javascript => {
            let mut command = Command::new(local(
                "node_modules/.bin/componentize-qjs",
                "componentize-qjs",
            ));
            command
                .args([
                    "--wit",
                    "wit",
                    "--world",
                    "status-rule",
                    "--js",
                    "rule.js",
                    "--sync",
                    "--stub-wasi",
                ])
                .arg("--output")
                .arg(&manifest.component);
            Tool {
                command,
                remedy: "run: npm install",
            }
        }
    }
}

/// The tool of the folder, else that of the search path.
fn local(path: &str, name: &str) -> PathBuf {
    let path = PathBuf::from(path);
    if path.exists() {
        path
    } else {
        PathBuf::from(name)
    }
}
