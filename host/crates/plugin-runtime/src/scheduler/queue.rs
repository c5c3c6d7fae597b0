//! The jobs and the warm instances of one mapper, and what it used lately.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::conduct::Conduct;
use super::{Job, Lane, Turn};
use crate::instance::Instance;

/// CPU time used counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(1);

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
    conduct: Conduct,
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
        // A start is slow, and so may be what needs memory: that of the others goes first.
        let is_short_of_memory = self.jobs.front().is_some_and(Job::is_short_of_memory);
        if self.conduct.is_good() && !self.idle.is_empty() && !is_short_of_memory {
            Lane::Quick
        } else {
            Lane::Slow
        }
    }

    /// CPU time that it used in the last seconds, old use counting less.
    pub(super) fn used_lately(&self, now: Instant) -> Duration {
        self.used.lately(now)
    }

    /// Judges what its calls were like before it had any job.
    pub(super) fn note_trial(&mut self, turn: &Turn) {
        self.conduct.note_trial(turn);
    }

    /// A thread ends its work for the mapper.
    pub(super) fn end_turn(&mut self, turn: Turn, now: Instant) {
        self.running = self.running.saturating_sub(1);
        self.used.add(turn.cpu, now);
        self.conduct.note(&turn, now);
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
