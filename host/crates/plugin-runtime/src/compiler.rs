//! Bytes → machine code, in this process or in a child with limits of its own.
//!
//! A component can be made that takes minutes or gigabytes to compile. The child is this program
//! again: it reads the component from stdin and writes its code to stdout (see `pipes`); the system ends it at
//! its limits of CPU time and memory, and it yields to everything else that wants the processor (see
//! `idle`). One that gets no processor, or does nothing, ends at a limit of wall-clock time.

mod child;
mod functions;
mod idle;
mod pipes;

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

pub use child::compile_stdin;
pub(crate) use functions::FunctionBlocks;
pub use functions::FunctionStats;
pub(crate) use pipes::Answer;

use pipes::{ANSWER_HEAD_BYTES, Question};

/// Compiled code is at most this large, bytes.
const CODE_BYTES_MAX: u64 = 512 << 20;
/// What the child says of a failure; more is cut.
const DETAIL_BYTES_MAX: usize = 4096;
/// So many times its CPU time a compilation may take.
const WALL_CLOCK_FACTOR: u64 = 5;
/// A little machine that starts up is slow for longer than a small component compiles.
const WALL_CLOCK_MIN: Duration = Duration::from_secs(60);
/// The exit code of a child whose compiler refused the component.
const REFUSED: i32 = 3;
/// The exit code of a child whose compiler panicked: only a component can make it.
const PANICKED: i32 = 101;

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
    /// How long it may take, whatever it does; see [`CompileLimits::wall_clock_max`].
    pub wall_clock_max: Duration,
    /// What is kept in memory of functions that were compiled, bytes, so that a component like an earlier one takes less time.
    /// The oldest make room; 0 keeps none.
    pub function_bytes_max: u64,
}

/// What the compilation of one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space, bytes.
    pub memory_bytes_max: u64,
    /// CPU time of all its threads together, seconds.
    pub cpu_seconds_max: u64,
}

impl CompileLimits {
    /// How long a compilation may take on a machine that does much else: five times its CPU time, a
    /// minute at least.
    #[must_use]
    pub fn wall_clock_max(&self) -> Duration {
        let seconds = self.cpu_seconds_max.saturating_mul(WALL_CLOCK_FACTOR);
        Duration::from_secs(seconds).max(WALL_CLOCK_MIN)
    }
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
    /// Compiles `component`, with the help of `functions`. Blocks until the child ended.
    pub(crate) fn compile(
        &self,
        component: &[u8],
        functions: &FunctionBlocks,
    ) -> Result<Answer, CompileCodeError> {
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
        let (blocks, block_bytes_max) = functions.for_component(component);
        let question = Question {
            block_bytes_max,
            component,
            blocks: blocks.iter().map(AsRef::as_ref).collect(),
        };
        let (answer, talk) = self.attend(&mut child, &question)?;
        let status = child.wait().map_err(failed)?;
        let size = bytes_of(&answer);
        if size >= question.answer_bytes_max() {
            return Err(too_large());
        }
        if !status.success() {
            let has_blocks = !question.blocks.is_empty();
            return Err(self.error(status, String::from_utf8_lossy(&talk).trim(), has_blocks));
        }
        let answer = Answer::read(answer, block_bytes_max).ok_or_else(|| {
            CompileCodeError::Failed(
                "the compiler process ended without giving all of its code; push it again, and report it if it comes again"
                    .to_owned(),
            )
        })?;
        if bytes_of(&answer.code) > CODE_BYTES_MAX {
            return Err(too_large());
        }
        Ok(answer)
    }

