//! Fuzzing of what strangers give the plugin runtime: bytes that are uploaded, and values that cross
//! between host and guest. `cargo xtask fuzz` runs it; CI runs both targets with a fixed seed.
//!
//! Inputs know the structure of what they break: components are changed section by section, memory
//! images pointer by pointer. An input is kept for further changes when the product answers it in
//! words that no input before it got.

#![expect(clippy::print_stdout, reason = "a tool talks to whoever typed it")]
#![expect(
    clippy::indexing_slicing,
    reason = "a panic of the tool is a finding, too: it is seen and mended"
)]
#![expect(
    clippy::string_slice,
    reason = "each one is cut at a boundary that was asked for"
)]
#![expect(clippy::exit, reason = "nothing else ends a call that hangs")]

mod contract;
mod corpus;
mod gauge;
mod panics;
mod random;
mod run;
mod upload;
mod values;

use std::path::{Path, PathBuf};

use anyhow::Result;
use plugin_runtime::CompileLimits;

pub use run::{Plan, Until};

/// What the compiler of one upload may use: little, since most are small, and some are made to be slow.
pub const COMPILE_LIMITS: CompileLimits = CompileLimits {
    memory_bytes_max: 2 << 30,
    cpu_seconds_max: 5,
};

/// A target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of an upload: inspect, compile in a child, prepare, map.
    Upload,
    /// Values between host and guest.
    Values,
}

impl Kind {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Values => "values",
        }
    }

    /// Runs it; returns how many findings there are.
    ///
    /// # Errors
    ///
    /// When the runtime does not start, or the findings cannot be written.
    pub fn run(self, plan: &Plan, compiler: &Compiler) -> Result<usize> {
        match self {
            Self::Upload => run::run(&mut upload::Upload::start(compiler)?, plan),
            Self::Values => run::run(&mut values::Values::start()?, plan),
        }
    }

    /// Tries the input in `file` once; whether something is wrong.
    ///
    /// # Errors
    ///
    /// When the runtime does not start, or there is no such file.
    pub fn replay(self, file: &Path, compiler: &Compiler) -> Result<bool> {
        match self {
            Self::Upload => run::replay(&mut upload::Upload::start(compiler)?, file),
            Self::Values => run::replay(&mut values::Values::start()?, file),
        }
    }
}

/// Who compiles uploads, and what real components there are.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The program that compiles stdin when it is called with [`Compiler::COMMAND`].
    pub program: PathBuf,
    /// A folder with built plugins, used as seeds if it exists.
    pub plugins: PathBuf,
}

impl Compiler {
    /// The command of the child process.
    pub const COMMAND: &'static str = "compile-plugin";
}
