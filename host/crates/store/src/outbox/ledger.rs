//! What became of the events of each incarnation, and what each slot has pending, as of the last commit.
//!
//! recorded + replayed = delivered + skipped + buried + expired + discarded + pending, always: all
//! of it is written in the commit that changes it, so that opening a file reads these rows and
//! not its events. The writer changes the ledger after each commit; everybody else only reads it.

use std::collections::{BTreeMap, BTreeSet};

use domain::{IncarnationId, Slot};

use super::IncarnationCounts;
use super::commit::{Appended, Changes};
use super::dead_letter::DeadLetterBook;
use super::late_deliveries::LateDeliveries;
use super::slot_sums::{Head, SlotSums};
use super::tally::Tally;

/// A slot of an incarnation.
pub(crate) type SlotKey = (IncarnationId, Slot);

#[derive(Clone, Copy, Debug, Default)]
struct SlotState {
    sums: SlotSums,
    head: Head,
}

/// The events of one incarnation.
#[derive(Debug)]
struct Account {
    tally: Tally,
    /// Over all slots.
    sums: SlotSums,
    /// All 256.
    slots: Vec<SlotState>,
}

impl Account {
    fn new(tally: Tally) -> Self {
        Self {
            tally,
            sums: SlotSums::default(),
            slots: vec![SlotState::default(); Slot::COUNT],
        }
    }

    fn slot(&self, slot: Slot) -> SlotState {
        self.slots
            .get(usize::from(slot.0))
            .copied()
            .unwrap_or_default()
    }

    fn set_slot(&mut self, slot: Slot, sums: SlotSums) {
        let Some(state) = self.slots.get_mut(usize::from(slot.0)) else {
            return;
        };
        self.sums.subtract(state.sums);
        self.sums.add(sums);
        state.sums = sums;
        if sums.events == 0 {
            state.head = Head::Empty;
        } else if state.head == Head::Empty {
            state.head = Head::Unknown;
        }
    }

    fn head_mut(&mut self, slot: Slot) -> Option<&mut Head> {
        self.slots
            .get_mut(usize::from(slot.0))
            .map(|state| &mut state.head)
    }
}

/// Numbers as they will be after a commit, of what it touches.
#[derive(Debug, Default)]
pub(crate) struct After {
    pub(crate) tallies: BTreeMap<IncarnationId, Tally>,
    pub(crate) slots: BTreeMap<SlotKey, SlotSums>,
    /// Set if an incarnation is forgotten into the total.
    pub(crate) forgotten: Option<Tally>,
}

/// The accounts of all incarnations.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<IncarnationId, Account>,
    /// The sum of forgotten rules.
    forgotten: Tally,
    pub(crate) dead_letters: DeadLetterBook,
    pub(crate) late_deliveries: LateDeliveries,
    /// Grows with each commit.
    version: u64,
}

impl Ledger {
    /// Takes over a stored tally.
    pub(crate) fn restore_tally(&mut self, incarnation: IncarnationId, tally: Tally) {
        self.account(incarnation).tally = tally;
    }

    /// Takes over the stored total of forgotten rules.
    pub(crate) fn restore_forgotten(&mut self, tally: Tally) {
        self.forgotten = tally;
    }

    /// Takes over what a slot has pending.
    pub(crate) fn restore_slot(&mut self, (incarnation, slot): SlotKey, sums: SlotSums) {
        self.account(incarnation).set_slot(slot, sums);
    }

