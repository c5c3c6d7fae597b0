//! What failed in the acceptance tests, told once more at the end of a run: their output is followed by that of all other tests.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::places;

/// Lines of a failure that are told again. The error is in the first ones; logs of hosts follow.
const LINES_MAX: usize = 40;

fn file() -> PathBuf {
    places::target().join("acceptance-failures.txt")
}

/// Notes that `case` failed, and why.
///
/// # Errors
///
/// When the file in the target folder cannot be written.
pub fn note(case: &str, why: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file())?;
    writeln!(file, "---- {case}")?;
    for line in why.lines().take(LINES_MAX) {
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// What was noted since it was last taken.
pub(crate) fn take() -> String {
    let noted = fs::read_to_string(file()).unwrap_or_default();
    // There is none after a run without failures.
    drop(fs::remove_file(file()));
    noted
}
