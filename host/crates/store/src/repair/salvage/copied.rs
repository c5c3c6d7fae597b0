//! One sealed table while it is copied: what it had, what is missing where, and what came from where.

use std::collections::BTreeSet;

use crate::record::EventKey;
use crate::repair::report::TableRepair;
use crate::repair::survey::Seal;
use crate::repair::walk::KeyRange;

/// A sealed table.
#[derive(Default)]
pub(super) struct Copied {
    /// Rows that it had; `None` if that is not known.
    pub(super) expected: Option<u64>,
    /// Where rows are missing.
    pub(super) lost: Vec<KeyRange>,
    /// Rows with larger numbers are missing, too: the commit that is copied is not the last one. `None` if it is.
    pub(super) later_than: Option<u64>,
    pub(super) kept: u64,
    pub(super) from_older_commit: u64,
    pub(super) from_free_pages: u64,
    /// Of these two, rows whose key a damaged page has: they are what it had.
    pub(super) restored: u64,
    /// Keys of rows of damaged pages that do not hold.
    pub(super) unreadable: BTreeSet<EventKey>,
}

impl Copied {
    pub(super) fn total(&self) -> u64 {
        self.kept + self.from_older_commit + self.from_free_pages
    }

    /// Rows that it had and that were not found: at most, since not every key can be read.
    pub(super) fn gone(&self) -> u64 {
        let found = self.kept + self.restored;
        self.expected
            .map_or(0, |expected| expected.saturating_sub(found))
    }

    pub(super) fn is_complete(&self) -> bool {
        let is_whole = self.lost.is_empty() || self.expected.is_some() && self.gone() == 0;
        is_whole && self.later_than.is_none()
    }

    /// Whether the row came after the commit that is copied.
    pub(super) fn is_later(&self, (_, _, number): EventKey) -> bool {
        self.later_than.is_some_and(|last| number > last)
    }

    pub(super) fn misses(&self, seal: Seal, key: EventKey) -> bool {
        let bound = |bound: &Option<Vec<u8>>| bound.as_deref().and_then(|bound| seal.key(bound));
        let is_lost = self.lost.iter().any(|range| {
            bound(&range.above).is_none_or(|above| key > above)
                && bound(&range.up_to).is_none_or(|up_to| key <= up_to)
        });
        is_lost || self.is_later(key)
    }

    /// What a report says of it.
    pub(super) fn report(&self, name: &str) -> TableRepair {
        TableRepair {
            table: name.to_owned(),
            kept: self.total(),
            from_older_commit: self.from_older_commit,
            from_free_pages: self.from_free_pages,
            restored: self.restored,
            lost: self.gone(),
        }
    }
}
