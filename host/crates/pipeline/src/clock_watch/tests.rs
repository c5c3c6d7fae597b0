//! Steps of a wall clock that is set by hand, as the monotonic one is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Clock;

use tokio::time::Instant;

use super::{ClockWatch, STEPS_MAX, Step};

const START_MS: u64 = 1_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Fixture {
    clock: Arc<ManualClock>,
    watch: ClockWatch,
    at: Instant,
}

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(START_MS)));
        let watch = ClockWatch::new(Arc::clone(&clock) as Arc<dyn Clock>, Vec::new());
        let at = watch.state.lock().at;
        Self { clock, watch, at }
    }

    fn before_ms(&self) -> u64 {
        self.watch.before_ms_at(HOUR, self.at)
    }

    /// Lets time pass; the wall clock goes `step_ms` further than that.
    fn pass(&mut self, time: Duration, step_ms: i64) {
        self.at += time;
        let passed_ms = i64::try_from(time.as_millis()).unwrap() + step_ms;
        let now_ms = self.clock.now_ms().checked_add_signed(passed_ms).unwrap();
        self.clock.0.store(now_ms, Ordering::Relaxed);
    }
}

#[test]
fn a_step_is_told_once_with_its_size() {
    let mut it = Fixture::new();
    it.pass(Duration::from_secs(2), 900);
    assert_eq!(it.watch.steps_until(it.at), []);
    it.pass(Duration::from_secs(2), 5_000);
    assert_eq!(it.watch.steps_until(it.at), [Step::Forward(5_000)]);
    it.pass(Duration::from_secs(2), 0);
    assert_eq!(it.watch.steps_until(it.at), []);
    it.pass(Duration::from_secs(2), -7_000);
    assert_eq!(it.watch.steps_until(it.at), [Step::Back(7_000)]);
    assert_eq!(it.watch.steps_until(it.at), []);
}

#[test]
fn a_step_forward_makes_no_event_older() {
    let mut it = Fixture::new();
    assert_eq!(it.before_ms(), START_MS - 3_600_000);
    // A day is skipped: an event of the start is still new, and is old after an hour.
    it.pass(Duration::from_secs(2), 86_400_000);
    assert!(it.before_ms() < START_MS);
    it.pass(HOUR - Duration::from_secs(1), 0);
    assert!(it.before_ms() > START_MS);
    let after_step_ms = START_MS + 86_402_000;
    assert!(it.before_ms() < after_step_ms);
    // An hour after the step, what happened after it is old as well.
    it.pass(Duration::from_secs(2), 0);
    assert_eq!(it.before_ms(), after_step_ms + 1_000);
}

#[test]
fn only_the_last_steps_are_remembered() {
    let mut it = Fixture::new();
    for _ in 0..=STEPS_MAX {
        it.pass(Duration::from_secs(1), 10_000_000);
        assert_eq!(it.watch.steps_until(it.at).len(), 1);
    }
    assert_eq!(it.watch.state.lock().steps.len(), STEPS_MAX);
}

#[test]
fn a_step_counts_after_a_restart_too() {
    let mut it = Fixture::new();
    let day_ms = 86_400_000_i64;
    it.pass(Duration::from_secs(2), day_ms);
    it.watch.steps_until(it.at);
    let again = ClockWatch::new(
        Arc::clone(&it.clock) as Arc<dyn Clock>,
        it.watch.steps_forward(),
    );
    assert_eq!(again.before_ms_at(HOUR, it.at), it.before_ms());
    assert!(it.before_ms() < START_MS);
}
