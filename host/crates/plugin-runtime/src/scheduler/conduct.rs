//! Whether a mapper may be in the quick lane, by what its calls were like.
//!
//! A row of good calls earns the lane. Each turn that holds a thread for long, or ends in a fault, doubles the row that is
//! needed next, and only time halves it again: a plugin that behaves just long enough to come back has ever less of the
//! lane.

use std::time::Duration;

use tokio::time::Instant;

use super::Turn;

/// The longest mean CPU time of the calls of one turn that counts as quick.
const QUICK_CALL: Duration = Duration::from_millis(1);
/// One call of more CPU time than this makes its whole turn slow. What is measured lacks the time before the call's first
/// tick, at most a millisecond.
const LONG_CALL: Duration = Duration::from_millis(2);
/// Calls in a row, all in quick turns without a fault, that bring a mapper into the quick lane.
pub(super) const ROW_MIN: u32 = 8;
/// The same after many slow or faulty turns.
pub(super) const ROW_MAX: u32 = 4096;
/// In this time the row that is needed halves.
pub(super) const FORGETTING: Duration = Duration::from_secs(10);

/// The conduct of one mapper.
pub(super) struct Conduct {
    /// Good calls since the last bad turn.
    row: u32,
    row_needed: u32,
    /// Since when the row has been that long; never, if there was no bad turn.
    since: Option<Instant>,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            row: 0,
            row_needed: ROW_MIN,
            since: None,
        }
    }
}

impl Conduct {
    /// Whether its next calls may be expected to be short.
    pub(super) fn is_good(&self) -> bool {
        self.row >= self.row_needed
    }

    /// Judges a turn that ended now.
    pub(super) fn note(&mut self, turn: &Turn, now: Instant) {
        self.forget(now);
        if is_bad(turn) {
            self.row = 0;
            self.row_needed = self.row_needed.saturating_mul(2).min(ROW_MAX);
            self.since = Some(now);
        } else {
            self.row = self.row.saturating_add(turn.calls);
        }
    }

    /// Judges a trial before the first turn. A bad one is no reason to need more: first calls are often slow.
    pub(super) fn note_trial(&mut self, turn: &Turn) {
        if !is_bad(turn) {
            self.row = self.row.saturating_add(turn.calls);
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.row_needed > ROW_MIN {
            let Some(due) = self.since.map(|since| since + FORGETTING) else {
                return;
            };
            if due > now {
                return;
            }
            self.row_needed = (self.row_needed / 2).max(ROW_MIN);
            self.since = Some(due);
        }
    }
}

fn is_bad(turn: &Turn) -> bool {
    let calls_cpu = turn.cpu.saturating_sub(turn.starts_cpu);
    let is_slow = calls_cpu > QUICK_CALL.saturating_mul(turn.calls.max(1));
    turn.is_faulty || is_slow || turn.longest_call > LONG_CALL
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Conduct, FORGETTING, LONG_CALL, ROW_MAX, ROW_MIN};
    use crate::scheduler::Turn;

    fn quick(calls: u32) -> Turn {
        Turn {
            calls,
            ..Turn::default()
        }
    }

    fn faulty() -> Turn {
        Turn {
            is_faulty: true,
            ..quick(9)
        }
    }

    /// How many quick calls it takes from now on.
    fn row(conduct: &mut Conduct, now: Instant) -> u32 {
        let mut row = 0;
        while !conduct.is_good() {
            conduct.note(&quick(1), now);
            row += 1;
        }
        row
    }

    #[test]
    fn each_bad_turn_doubles_the_row_up_to_a_limit() {
        let now = Instant::now();
        let mut conduct = Conduct::default();
        let mut rows = vec![row(&mut conduct, now)];
        for _ in 0..10 {
            conduct.note(&faulty(), now);
            rows.push(row(&mut conduct, now));
        }
        let wanted = [
            ROW_MIN, 16, 32, 64, 128, 256, 512, 1024, 2048, ROW_MAX, ROW_MAX,
        ];
        assert_eq!(rows, wanted);
    }

    #[test]
    fn bad_turns_are_forgotten_with_time() {
        let now = Instant::now();
        let mut conduct = Conduct::default();
        for _ in 0..3 {
            conduct.note(&faulty(), now);
        }
        let later = now + FORGETTING * 2;
        conduct.note(&quick(15), later - Duration::from_millis(1));
        assert!(!conduct.is_good(), "32 are needed until then");
        conduct.note(&quick(1), later);
        assert!(conduct.is_good(), "16 are enough now");
        conduct.note(&faulty(), now + FORGETTING * 1000);
        assert_eq!(row(&mut conduct, now + FORGETTING * 1000), 16);
    }

    #[test]
    fn one_long_call_spoils_a_turn_of_short_ones() {
        let now = Instant::now();
        let mut conduct = Conduct::default();
        let long = |longest_call| Turn {
            cpu: Duration::from_millis(9),
            longest_call,
            ..quick(10)
        };
        conduct.note(&long(LONG_CALL), now);
        assert!(conduct.is_good());
        conduct.note(&long(Duration::from_millis(8)), now);
        assert!(!conduct.is_good());
    }
}
