//! The command line, run as a user runs it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::admin::Admin;

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Results.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ran {
    /// This, if the code is as expected.
    ///
    /// # Errors
    ///
    /// When it is not; with everything that was printed.
    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "expected exit code {code}, got {:?}; stdout: {}; stderr: {}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// This, if its talk is one line that holds all of `words`.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn expect_one_line(self, words: &[&str]) -> Result<Self> {
        let lines = self
            .stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        ensure!(
            lines == 1,
            "expected one line, got {lines}: {}",
            self.stderr
        );
        for word in words {
            ensure!(
                self.stderr.contains(word),
                "{word:?} is not in: {}",
                self.stderr
            );
        }
        Ok(self)
    }
}

/// Path of the host's binary: `RULEMILL_BIN`, else beside the running test.
///
/// # Errors
///
/// When it was not built.
pub fn host_binary() -> Result<PathBuf> {
    let path = match std::env::var_os("RULEMILL_BIN") {
        Some(path) => PathBuf::from(path),
        None => beside("rulemill")?,
    };
    ensure!(
        path.exists(),
        "no {}: cargo build --workspace --bins",
        path.display()
    );
    Ok(path)
}

/// A binary of this build, found from the running one: tests are one folder deeper.
///
/// # Errors
///
/// When the running program's path is not known.
pub fn beside(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("the running program has no path")?;
    let folder = here
        .parent()
        .context("the running program is in no folder")?;
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(folder.join(name))
}

/// `rulemill` without a server.
///
/// # Errors
///
/// When it cannot be run.
pub fn run(args: &[&str]) -> Result<Ran> {
    run_command(Command::new(host_binary()?).args(args))
}

/// `rulemill` for the host that `admin` speaks to, in the folder `at`.
///
/// # Errors
///
/// When it cannot be run.
pub fn run_on(admin: &Admin, at: &Path, args: &[&str]) -> Result<Ran> {
    let mut command = Command::new(host_binary()?);
    command.args(args).current_dir(at);
    command
        .env("RULEMILL_SERVER", admin.base())
        .env("RULEMILL_TOKEN", admin.token());
    run_command(&mut command)
}

/// As [`run_on`], with a secret on stdin.
///
/// # Errors
///
/// When it cannot be run.
pub fn run_with_secret(admin: &Admin, at: &Path, args: &[&str], secret: &str) -> Result<Ran> {
    let mut command = Command::new(host_binary()?);
    command
        .args(args)
        .arg("--secret-stdin")
        .current_dir(at)
        .env("RULEMILL_SERVER", admin.base())
        .env("RULEMILL_TOKEN", admin.token());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to run rulemill")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(secret.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Any command, until its end.
///
/// # Errors
///
/// When it cannot be run.
pub fn run_command(command: &mut Command) -> Result<Ran> {
    let output = command
        .output()
        .with_context(|| format!("failed to run {command:?}"))?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
