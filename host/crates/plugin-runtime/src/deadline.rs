//! How long a call may take: CPU time of its thread, with a generous cap in wall-clock time.
//!
//! CPU time, so that a busy machine does not make a healthy plugin look broken. The clock is read at
//! ticks only, so a call shorter than a tick pays nothing; the price is that a call may run a tick
//! longer than its deadline.

use std::time::Duration;

use tokio::time::Instant;

/// A machine that gives a thread less than a tenth of a core is not the plugin's fault, but the
/// thread is needed.
const WALL_CLOCK_FACTOR: u32 = 10;

/// A call that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call exceeded its deadline")]
pub(crate) struct DeadlineExceeded {
    /// CPU time that the call may use.
    pub(crate) deadline: Duration,
    /// Whether it used that much, or only its wall-clock cap.
    pub(crate) is_cpu_time: bool,
}

/// The deadline of the present call.
#[derive(Debug, Default)]
pub(crate) struct CallDeadline {
    deadline: Duration,
    /// CPU time and wall-clock time at the call's first tick.
    since: Option<(Duration, Instant)>,
    used: Duration,
    exceeded: Option<DeadlineExceeded>,
}

impl CallDeadline {
    /// A call begins.
    pub(crate) fn begin(&mut self, deadline: Duration) {
        *self = Self {
            deadline,
            since: None,
            used: Duration::ZERO,
            exceeded: None,
        };
    }

    /// Why the call was stopped, if it was for its time.
    pub(crate) fn exceeded(&self) -> Option<DeadlineExceeded> {
        self.exceeded
    }

    /// CPU time of the call between its first and its last tick: zero for a short call, up to two ticks less than it had
    /// for a longer one.
    pub(crate) fn used(&self) -> Duration {
        self.used
    }

    /// A tick during the call.
    pub(crate) fn on_tick(&mut self) -> Result<(), DeadlineExceeded> {
        let now = (thread_cpu_time(), Instant::now());
        let (cpu_since, wall_since) = *self.since.get_or_insert(now);
        self.used = now.0.saturating_sub(cpu_since);
        let is_cpu_time = self.used >= self.deadline;
        let wall_max = self.deadline.saturating_mul(WALL_CLOCK_FACTOR);
        if is_cpu_time || now.1.saturating_duration_since(wall_since) >= wall_max {
            let exceeded = DeadlineExceeded {
                deadline: self.deadline,
                is_cpu_time,
            };
            self.exceeded = Some(exceeded);
            return Err(exceeded);
        }
        Ok(())
    }
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CallDeadline, thread_cpu_time};

    #[test]
    fn what_a_call_used_is_seen_from_its_first_tick_on() {
        let mut deadline = CallDeadline::default();
        deadline.begin(Duration::from_secs(20));
        deadline.on_tick().unwrap();
        assert_eq!(deadline.used(), Duration::ZERO);
        let begin = thread_cpu_time();
        while thread_cpu_time() - begin < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        deadline.on_tick().unwrap();
        assert!(deadline.used() >= Duration::from_millis(3));
        deadline.begin(Duration::from_secs(20));
        assert_eq!(deadline.used(), Duration::ZERO, "the next call");
    }
}
