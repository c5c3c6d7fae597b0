//! The host as a plugin's native tests see it: everything is kept per thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::Level;

/// More lines than a test looks at; later ones are dropped.
const LINES_MAX: usize = 10_000;

thread_local! {
    static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static COUNTERS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
}

pub(super) fn log(level: Level, message: &str) {
    LOG.with_borrow_mut(|lines| {
        if lines.len() < LINES_MAX {
            lines.push((level, message.to_owned()));
        }
    });
}

pub(super) fn add(name: &str, delta: u64) {
    COUNTERS.with_borrow_mut(|counters| {
        let counter = counters.entry(name.to_owned()).or_default();
        *counter = counter.saturating_add(delta);
    });
}

/// The lines this thread logged since the last call. Native only.
#[must_use]
pub fn take_log() -> Vec<(Level, String)> {
    LOG.take()
}

/// The counters of this thread since the last call. Native only.
#[must_use]
pub fn take_counters() -> BTreeMap<String, u64> {
    COUNTERS.take()
}

#[cfg(test)]
mod tests {
    use crate::{Level, host};

    #[test]
    fn lines_and_counters_are_read_back_once() {
        host::log(Level::Warn, "line");
        host::add("mapped", 2);
        host::add("mapped", 3);
        assert_eq!(host::take_log(), [(Level::Warn, "line".to_owned())]);
        assert_eq!(host::take_counters(), [("mapped".to_owned(), 5)].into());
        assert!(host::take_log().is_empty());
        assert!(host::take_counters().is_empty());
    }
}