    /// Asks the child and takes what it writes, until it ended or its time is up.
    fn attend(
        &self,
        child: &mut Child,
        question: &Question<'_>,
    ) -> Result<(Vec<u8>, Vec<u8>), CompileCodeError> {
        let failed =
            |error: io::Error| CompileCodeError::Failed(format!("the compiler process: {error}"));
        let pid = Pid::from_child(child);
        let (is_late, wall_clock_max) = (AtomicBool::new(false), self.wall_clock_max);
        let late = &is_late;
        let (ended, end) = mpsc::channel::<()>();
        let taken = thread::scope(|scope| {
            let watch = move || {
                if end.recv_timeout(wall_clock_max) == Err(mpsc::RecvTimeoutError::Timeout) {
                    late.store(true, Ordering::Relaxed);
                    kill(pid);
                }
            };
            let watching = thread::Builder::new()
                .name("compile-watch".to_owned())
                .spawn_scoped(scope, watch);
            if watching.is_err() {
                // Without a watch it must not run.
                kill(pid);
            }
            // At the same time as its code is read: a child that waits for room for its talk never ends.
            let stderr = child.stderr.take();
            let listening = thread::Builder::new()
                .name("compile-talk".to_owned())
                .spawn_scoped(scope, || stderr.map(listen).unwrap_or_default());
            if listening.is_err() {
                kill(pid);
            }
            let answer = exchange(child, question);
            if answer.is_err() {
                kill(pid);
            }
            // Not reaped before the watch ended: its number must not be another process's.
            let waited = waitid(
                WaitId::Pid(pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            );
            drop(ended);
            watching?;
            waited?;
            let talk = listening?.join().unwrap_or_default();
            Ok((answer?, talk))
        });
        if is_late.load(Ordering::Relaxed) {
            drop(child.wait());
            return Err(CompileCodeError::TooExpensive(format!(
                "compiling it took longer than {} s by the clock (five times plugins.compile-time, a minute at least) and got too \
                 little CPU time: the machine is busy; push it again later, make the component smaller, or raise \
                 plugins.compile-time",
                wall_clock_max.as_secs_f32()
            )));
        }
        taken.map_err(|error: io::Error| {
            drop(child.wait());
            failed(error)
        })
    }

    fn error(&self, status: ExitStatus, talk: &str, has_blocks: bool) -> CompileCodeError {
        let CompileLimits {
            memory_bytes_max,
            cpu_seconds_max,
        } = self.limits;
        let signal = status.signal();
        let is = |wanted: Signal| signal == Some(wanted.as_raw());
        if is(Signal::XCPU) {
            return CompileCodeError::TooExpensive(format!(
                "compiling it takes more than {cpu_seconds_max} s of CPU time; make the component smaller or its functions \
                 shorter, or raise plugins.compile-time"
            ));
        }
        if is(Signal::KILL) {
            return CompileCodeError::TooExpensive(format!(
                "compiling it was ended by the system: for lack of memory on the machine, or beyond {cpu_seconds_max} s of \
                 CPU time (plugins.compile-time); make the component smaller, push it again when the machine has less to do, give the \
                 machine (or its container) more memory, or raise plugins.compile-time"
            ));
        }
        if talk.contains("overflowed its stack") || is(Signal::SEGV) || is(Signal::BUS) {
            return CompileCodeError::TooExpensive(
                "compiling it overflows the stack of the compiler: it nests too deeply; make its functions smaller".to_owned(),
            );
        }
        // An allocation that fails ends the process, and so does a thread that cannot be started.
        let is_memory = [
            "memory allocation of",
            "annot allocate memory",
            "os error 11",
        ]
        .iter()
        .any(|words| talk.contains(words));
        if is(Signal::ABORT) || is_memory {
            // Of this, functions from earlier uploads take a part, if there are any.
            let or_fewer_functions = if has_blocks {
                ", or lower plugins.compiled-functions, which takes a part of it"
            } else {
                ""
            };
            return CompileCodeError::TooExpensive(format!(
                "compiling it takes more than {} MiB of address space (plugins.compile-memory), or more memory or threads than \
                 the machine gives; make the component smaller or its functions shorter, or raise \
                 plugins.compile-memory{or_fewer_functions}",
                memory_bytes_max >> 20
            ));
        }
        if status.code() == Some(PANICKED) {
            return CompileCodeError::Refused(format!("the compiler gave up on it ({talk})"));
        }
        if status.code() == Some(REFUSED) {
            return CompileCodeError::Refused(talk.to_owned());
        }
        CompileCodeError::Failed(format!("the compiler process ended with {status}: {talk}"))
    }
}

fn bytes_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn too_large() -> CompileCodeError {
    CompileCodeError::TooExpensive(format!(
        "its machine code has more than {} MiB, which is the most; make the component smaller",
        CODE_BYTES_MAX >> 20
    ))
}

impl Question<'_> {
    /// One byte more than the largest answer that is taken.
    fn answer_bytes_max(&self) -> u64 {
        CODE_BYTES_MAX + self.block_bytes_max + ANSWER_HEAD_BYTES as u64 + 1
    }
}

/// What the child answered.
fn exchange(child: &mut Child, question: &Question<'_>) -> io::Result<Vec<u8>> {
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early says why by its status.
        drop(question.write(&mut stdin));
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(question.answer_bytes_max())
            .read_to_end(&mut answer)?;
    }
    Ok(answer)
}

/// The beginning of what the child says. The rest is read, too, so that it can say it and end: a
/// compiler that refuses or panics quotes names of any length.
fn listen(mut stderr: ChildStderr) -> Vec<u8> {
    let mut talk = Vec::new();
    let most = u64::try_from(DETAIL_BYTES_MAX).unwrap_or(u64::MAX);
    // Its status says how it ended; a talk that breaks off only says less of why.
    drop((&mut stderr).take(most).read_to_end(&mut talk));
    drop(io::copy(&mut stderr, &mut io::sink()));
    talk
}

fn kill(pid: Pid) {
    // It cannot fail: a child of ours that is not reaped yet is there.
    let _: rustix::io::Result<()> = kill_process(pid, Signal::KILL);
}