    /// The numbers after `changes`, of what they touch.
    pub(crate) fn after(&self, changes: &Changes) -> After {
        let mut after = After::default();
        for event in &changes.appended {
            let (tally, slot) = self.touched(&mut after, (event.incarnation, event.slot));
            tally.enter(event.is_replay);
            slot.add(SlotSums::of(event.bytes));
        }
        for event in &changes.settled {
            let (tally, slot) = self.touched(&mut after, (event.incarnation, event.slot));
            tally.settle(event.how);
            slot.subtract(SlotSums::of(event.bytes));
        }
        for ((incarnation, _, _), end) in &changes.delivered_late {
            let incarnation = IncarnationId(*incarnation);
            // Forgotten meanwhile, its counts are part of a sum.
            if self.accounts.contains_key(&incarnation) {
                let tally = after.tallies.entry(incarnation);
                tally
                    .or_insert_with(|| self.tally(incarnation))
                    .deliver_late(*end);
            }
        }
        if let Some((incarnation, into)) = changes.forgotten {
            let tally = after.tallies.remove(&incarnation);
            let tally = tally.unwrap_or_else(|| self.tally(incarnation));
            if let Some(into) = into {
                let sum = after.tallies.entry(into);
                sum.or_insert_with(|| self.tally(into)).add(&tally);
            } else {
                let mut sum = self.forgotten;
                sum.add(&tally);
                after.forgotten = Some(sum);
            }
        }
        after
    }

