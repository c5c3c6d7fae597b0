//! What became of the events of each incarnation, as of the last commit.
//!
//! recorded + replayed = delivered + skipped + buried + expired + discarded + pending, always: the
//! tallies are written in the commit that changes them, and pending is what is in the file. The
//! writer changes the ledger after each commit; everybody else only reads it.

use std::collections::BTreeMap;

use domain::{IncarnationId, Slot};

use super::IncarnationCounts;
use super::commit::{Appended, Changes, Settled, SettledAs};
use super::dead_letter::DeadLetterBook;
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

    pub(crate) fn settle(&mut self, how: SettledAs) {
        let count = match how {
            SettledAs::Delivered => &mut self.delivered,
            SettledAs::Skipped => &mut self.skipped,
            SettledAs::Expired => &mut self.expired,
            SettledAs::Discarded => &mut self.discarded,
            SettledAs::Buried => &mut self.buried,
        };
        *count += 1;
    }

    /// What entered less what left.
    pub(crate) fn pending(&self) -> u64 {
        (self.recorded + self.replayed).saturating_sub(
            self.delivered + self.skipped + self.buried + self.expired + self.discarded,
        )
    }
}

/// The events of one incarnation.
#[derive(Debug)]
struct Account {
    tally: Tally,
    pending: u64,
    pending_bytes: u64,
    /// Pending events of each of the 256 slots.
    slots: Vec<u64>,
}

impl Account {
    fn new(tally: Tally) -> Self {
        Self {
            tally,
            pending: 0,
            pending_bytes: 0,
            slots: vec![0; Slot::COUNT],
        }
    }

    fn add(&mut self, slot: Slot, bytes: u64) {
        self.pending += 1;
        self.pending_bytes += bytes;
        if let Some(count) = self.slots.get_mut(usize::from(slot.0)) {
            *count += 1;
        }
    }

    fn subtract(&mut self, slot: Slot, bytes: u64) {
        self.pending = self.pending.saturating_sub(1);
        self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
        if let Some(count) = self.slots.get_mut(usize::from(slot.0)) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The accounts of all incarnations, and how old what is pending is.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<IncarnationId, Account>,
    /// Pending events by the second they happened in: at most one entry a second of backlog.
    ages: BTreeMap<u64, u64>,
    pub(crate) dead_letters: DeadLetterBook,
}

impl Ledger {
    /// Takes over a stored tally.
    pub(crate) fn restore_tally(&mut self, incarnation: IncarnationId, tally: Tally) {
        self.account(incarnation).tally = tally;
    }

    /// Takes over a stored event, already in its tally.
    pub(crate) fn restore_event(&mut self, event: Appended) {
        *self.ages.entry(event.time_ms / 1000).or_insert(0) += 1;
        self.account(event.incarnation).add(event.slot, event.bytes);
    }

    /// The tallies as they will be after `changes`, of the incarnations that they touch.
    pub(crate) fn tallies_after(&self, changes: &Changes) -> BTreeMap<IncarnationId, Tally> {
        let mut tallies = BTreeMap::new();
        let before = |incarnation| {
            self.accounts
                .get(&incarnation)
                .map(|account| account.tally)
                .unwrap_or_default()
        };
        for event in &changes.appended {
            let tally = tallies
                .entry(event.incarnation)
                .or_insert_with(|| before(event.incarnation));
            tally.recorded += 1;
        }
        for event in &changes.settled {
            tallies
                .entry(event.incarnation)
                .or_insert_with(|| before(event.incarnation))
                .settle(event.how);
        }
        tallies
    }

    /// Everything stored, to be written again after a failure.
    pub(crate) fn tallies(&self) -> BTreeMap<IncarnationId, Tally> {
        self.accounts
            .iter()
            .map(|(incarnation, account)| (*incarnation, account.tally))
            .collect()
    }

    /// `changes` are committed.
    pub(crate) fn apply(&mut self, changes: &Changes) {
        for (incarnation, tally) in self.tallies_after(changes) {
            self.account(incarnation).tally = tally;
        }
        for event in &changes.appended {
            self.restore_event(*event);
        }
        for event in &changes.settled {
            self.subtract(event);
        }
        if let Some(incarnation) = changes.forgotten {
            self.accounts.remove(&incarnation);
        }
        self.dead_letters = changes.dead_letters;
    }

    fn subtract(&mut self, event: &Settled) {
        let second = event.time_ms / 1000;
        if let Some(count) = self.ages.get_mut(&second) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.ages.remove(&second);
            }
        }
        self.account(event.incarnation)
            .subtract(event.slot, event.bytes);
    }

    fn account(&mut self, incarnation: IncarnationId) -> &mut Account {
        self.accounts
            .entry(incarnation)
            .or_insert_with(|| Account::new(Tally::default()))
    }

    pub(crate) fn counts(&self, incarnation: IncarnationId) -> IncarnationCounts {
        self.accounts
            .get(&incarnation)
            .map_or_else(IncarnationCounts::default, |account| IncarnationCounts {
                recorded: account.tally.recorded,
                replayed: account.tally.replayed,
                delivered: account.tally.delivered,
                skipped: account.tally.skipped,
                buried: account.tally.buried,
                expired: account.tally.expired,
                discarded: account.tally.discarded,
                pending: account.pending,
                pending_bytes: account.pending_bytes,
            })
    }

    pub(crate) fn pending_slots(&self, incarnation: IncarnationId) -> Vec<(Slot, u64)> {
        self.accounts
            .get(&incarnation)
            .map_or_else(Vec::new, |account| {
                Slot::all()
                    .zip(&account.slots)
                    .filter(|(_, count)| **count > 0)
                    .map(|(slot, count)| (slot, *count))
                    .collect()
            })
    }

    pub(crate) fn incarnations(&self) -> Vec<IncarnationId> {
        self.accounts.keys().copied().collect()
    }

    /// Pending events of all incarnations.
    pub(crate) fn pending(&self) -> u64 {
        self.accounts.values().map(|account| account.pending).sum()
    }

    /// Pending bytes of all incarnations.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.accounts
            .values()
            .map(|account| account.pending_bytes)
            .sum()
    }

    /// Pending bytes of each incarnation that has any.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (IncarnationId, u64)> {
        self.accounts
            .iter()
            .map(|(incarnation, account)| (*incarnation, account.pending_bytes))
    }

    /// When the oldest pending event happened, to the second, UNIX milliseconds.
    pub(crate) fn oldest_time_ms(&self) -> Option<u64> {
        self.ages.first_key_value().map(|(second, _)| second * 1000)
    }

    /// Incarnations whose stored tally does not fit what is in the file: (tally, file).
    pub(crate) fn mismatches(&self) -> Vec<(IncarnationId, u64, u64)> {
        self.accounts
            .iter()
            .map(|(incarnation, account)| (*incarnation, account.tally.pending(), account.pending))
            .filter(|(_, tally, file)| tally != file)
            .collect()
    }
}
