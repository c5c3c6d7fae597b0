//! The wall clock against the monotonic one: steps are told, and do not make events look old.
//!
//! Times of events never go back whatever the clock does: that is the outbox's. A step forward
//! would let everything before it expire at once; its size is taken off the age of those events.

use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Less is a slow correction, or a busy machine.
const STEP_MS_MIN: u64 = 1000;
/// Steps that are remembered; events before a forgotten one look older than they are.
const STEPS_MAX: usize = 16;

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// By so many milliseconds.
    Forward(u64),
    /// By so many milliseconds.
    Back(u64),
}

#[derive(Debug)]
struct State {
    wall_ms: u64,
    at: Instant,
    /// Where each step forward ended, UNIX milliseconds, and its size, milliseconds; oldest first.
    steps: Vec<(u64, u64)>,
    /// Steps that nobody has heard of.
    untold: Vec<Step>,
}

/// Watches the clock; looks whenever it is asked something.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl ClockWatch {
    /// `steps` are what [`ClockWatch::steps_forward`] gave before a restart.
    pub(crate) fn new(clock: Arc<dyn Clock>, mut steps: Vec<(u64, u64)>) -> Self {
        steps.truncate(STEPS_MAX);
        let state = State {
            wall_ms: clock.now_ms(),
            at: Instant::now(),
            steps,
            untold: Vec::new(),
        };
        Self {
            clock,
            state: Mutex::new(state),
        }
    }

    /// The steps since the last call.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps_until(Instant::now())
    }

    fn steps_until(&self, now: Instant) -> Vec<Step> {
        let mut state = self.state.lock();
        state.look(self.clock.now_ms(), now);
        std::mem::take(&mut state.untold)
    }

    /// Where each step forward ended, UNIX milliseconds, and its size, milliseconds. To be kept: events outlive a restart.
    pub(crate) fn steps_forward(&self) -> Vec<(u64, u64)> {
        self.state.lock().steps.clone()
    }

    /// Events that entered before this, UNIX milliseconds, are older than `age`.
    pub(crate) fn before_ms(&self, age: Duration) -> u64 {
        self.before_ms_at(age, Instant::now())
    }

    fn before_ms_at(&self, age: Duration, now: Instant) -> u64 {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let wall_ms = self.clock.now_ms();
        let mut state = self.state.lock();
        state.look(wall_ms, now);
        let mut before_ms = wall_ms.saturating_sub(age_ms);
        for (end_ms, size_ms) in state.steps.iter().rev() {
            if before_ms >= *end_ms {
                break;
            }
            before_ms = before_ms.saturating_sub(*size_ms);
        }
        before_ms
    }
}

impl State {
    fn look(&mut self, wall_ms: u64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_millis();
        let elapsed_ms = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let expected_ms = self.wall_ms.saturating_add(elapsed_ms);
        (self.wall_ms, self.at) = (wall_ms, now);
        let step = if wall_ms > expected_ms.saturating_add(STEP_MS_MIN) {
            let size_ms = wall_ms - expected_ms;
            push(&mut self.steps, (wall_ms, size_ms));
            Step::Forward(size_ms)
        } else if expected_ms > wall_ms.saturating_add(STEP_MS_MIN) {
            Step::Back(expected_ms - wall_ms)
        } else {
            return;
        };
        push(&mut self.untold, step);
    }
}

/// Adds to a list of at most [`STEPS_MAX`]; the oldest makes room.
fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == STEPS_MAX {
        list.remove(0);
    }
    list.push(item);
}

#[cfg(test)]
mod tests;
