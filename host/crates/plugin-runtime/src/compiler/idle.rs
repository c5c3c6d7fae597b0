//! Compiles with what is left of the processors, and with a little of them if nothing is.
//!
//! A low priority alone is not enough for those who map events meanwhile: the system lets a thread that it chose go on
//! until its next tick, up to 4 ms, whatever its priority, and a mapping wakes a thread twice. A thread of Linux's idle class
//! gives way at once. It gets nothing at all where others always want all processors, so then a second
//! compilation begins in turn with them.

use std::io;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::Engine;

use crate::engine;

/// How often it is asked whether the idle thread gets on.
const PATIENCE: Duration = Duration::from_secs(5);
/// As the first thread of a process has it: deeply nested functions need much.
const STACK_BYTES: usize = 8 << 20;

/// The machine code of `component`, or why the compiler refused it; the compiler's panic is the caller's.
///
/// # Errors
///
/// When a thread or the engine cannot be started.
pub(super) fn precompile(component: Vec<u8>) -> io::Result<Result<Vec<u8>, String>> {
    let (tell, told) = mpsc::channel();
    // For both threads; this process ends with it.
    let component: &[u8] = component.leak();
    let idle = thread::Builder::new()
        .name("compile-idle".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            if give_way() {
                // Whoever has the code already does not listen.
                drop(tell.send(compile(component, true)));
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
    compile(component, false)
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

fn compile(component: &[u8], is_parallel: bool) -> io::Result<Result<Vec<u8>, String>> {
    let mut settings = engine::settings();
    settings.parallel_compilation(is_parallel);
    let engine = Engine::new(&settings).map_err(io::Error::other)?;
    let code = engine.precompile_component(component);
    Ok(code.map_err(|error| format!("{error:#}")))
}
