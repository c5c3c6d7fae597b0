//! The jobs and the warm instances of one mapper, and what its calls were like.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Job, Lane, Turn};
use crate::instance::Instance;

/// CPU time used counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(1);
/// The longest mean CPU time of the calls of one turn that counts as quick.
const QUICK_CALL: Duration = Duration::from_millis(1);
/// Calls in a row, all quick and without a fault, that bring a mapper into the quick lane.
const QUICK_CALLS: u32 = 8;

/// One mapper in the eyes of the scheduler.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) jobs: VecDeque<Job>,
    /// Warm instances that no thread works with; never more than threads that one mapper may hold.
    pub(super) idle: Vec<Instance>,
    /// Threads that work for it.
    pub(super) running: usize,
    /// The line that it stands in.
    pub(super) waits_in: Option<Lane>,
    used: Used,
    quick_calls: u32,
}

/// CPU time that counts less and less.
#[derive(Default)]
struct Used {
    time: Duration,
    /// When that was so; never, if it used none.
    at: Option<Instant>,
}

impl Used {
    fn lately(&self, now: Instant) -> Duration {
        let Some(at) = self.at else {
            return Duration::ZERO;
        };
        let age = now.saturating_duration_since(at);
        let half_lives = age.as_nanos() / HALF_LIFE.as_nanos();
        let nanos = u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX);
        let shift = u32::try_from(half_lives).unwrap_or(u32::MAX);
        Duration::from_nanos(nanos.checked_shr(shift).unwrap_or(0))
    }

    fn add(&mut self, time: Duration, now: Instant) {
        // What is younger than a half-life keeps its age, or a mapper with many short turns would never forget.
        let is_due = self
            .at
            .is_none_or(|at| now.saturating_duration_since(at) >= HALF_LIFE);
        if is_due {
            self.time = self.lately(now);
            self.at = Some(now);
        }
        self.time = self.time.saturating_add(time);
    }
}

impl Queue {
    /// Which threads should work for it next.
    pub(super) fn lane(&self) -> Lane {
        if self.quick_calls >= QUICK_CALLS && !self.idle.is_empty() {
            Lane::Quick
        } else {
            Lane::Slow
        }
    }

    /// CPU time that it used in the last seconds, old use counting less.
    pub(super) fn used_lately(&self, now: Instant) -> Duration {
        self.used.lately(now)
    }

    /// A thread ends its work for the mapper.
    pub(super) fn end_turn(&mut self, turn: Turn, now: Instant) {
        self.running = self.running.saturating_sub(1);
        self.used.add(turn.cpu, now);
        let calls_cpu = turn.cpu.saturating_sub(turn.starts_cpu);
        let is_quick = calls_cpu <= QUICK_CALL.saturating_mul(turn.calls.max(1));
        self.quick_calls = if turn.is_faulty || !is_quick {
            0
        } else {
            self.quick_calls.saturating_add(turn.calls)
        };
        if let Some(job) = turn.unfinished {
            self.jobs.push_front(job);
        }
        self.idle.extend(turn.instance);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{HALF_LIFE, Used};

    #[test]
    fn what_was_used_counts_half_after_each_half_life() {
        let begin = Instant::now();
        let mut used = Used::default();
        assert_eq!(used.lately(begin), Duration::ZERO);
        used.add(Duration::from_millis(64), begin);
        let after = |half_lives| used.lately(begin + HALF_LIFE * half_lives);
        assert_eq!(after(0).as_millis(), 64);
        assert_eq!(after(1).as_millis(), 32);
        assert_eq!(after(3).as_millis(), 8);
        assert_eq!(after(1000), Duration::ZERO);
    }

    #[test]
    fn many_short_turns_do_not_keep_old_use_young() {
        let begin = Instant::now();
        let mut used = Used::default();
        used.add(Duration::from_millis(64), begin);
        for step in 1..=40 {
            used.add(Duration::ZERO, begin + HALF_LIFE / 10 * step);
        }
        assert_eq!(used.lately(begin + HALF_LIFE * 4).as_millis(), 4);
    }
}