    fn touched<'a>(&self, after: &'a mut After, key: SlotKey) -> (&'a mut Tally, &'a mut SlotSums) {
        let (incarnation, slot) = key;
        let tally = after
            .tallies
            .entry(incarnation)
            .or_insert_with(|| self.tally(incarnation));
        let sums = after.slots.entry(key).or_insert_with(|| {
            self.accounts
                .get(&incarnation)
                .map(|account| account.slot(slot).sums)
                .unwrap_or_default()
        });
        (tally, sums)
    }

    /// Everything that is stored, to be written again after a failure, empty slots included.
    pub(crate) fn everything(&self) -> After {
        let tallies = self.accounts.iter();
        let slots = self.accounts.iter().flat_map(|(incarnation, account)| {
            Slot::all().map(|slot| ((*incarnation, slot), account.slot(slot).sums))
        });
        After {
            tallies: tallies
                .map(|(incarnation, account)| (*incarnation, account.tally))
                .collect(),
            slots: slots.collect(),
            forgotten: Some(self.forgotten),
        }
    }

    /// `changes` are committed.
    pub(crate) fn apply(&mut self, changes: &Changes) {
        for event in &changes.settled {
            if let Some(head) = self.account(event.incarnation).head_mut(event.slot) {
                head.settled(event.position);
            }
        }
        for event in &changes.appended {
            if let Some(head) = self.account(event.incarnation).head_mut(event.slot) {
                head.appended(event.position, event.entered_ms);
            }
        }
        for (incarnation, tally) in &changes.after.tallies {
            self.account(*incarnation).tally = *tally;
        }
        for ((incarnation, slot), sums) in &changes.after.slots {
            self.account(*incarnation).set_slot(*slot, *sums);
        }
        if let Some(forgotten) = changes.after.forgotten {
            self.forgotten = forgotten;
        }
        if let Some((incarnation, _)) = changes.forgotten {
            self.accounts.remove(&incarnation);
        }
        for (key, how) in &changes.ended_by_job {
            self.late_deliveries.remember(*key, *how);
        }
        for (key, _) in &changes.delivered_late {
            self.late_deliveries.forget(*key);
        }
        self.dead_letters = changes.dead_letters;
        self.version += 1;
    }

    fn account(&mut self, incarnation: IncarnationId) -> &mut Account {
        self.accounts
            .entry(incarnation)
            .or_insert_with(|| Account::new(Tally::default()))
    }

    fn tally(&self, incarnation: IncarnationId) -> Tally {
        self.accounts
            .get(&incarnation)
            .map(|account| account.tally)
            .unwrap_or_default()
    }

    pub(crate) fn counts(&self, incarnation: IncarnationId) -> IncarnationCounts {
        self.accounts
            .get(&incarnation)
            .map_or_else(IncarnationCounts::default, |account| {
                let sums = account.sums;
                account.tally.counts(sums.events, sums.bytes)
            })
    }

    pub(crate) fn forgotten_counts(&self) -> IncarnationCounts {
        self.forgotten.counts(0, 0)
    }

    pub(crate) fn pending_slots(&self, incarnation: IncarnationId) -> Vec<(Slot, u64)> {
        self.accounts
            .get(&incarnation)
            .map_or_else(Vec::new, |account| {
                Slot::all()
                    .map(|slot| (slot, account.slot(slot).sums.events))
                    .filter(|(_, count)| *count > 0)
                    .collect()
            })
    }

    pub(crate) fn incarnations(&self) -> Vec<IncarnationId> {
        self.accounts.keys().copied().collect()
    }

    /// Pending events of all incarnations.
    pub(crate) fn pending(&self) -> u64 {
        let accounts = self.accounts.values();
        accounts.map(|account| account.sums.events).sum()
    }

    /// Pending bytes of all incarnations.
    pub(crate) fn pending_bytes(&self) -> u64 {
        let accounts = self.accounts.values();
        accounts.map(|account| account.sums.bytes).sum()
    }

    /// Pending events and dead letters: what the file has to hold, apart from open channels.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.pending_bytes() + self.dead_letters.bytes
    }

    /// Pending bytes of each incarnation that has any.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (IncarnationId, u64)> {
        self.accounts
            .iter()
            .map(|(incarnation, account)| (*incarnation, account.sums.bytes))
            .filter(|(_, bytes)| *bytes > 0)
    }

    /// When the oldest pending event entered, as far as the heads are known; a head that is gone
    /// counts until its successor is known.
    pub(crate) fn oldest_time_ms(&self) -> Option<u64> {
        let slots = self.accounts.values().flat_map(|account| &account.slots);
        slots.filter_map(|state| state.head.entered_ms()).min()
    }

    /// Slots whose first event is not known, and the version that this was seen in.
    pub(crate) fn unknown_heads(&self) -> (u64, Vec<SlotKey>) {
        let mut unknown = Vec::new();
        for (incarnation, account) in &self.accounts {
            for (slot, state) in Slot::all().zip(&account.slots) {
                if state.head.is_unknown() {
                    unknown.push((*incarnation, slot));
                }
            }
        }
        (self.version, unknown)
    }

    /// The first event of a slot was read when the ledger had `version`.
    pub(crate) fn set_head(
        &mut self,
        version: u64,
        (incarnation, slot): SlotKey,
        first: &Appended,
    ) {
        // A commit since then may have settled it already: then it is only a lower bound.
        let is_current = version == self.version;
        let account = self.accounts.get_mut(&incarnation);
        if let Some(head) = account.and_then(|account| account.head_mut(slot)) {
            head.read(first.position, first.entered_ms, is_current);
        }
    }

    /// Makes the sums of all tallies hold for what is pending; returns the incarnations whose did
    /// not: (incarnation, pending by the tally, pending by the slots).
    pub(crate) fn reconcile(&mut self) -> Vec<(IncarnationId, u64, u64)> {
        let mut mended = Vec::new();
        for (incarnation, account) in &mut self.accounts {
            let (tally, slots) = (account.tally.pending(), account.sums.events);
            if tally != slots {
                account.tally.reconcile(slots);
                mended.push((*incarnation, tally, slots));
            }
        }
        mended
    }

    /// What all slots of an incarnation have pending.
    pub(crate) fn slots(&self, incarnation: IncarnationId) -> Vec<SlotSums> {
        self.accounts.get(&incarnation).map_or_else(
            || vec![SlotSums::default(); Slot::COUNT],
            |account| account.slots.iter().map(|state| state.sums).collect(),
        )
    }

    /// Incarnations whose tally and slots differ.
    pub(crate) fn unbalanced(&self) -> BTreeSet<IncarnationId> {
        self.accounts
            .iter()
            .filter(|(_, account)| account.tally.pending() != account.sums.events)
            .map(|(incarnation, _)| *incarnation)
            .collect()
    }

    /// Forgets what the slots of an incarnation have, before they are counted anew.
    pub(crate) fn clear_slots(&mut self, incarnation: IncarnationId) {
        let account = self.account(incarnation);
        for slot in Slot::all() {
            account.set_slot(slot, SlotSums::default());
        }
    }

    /// Takes over one stored event.
    pub(crate) fn restore_event(&mut self, key: SlotKey, bytes: u64) {
        let account = self.account(key.0);
        let mut sums = account.slot(key.1).sums;
        sums.add(SlotSums::of(bytes));
        account.set_slot(key.1, sums);
    }
}
