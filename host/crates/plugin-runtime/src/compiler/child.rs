//! The child's side: takes its limits on, reads what to compile, writes the code.

use std::fmt::Display;
use std::io::{self, Read as _, Write as _};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::pipes::Question;
use super::{CompileLimits, DETAIL_BYTES_MAX, REFUSED, idle};
use crate::guest_channel::cut;

/// What the child does: takes `limits` on, compiles the component from stdin, writes its code to
/// stdout. Returns its exit code; what went wrong is on stderr.
#[must_use]
pub fn compile_stdin(limits: CompileLimits) -> u8 {
    match compile_streams(limits) {
        Ok(()) => 0,
        Err((code, detail)) => {
            // Whoever started this reads it; without them nobody does.
            drop(writeln!(io::stderr(), "{}", cut(&detail, DETAIL_BYTES_MAX)));
            code
        }
    }
}

fn compile_streams(limits: CompileLimits) -> Result<(), (u8, String)> {
    let failed = |what: &str, error: &dyn Display| (1, format!("{what}: {error}"));
    take_on(limits).map_err(|error| failed("limits", &error))?;
    let mut question = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut question)
        .map_err(|error| failed("stdin", &error))?;
    // For all threads; this process ends with it.
    let question = Question::read(question.leak()).ok_or_else(|| {
        let why =
            "what the host sent came in part only; push it again, and report it if it comes again";
        failed("stdin", &why)
    })?;
    let answer = idle::precompile(&question).map_err(|error| failed("engine", &error))?;
    let answer = answer.map_err(|detail| (u8::try_from(REFUSED).unwrap_or(1), detail))?;
    let mut stdout = io::stdout().lock();
    answer
        .write(&mut stdout)
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
