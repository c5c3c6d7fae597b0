//! Bytes → machine code, in this process or in a child with limits of its own.
//!
//! A component can be made that takes minutes or gigabytes to compile. The child is this program
//! again: it reads the component from stdin and writes its code to stdout; the system ends it at
//! its limits of CPU time and memory, and it yields to everything else that wants the processor.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use wasmtime::Engine;

use crate::engine;

/// Compiled code is at most this large, bytes.
const CODE_BYTES_MAX: u64 = 512 << 20;
/// What the child says of a failure; more is cut.
const DETAIL_BYTES_MAX: u64 = 4096;
/// The exit code of a child whose compiler refused the component.
const REFUSED: i32 = 3;

/// Who compiles.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// This process. Nothing bounds what it takes.
    #[default]
    InProcess,
    /// A child process for each component.
    Child(ChildCompiler),
}

/// How the child is started and what it may use.
#[derive(Clone, Debug)]
pub struct ChildCompiler {
    /// The program; it calls [`compile_stdin`] with the same limits.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What it may use.
    pub limits: CompileLimits,
}

/// What the compilation of one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space, bytes.
    pub memory_bytes_max: u64,
    /// CPU time of all its threads together, seconds.
    pub cpu_seconds_max: u64,
}

/// Why there is no code.
#[derive(Debug)]
pub(crate) enum CompileCodeError {
    /// The compiler refused the component.
    Refused(String),
    /// A limit was reached.
    TooExpensive(String),
    /// The child could not be run.
    Failed(String),
}

impl ChildCompiler {
    /// Compiles `component`. Blocks until the child ended.
    pub(crate) fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileCodeError> {
        let failed =
            |error: io::Error| CompileCodeError::Failed(format!("the compiler process: {error}"));
        let mut child = Command::new(&self.program)
            .args(&self.args)
            // No secret of this process is the compiler's business.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that ended early says why by its status.
            drop(stdin.write_all(component));
        }
        let (mut code, mut talk) = (Vec::new(), Vec::new());
        // It writes its code completely before it ends, and its talk only without code.
        let mut read = io::Result::Ok(0);
        if let Some(stdout) = child.stdout.take() {
            read = stdout.take(CODE_BYTES_MAX).read_to_end(&mut code);
        }
        if let Some(stderr) = child.stderr.take() {
            read = read.and_then(|_| stderr.take(DETAIL_BYTES_MAX).read_to_end(&mut talk));
        }
        let status = child.wait().map_err(failed)?;
        read.map_err(failed)?;
        if status.success() {
            return Ok(code);
        }
        Err(self.error(status, String::from_utf8_lossy(&talk).trim()))
    }

    fn error(&self, status: ExitStatus, talk: &str) -> CompileCodeError {
        let CompileLimits {
            memory_bytes_max,
            cpu_seconds_max,
        } = self.limits;
        let signal = status.signal();
        let is = |wanted: Signal| signal == Some(wanted.as_raw());
        if is(Signal::XCPU) || is(Signal::KILL) {
            return CompileCodeError::TooExpensive(format!(
                "compiling it takes more than {cpu_seconds_max} s of CPU time"
            ));
        }
        // An allocation that fails ends the process.
        if is(Signal::ABORT) || talk.contains("memory allocation of") {
            return CompileCodeError::TooExpensive(format!(
                "compiling it takes more than {} MiB of memory",
                memory_bytes_max >> 20
            ));
        }
        if status.code() == Some(REFUSED) {
            return CompileCodeError::Refused(talk.to_owned());
        }
        CompileCodeError::Failed(format!("the compiler process ended with {status}: {talk}"))
    }
}

/// What the child does: takes `limits` on, compiles the component from stdin, writes its code to
/// stdout. Returns its exit code; what went wrong is on stderr.
#[must_use]
pub fn compile_stdin(limits: CompileLimits) -> u8 {
    match compile_streams(limits) {
        Ok(()) => 0,
        Err((code, detail)) => {
            // Whoever started this reads it; without them nobody does.
            drop(writeln!(io::stderr(), "{detail}"));
            code
        }
    }
}

fn compile_streams(limits: CompileLimits) -> Result<(), (u8, String)> {
    let failed = |what: &str, error: &dyn std::fmt::Display| (1, format!("{what}: {error}"));
    take_on(limits).map_err(|error| failed("limits", &error))?;
    let mut component = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut component)
        .map_err(|error| failed("stdin", &error))?;
    let engine = Engine::new(&engine::settings()).map_err(|error| failed("engine", &error))?;
    let code = engine
        .precompile_component(&component)
        .map_err(|error| (u8::try_from(REFUSED).unwrap_or(1), format!("{error:#}")))?;
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(&code)
        .and_then(|()| stdout.flush())
        .map_err(|error| failed("stdout", &error))
}

fn take_on(limits: CompileLimits) -> rustix::io::Result<()> {
    let limit = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::As, limit(limits.memory_bytes_max))?;
    // The second figure is when the system stops asking.
    setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(limits.cpu_seconds_max),
            maximum: Some(limits.cpu_seconds_max + 1),
        },
    )?;
    setrlimit(Resource::Core, limit(0))?;
    setrlimit(Resource::Fsize, limit(0))?;
    // Whoever maps events goes first; at 19, a busy machine would not let it end at all.
    rustix::process::nice(10).map(drop)
}
