//! Why a command failed: one line for people, an exit code for scripts.

use std::io;

use super::output::talk;

/// The exit codes of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Unreachable = 5,
    NotAllowed = 6,
    BadConfiguration = 64,
}

/// A failed command.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    /// One line each; none if whoever reads the output went away.
    messages: Vec<String>,
}

impl Failure {
    /// Cause and remedy in one line.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            messages: vec![message.into()],
        }
    }

    /// Several causes, one line each.
    pub(super) fn several(exit: Exit, messages: Vec<String>) -> Self {
        Self { exit, messages }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The output could not be written. A closed pipe needs no message: its reader had enough.
    pub(super) fn output(error: &io::Error) -> Self {
        let messages = match error.kind() {
            io::ErrorKind::BrokenPipe => Vec::new(),
            _ => vec![format!("the output cannot be written: {error}")],
        };
        Self {
            exit: Exit::Failed,
            messages,
        }
    }

    /// What the host answered.
    pub(super) fn of_status(status: u16, message: String) -> Self {
        let exit = match status {
            401 | 403 => Exit::NotAllowed,
            404 => Exit::NotFound,
            409 | 412 => Exit::Conflict,
            _ => Exit::Failed,
        };
        Self::new(exit, message)
    }

    /// The same with other lines.
    pub(super) fn with_messages(self, messages: Vec<String>) -> Self {
        Self { messages, ..self }
    }

    pub(super) fn exit_code(&self) -> i32 {
        self.exit as i32
    }

    #[cfg(test)]
    pub(super) fn messages(&self) -> &[String] {
        &self.messages
    }

    pub(super) fn show(&self) {
        for message in &self.messages {
            talk(format_args!("rulemill: {message}"));
        }
    }
}
