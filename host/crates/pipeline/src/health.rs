//! How an incarnation is: the worst of what its parts report.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::Clock;
use parking_lot::Mutex;

/// How a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Events flow.
    Running,
    /// It does not match; nothing is queued.
    Disabled,
    /// Its courier waits for room among the dead letters, or for its plugin.
    Paused,
    /// Its plugin fails on most events, or does not load.
    Faulted,
    /// RocketMQ cannot be reached or refuses; it is tried again.
    Retrying,
    /// It does not match; what is queued is on its way.
    Draining,
}

impl Health {
    /// The name in the API and in metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Disabled => "disabled",
            Self::Paused => "paused",
            Self::Faulted => "faulted",
            Self::Retrying => "retrying",
            Self::Draining => "draining",
        }
    }

    /// The worse, the larger; 0 for what is well.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Faulted => 3,
            Self::Paused => 2,
            Self::Retrying => 1,
            Self::Running | Self::Disabled | Self::Draining => 0,
        }
    }
}

#[derive(Debug)]
struct State {
    /// By part (`plugin`, `route`, `queue broker-a:0`): what is wrong with it.
    problems: BTreeMap<String, (Health, String)>,
    since_ms: u64,
}

/// The problems of one incarnation: a few parts, and up to three per queue that has slots.
#[derive(Debug)]
pub(crate) struct HealthCell {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl HealthCell {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let since_ms = clock.now_ms();
        Self {
            clock,
            state: Mutex::new(State {
                problems: BTreeMap::new(),
                since_ms,
            }),
        }
    }

    /// Reports a problem of `part`. True if the part was fine before.
    pub(crate) fn report(&self, part: &str, health: Health, reason: String) -> bool {
        let mut state = self.state.lock();
        let old = state.problems.insert(part.to_owned(), (health, reason));
        if old.as_ref().is_none_or(|(before, _)| *before != health) {
            state.since_ms = self.clock.now_ms();
        }
        old.is_none()
    }

    /// Reports that `part` is fine. True if it was not before.
    pub(crate) fn clear(&self, part: &str) -> bool {
        let mut state = self.state.lock();
        let was_there = state.problems.remove(part).is_some();
        if was_there && state.problems.is_empty() {
            state.since_ms = self.clock.now_ms();
        }
        was_there
    }

    /// The worst problem, if there is one, and since when the state is what it is.
    pub(crate) fn worst(&self) -> (Option<(Health, String)>, u64) {
        let state = self.state.lock();
        (
            state
                .problems
                .values()
                .max_by_key(|(health, _)| health.rank())
                .cloned(),
            state.since_ms,
        )
    }
}
