//! Secrets come from standard input: an argument would be seen by everybody who lists processes, and
//! kept by the shell.

use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;

use super::failure::Failure;
use super::output::talk;

/// A secret has at most 1,024 bytes.
const INPUT_BYTES_MAX: u64 = 4_096;

/// Where the secret is.
#[derive(Debug, Args)]
pub(super) struct SecretInput {
    /// Read the secret from standard input. A line end at its end is no part of it.
    #[arg(long, required = true)]
    secret_stdin: bool,
}

impl SecretInput {
    /// Reads it.
    pub(super) fn read(&self) -> Result<String, Failure> {
        if !self.secret_stdin {
            return Err(Failure::usage(
                "say --secret-stdin, and write the secret to standard input",
            ));
        }
        let input = io::stdin();
        if input.is_terminal() {
            talk(format_args!(
                "type the secret, which is shown, then Enter and Ctrl-D"
            ));
        }
        secret(input.lock())
    }
}

fn secret(input: impl io::Read) -> Result<String, Failure> {
    let mut text = String::new();
    input
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|_| Failure::usage("the secret on standard input is no text in UTF-8"))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(Failure::usage("there is no secret on standard input"));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::secret;

    #[test]
    fn a_line_end_is_no_part_of_a_secret_and_blanks_are() {
        for (input, expected) in [
            ("a b", "a b"),
            ("x\n", "x"),
            ("x\r\n", "x"),
            ("x\n\n", "x\n"),
        ] {
            assert_eq!(secret(input.as_bytes()).unwrap(), expected);
        }
        for wrong in ["", "\n", "\r\n"] {
            assert!(secret(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
