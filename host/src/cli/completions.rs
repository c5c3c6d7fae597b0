//! `rulemill completions`.

use std::io::{self, Write as _};

use clap::{CommandFactory as _, ValueEnum};

use super::Cli;
use super::failure::Failure;

/// The shells that get completions.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script that makes the shell complete `rulemill`.
pub(super) fn print(shell: Shell) -> Result<(), Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rulemill", &mut script);
    io::stdout()
        .lock()
        .write_all(&script)
        .map_err(|error| Failure::output(&error))
}
