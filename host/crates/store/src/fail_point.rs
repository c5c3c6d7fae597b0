//! Named points where a test kills the process, as a power cut at the worst moment would.
//!
//! `RULEMILL_FAIL_POINT=before-commit:3` kills it with SIGKILL when it reaches that point for the
//! third time. Compiled only with debug assertions or the feature `fail-points`; else [`reached`] is empty.

/// A point that events pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailPoint {
    /// An event is about to enter the outbox.
    BeforeAppend,
    /// Events entered, their commit has not begun.
    BeforeCommit,
    /// Events are committed; nobody has been told.
    AfterCommit,
    /// RocketMQ stored messages; their events are not settled.
    AfterSend,
    /// The file is about to be compacted (first pass), is being compacted (a pass for each write),
    /// or was just compacted (last pass).
    Compaction,
    /// Between the transactions of a recovery.
    StartUp,
    /// A new version of a plugin is in a transaction that is not committed (odd passes), or its transaction is
    /// committed and nothing has taken it up yet (even passes).
    Push,
}

impl FailPoint {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::BeforeAppend,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::AfterSend,
        Self::Compaction,
        Self::StartUp,
        Self::Push,
    ];

    /// The name in the environment.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeAppend => "before-append",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::AfterSend => "after-send",
            Self::Compaction => "compaction",
            Self::StartUp => "start-up",
            Self::Push => "push",
        }
    }
}

/// Kills the process if the environment says so for this pass of `point`.
#[cfg(any(debug_assertions, feature = "fail-points"))]
pub fn reached(point: FailPoint) {
    armed::reached(point);
}

/// Runs a compaction.
pub(crate) fn compacting<T>(work: impl FnOnce() -> T) -> T {
    reached(FailPoint::Compaction);
    #[cfg(any(debug_assertions, feature = "fail-points"))]
    let _compacting = armed::Compacting::begin();
    let result = work();
    reached(FailPoint::Compaction);
    result
}

#[cfg(any(debug_assertions, feature = "fail-points"))]
pub(crate) use armed::{is_armed, is_compacting};

#[cfg(any(debug_assertions, feature = "fail-points"))]
pub(crate) mod watched_file;

/// Does nothing.
#[cfg(not(any(debug_assertions, feature = "fail-points")))]
pub fn reached(_: FailPoint) {}

#[cfg(any(debug_assertions, feature = "fail-points"))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::FailPoint;

    const VARIABLE: &str = "RULEMILL_FAIL_POINT";

    /// Where to die, and how many passes are left until then.
    struct Armed {
        point: FailPoint,
        passes_left: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    /// So many threads compact a file.
    static COMPACTING: AtomicU64 = AtomicU64::new(0);

    /// While it lives, writes count as passes.
    pub(super) struct Compacting;

    impl Compacting {
        pub(super) fn begin() -> Self {
            COMPACTING.fetch_add(1, Ordering::SeqCst);
            Self
        }
    }

    impl Drop for Compacting {
        fn drop(&mut self) {
            COMPACTING.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a file is being compacted.
    pub(crate) fn is_compacting() -> bool {
        COMPACTING.load(Ordering::SeqCst) > 0
    }

    /// Whether the process is to die at `point`.
    pub(crate) fn is_armed(point: FailPoint) -> bool {
        armed().is_some_and(|armed| armed.point == point)
    }

    pub(super) fn reached(point: FailPoint) {
        let Some(armed) = armed() else {
            return;
        };
        if armed.point == point && armed.passes_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // It cannot fail for the own process; if it did, the test would see a process that lives.
            let _: rustix::io::Result<()> = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }

    fn armed() -> Option<&'static Armed> {
        let read = || {
            let (point, passes) = parse(&std::env::var(VARIABLE).ok()?)?;
            Some(Armed {
                point,
                passes_left: AtomicU64::new(passes),
            })
        };
        ARMED.get_or_init(read).as_ref()
    }

    /// `name:passes`; passes are at least 1. Anything else arms nothing.
    pub(super) fn parse(value: &str) -> Option<(FailPoint, u64)> {
        let (name, passes) = value.split_once(':')?;
        let point = FailPoint::ALL
            .into_iter()
            .find(|point| point.as_str() == name)?;
        let passes = passes.parse().ok().filter(|passes| *passes > 0)?;
        Some((point, passes))
    }
}

#[cfg(all(test, any(debug_assertions, feature = "fail-points")))]
mod tests {
    use super::armed::parse;
    use super::*;

    #[test]
    fn a_point_is_named_with_the_pass_that_kills() {
        for point in FailPoint::ALL {
            let value = format!("{}:7", point.as_str());
            assert_eq!(parse(&value), Some((point, 7)));
        }
        for value in [
            "",
            "before-commit",
            "before-commit:",
            "before-commit:0",
            "x:1",
            ":1",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}
