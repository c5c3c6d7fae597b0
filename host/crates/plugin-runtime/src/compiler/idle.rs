//! Compiles with what is left of the processors, and with a little of them if nothing is.
//!
//! A low priority alone is not enough for those who map events meanwhile: the system lets a thread that it chose go on
//! until its next tick, up to 4 ms, whatever its priority, and a mapping wakes a thread twice. A thread of Linux's idle class
//! gives way at once. It gets nothing at all where others always want all processors, so then a second
//! compilation begins in turn with them.

use std::io;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::Engine;

use super::functions::KnownFunctions;
use super::pipes::{Answer, Question};
use crate::engine;

/// How often it is asked whether the idle thread gets on.
const PATIENCE: Duration = Duration::from_secs(5);
/// As the first thread of a process has it: deeply nested functions need much.
const STACK_BYTES: usize = 8 << 20;

/// The machine code that is asked for, or why the compiler refused the component; the compiler's panic is the caller's.
///
/// # Errors
///
/// When a thread or the engine cannot be started.
pub(super) fn precompile(question: &Question<'static>) -> io::Result<Result<Answer, String>> {
    let (tell, told) = mpsc::channel();
    let of_idle = question.clone();
    let idle = thread::Builder::new()
        .name("compile-idle".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            if give_way() {
                // Whoever has the code already does not listen.
                drop(tell.send(compile(&of_idle, is_parallel(&of_idle))));
            }
        })?;
    loop {
        let before = clock_gettime(ClockId::ProcessCPUTime);
        match told.recv_timeout(PATIENCE) {
            Ok(code) => return code,
            Err(RecvTimeoutError::Disconnected) => {
                if let Err(panicked) = idle.join() {
                    panic::resume_unwind(panicked);
                }
                // There is no such class.
                break;
            }
            Err(RecvTimeoutError::Timeout) => {
                let used = clock_gettime(ClockId::ProcessCPUTime) - before;
                if Duration::try_from(used).unwrap_or_default() < PATIENCE / 2 {
                    break;
                }
            }
        }
    }
    // On this thread alone: those that share the work are of the idle class, too.
    compile(question, false)
}

/// Where functions are known, one thread is fast enough. A processor that has a thread of the idle class never runs empty, so it
/// does not look for threads that wait for another one: with work for all of them, they would wait until the next tick.
/// Whether the functions are those of this component turns out as it is compiled. One to which none fits has one thread all the
/// same: it is a small one (see `functions`), and takes twice the time at most.
fn is_parallel(question: &Question<'_>) -> bool {
    question.blocks.is_empty()
}

/// This thread, and those that it starts, give way to everybody; whether the system lets them.
#[cfg(target_os = "linux")]
fn give_way() -> bool {
    use thread_priority::unix::{
        NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let own = thread_native_id();
    set_thread_priority_and_policy(own, thread_priority::ThreadPriority::Min, idle).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn give_way() -> bool {
    false
}

/// Each call has functions of its own: the first may go on while the second does.
fn compile(question: &Question<'static>, is_parallel: bool) -> io::Result<Result<Answer, String>> {
    let functions = KnownFunctions::of(question).map(Arc::new);
    let mut settings = engine::settings();
    settings.parallel_compilation(is_parallel);
    if let Some(functions) = &functions {
        settings
            .enable_incremental_compilation(Arc::clone(functions) as _)
            .map_err(io::Error::other)?;
    }
    let engine = Engine::new(&settings).map_err(io::Error::other)?;
    let code = engine.precompile_component(question.component);
    Ok(code
        .map(|code| Answer {
            code,
            functions: functions.map(|it| it.told()).unwrap_or_default(),
        })
        .map_err(|error| format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::{ACCEPT, component};

    fn compiled(map: &str, blocks: &[&'static [u8]]) -> Answer {
        let question = Question {
            block_bytes_max: 1 << 20,
            component: component(ACCEPT, map).leak(),
            blocks: blocks.to_vec(),
        };
        precompile(&question).unwrap().unwrap()
    }

    #[test]
    fn functions_from_before_spare_work_and_change_no_code() {
        let first = compiled("(i32.const 1024)", &[]);
        let (count, block) = (first.functions.compiled, first.functions.block);
        assert!(first.functions.reused == 0 && count > 0 && !block.is_empty());
        let block: &'static [u8] = block.leak();

        let again = compiled("(i32.const 1024)", &[block]);
        let (reused, compiled_anew) = (again.functions.reused, again.functions.compiled);
        assert_eq!(reused + compiled_anew, count);
        // The keys of a few of the engine's own functions differ from one compilation to the next.
        assert!(compiled_anew <= count / 8, "{compiled_anew}");
        assert!(again.code == first.code);

        let alone = compiled("(i32.const 1100)", &[]);
        // What is behind a cut is not known, and nothing more comes of it.
        for blocks in [[block], [&block[..block.len() / 2]]] {
            let other = compiled("(i32.const 1100)", &blocks);
            assert!(other.functions.reused > 0 && other.functions.compiled > 0);
            assert!(other.code == alone.code);
        }
        assert!(alone.code != first.code);
    }
}
