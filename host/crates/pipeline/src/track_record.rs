//! How one generation of a rule's plugin does: what it needs to be trusted, and when it is so much
//! worse than the one before it that the rule goes back by itself.
//!
//! Counted are events, not calls: an event on which the plugin failed on all its tries is one failure.
//! A rejection is none, and neither is what the host lacked. While there is an earlier generation, only
//! events that this one can map count as failures: an event that both fail on says nothing of either.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// Fewer failures than these say nothing.
pub(crate) const FAILURES_MIN: u64 = 5;
/// A generation may fail on so many of a hundred events.
pub(crate) const RATE_PERCENT_MIN: u64 = 5;
/// And on so many times as many as the one before it.
pub(crate) const RATE_FACTOR: u64 = 2;
/// Events after which all counts are halved, so that the recent ones weigh more.
const WINDOW_EVENTS: u64 = 1000;
/// A generation that mapped so many events is proven, if it failed on few.
///
/// See [`TrackRecord::is_doubtful`] for how few.
const PROVEN_EVENTS: u64 = 100;
/// One failure in so many events is no reason for doubt.
const DOUBT_EVENTS: u64 = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// In the window.
    events: u64,
    /// In the window.
    failures: u64,
    /// All of them.
    events_ever: u64,
    /// All of them.
    failures_ever: u64,
}

/// What a generation did since it was loaded. Shared by all workers of its rule.
#[derive(Debug, Default)]
pub(crate) struct TrackRecord {
    counts: Mutex<Counts>,
    /// The version that maps in its place until the rule has gone back; 0: none, it maps itself.
    replaced_by: AtomicU32,
}

impl TrackRecord {
    /// It mapped, skipped or rejected `events` events.
    pub(crate) fn worked(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.counts.lock().add(events, 0);
    }

    /// It failed on an event.
    pub(crate) fn failed(&self) {
        self.counts.lock().add(1, 1);
    }

    /// In the window: events, and those that it failed on.
    pub(crate) fn recent(&self) -> (u64, u64) {
        let counts = self.counts.lock();
        (counts.events, counts.failures)
    }

    /// Whether it mapped enough events, and failed on few.
    pub(crate) fn is_proven(&self) -> bool {
        let events = self.counts.lock().events_ever;
        events >= PROVEN_EVENTS && !self.is_doubtful() && !self.is_bad()
    }

    /// Whether it failed on more than one in a thousand of all its events.
    pub(crate) fn is_doubtful(&self) -> bool {
        let counts = self.counts.lock();
        counts.failures_ever * DOUBT_EVENTS > counts.events_ever
    }

    /// Whether it failed on more events than a generation may.
    pub(crate) fn is_bad(&self) -> bool {
        let (events, failures) = self.recent();
        failures > 0 && failures * 100 > events * RATE_PERCENT_MIN
    }

    /// Whether its failures are enough to go back to `earlier`.
    pub(crate) fn is_worse_than(&self, earlier: &Self) -> bool {
        let (events, failures) = self.recent();
        let (events_before, failures_before) = earlier.recent();
        failures >= FAILURES_MIN
            && failures * 100 > events * RATE_PERCENT_MIN
            // Rates compared without division: f/e > factor × f'/e'.
            && failures * events_before.max(1) > RATE_FACTOR * failures_before * events
    }

    /// Lets `version` map in its place from now on. False if one does already.
    pub(crate) fn replace_by(&self, version: u32) -> bool {
        let swapped =
            self.replaced_by
                .compare_exchange(0, version, Ordering::AcqRel, Ordering::Acquire);
        swapped.is_ok()
    }

    /// Lets it map itself again.
    pub(crate) fn reinstate(&self) {
        self.replaced_by.store(0, Ordering::Release);
    }

    /// The version that maps in its place.
    pub(crate) fn replaced_by(&self) -> Option<u32> {
        Some(self.replaced_by.load(Ordering::Acquire)).filter(|version| *version > 0)
    }
}

impl Counts {
    fn add(&mut self, events: u64, failures: u64) {
        self.events += events;
        self.failures += failures;
        self.events_ever += events;
        self.failures_ever += failures;
        while self.events >= WINDOW_EVENTS {
            self.events /= 2;
            self.failures /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TrackRecord;

    fn record(worked: usize, failed: usize) -> TrackRecord {
        let record = TrackRecord::default();
        record.worked(worked);
        (0..failed).for_each(|_| record.failed());
        record
    }

    #[test]
    fn a_few_failures_or_a_low_rate_are_not_enough() {
        let good = record(1000, 0);
        assert!(!record(0, 4).is_worse_than(&good));
        assert!(record(0, 5).is_worse_than(&good));
        assert!(!record(95, 5).is_worse_than(&good));
        assert!(record(94, 5).is_worse_than(&good));
        assert!(record(94, 5).is_worse_than(&TrackRecord::default()));
    }

    #[test]
    fn it_must_be_twice_as_bad_as_the_one_before() {
        let bad = record(90, 10);
        assert!(!record(80, 20).is_worse_than(&bad));
        assert!(record(79, 21).is_worse_than(&bad));
    }

    #[test]
    fn only_recent_events_count() {
        let record = record(1_000_000, 0);
        (0..100).for_each(|_| record.failed());
        assert!(record.is_worse_than(&TrackRecord::default()));
        assert!(record.is_bad() && !record.is_proven());
        record.worked(10_000);
        record.worked(400);
        record.worked(600);
        record.worked(900);
        record.worked(900);
        assert!(!record.is_bad());
    }

    #[test]
    fn a_generation_is_proven_by_many_events_and_few_failures() {
        assert!(!record(99, 0).is_proven());
        assert!(record(100, 0).is_proven());
        assert!(!record(998, 1).is_proven());
        assert!(record(999, 1).is_proven());
    }

    #[test]
    fn it_is_replaced_once() {
        let record = TrackRecord::default();
        assert_eq!(record.replaced_by(), None);
        assert!(record.replace_by(2) && !record.replace_by(1));
        assert_eq!(record.replaced_by(), Some(2));
        record.reinstate();
        assert_eq!(record.replaced_by(), None);
    }
}
