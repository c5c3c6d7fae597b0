//! How many events of an incarnation ended how. These numbers are stored and only grow, but for an event that turns out
//! to have been delivered.

use super::IncarnationCounts;
use super::commit::SettledAs;
use super::tables::TallyRow;

/// The part of the counts that is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) recorded: u64,
    pub(crate) replayed: u64,
    pub(crate) delivered: u64,
    pub(crate) skipped: u64,
    pub(crate) buried: u64,
    pub(crate) expired: u64,
    pub(crate) discarded: u64,
}

impl Tally {
    pub(crate) fn from_row(row: TallyRow) -> Self {
        let (recorded, replayed, delivered, skipped, buried, expired, discarded) = row;
        Self {
            recorded,
            replayed,
            delivered,
            skipped,
            buried,
            expired,
            discarded,
        }
    }

    pub(crate) fn row(&self) -> TallyRow {
        (
            self.recorded,
            self.replayed,
            self.delivered,
            self.skipped,
            self.buried,
            self.expired,
            self.discarded,
        )
    }

    pub(crate) fn enter(&mut self, is_replay: bool) {
        if is_replay {
            self.replayed += 1;
        } else {
            self.recorded += 1;
        }
    }

    pub(crate) fn settle(&mut self, how: SettledAs) {
        *self.count(how) += 1;
    }

    /// What counted as ended by a job was stored by RocketMQ.
    pub(crate) fn deliver_late(&mut self, end: SettledAs) {
        let count = self.count(end);
        if let Some(less) = count.checked_sub(1) {
            *count = less;
            self.delivered += 1;
        }
    }

    fn count(&mut self, how: SettledAs) -> &mut u64 {
        match how {
            SettledAs::Delivered => &mut self.delivered,
            SettledAs::Skipped => &mut self.skipped,
            SettledAs::Expired => &mut self.expired,
            SettledAs::Discarded => &mut self.discarded,
            SettledAs::Buried => &mut self.buried,
        }
    }

    /// Adds the counts of a forgotten incarnation.
    pub(crate) fn add(&mut self, other: &Self) {
        self.recorded += other.recorded;
        self.replayed += other.replayed;
        self.delivered += other.delivered;
        self.skipped += other.skipped;
        self.buried += other.buried;
        self.expired += other.expired;
        self.discarded += other.discarded;
    }

    /// What entered less what left.
    pub(crate) fn pending(&self) -> u64 {
        (self.recorded + self.replayed).saturating_sub(self.ended())
    }

    /// Makes the sums hold when the file has `pending` events: what is missing counts as discarded,
    /// what is too many as recorded.
    pub(crate) fn reconcile(&mut self, pending: u64) {
        self.discarded += self.pending().saturating_sub(pending);
        let entered = self.recorded + self.replayed;
        self.recorded += (self.ended() + pending).saturating_sub(entered);
    }

    fn ended(&self) -> u64 {
        self.delivered + self.skipped + self.buried + self.expired + self.discarded
    }

    pub(crate) fn counts(&self, pending: u64, pending_bytes: u64) -> IncarnationCounts {
        IncarnationCounts {
            recorded: self.recorded,
            replayed: self.replayed,
            delivered: self.delivered,
            skipped: self.skipped,
            buried: self.buried,
            expired: self.expired,
            discarded: self.discarded,
            pending,
            pending_bytes,
        }
    }
}
