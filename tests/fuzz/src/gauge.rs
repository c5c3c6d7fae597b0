//! What one step of the product may cost: processor time of this thread, memory of this process.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The most that a step may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Processor time of the calling thread. Not wall-clock time: the machine may be busy.
    pub(crate) cpu: Duration,
    /// Growth of the resident memory while it runs, bytes.
    pub(crate) memory_bytes: u64,
}

/// Runs `step` and says what bound it broke.
pub(crate) fn measure<T>(
    what: &str,
    bounds: Bounds,
    step: impl FnOnce() -> T,
) -> Result<T, String> {
    reset_peak();
    let (memory, cpu) = (status("VmRSS:"), thread_cpu_time());
    let value = step();
    let cpu = thread_cpu_time().saturating_sub(cpu);
    let growth = status("VmHWM:").saturating_sub(memory);
    if cpu > bounds.cpu {
        let (cpu, most) = (cpu.as_millis(), bounds.cpu.as_millis());
        return Err(format!(
            "{what} took {cpu} ms of processor time; the bound is {most}"
        ));
    }
    if growth > bounds.memory_bytes {
        let most = bounds.memory_bytes;
        return Err(format!(
            "{what} took {growth} bytes of memory; the bound is {most}"
        ));
    }
    Ok(value)
}

/// Resident memory of this process, bytes.
pub(crate) fn resident() -> u64 {
    status("VmRSS:")
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Where the kernel does not allow it, growth is counted from the highest point so far.
fn reset_peak() {
    drop(fs::write("/proc/self/clear_refs", "5"));
}

fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        });
    kib.unwrap_or(0) * 1024
}
