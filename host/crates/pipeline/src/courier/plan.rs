//! Which slot is to go to which queue: pure, so that the same map and conditions give the same plan.
//!
//! Slots leave a queue only when it was retired, or when it cannot store and the rule prefers to be
//! available. All other moves are for balance, among queues that can store; the fewest that do it.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Ordering, QueueName, Slot};

/// The queue of each slot.
pub(super) type SlotMap = BTreeMap<Slot, QueueName>;

/// What is known of the topic's queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    /// Writable, says the route; `None` as long as no name server has answered.
    pub(super) listed: Option<BTreeSet<QueueName>>,
    /// Sends to them fail now.
    pub(super) failing: BTreeSet<QueueName>,
    /// Sends to them have failed for so long that their clients do not wait if they need not.
    pub(super) failed: BTreeSet<QueueName>,
    /// An operator wants them to be used no more.
    pub(super) retired: BTreeSet<QueueName>,
    pub(super) ordering: Ordering,
}

/// Moves, and the queues that are left at once: their workers stop sending for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) moves: SlotMap,
    pub(super) evicted: BTreeSet<QueueName>,
}

impl Conditions {
    /// Whether the route has `queue`, or is not known.
    pub(super) fn is_listed(&self, queue: &QueueName) -> bool {
        self.listed
            .as_ref()
            .is_none_or(|listed| listed.contains(queue))
    }

    /// The queues that may get slots.
    pub(super) fn usable(&self) -> BTreeSet<QueueName> {
        let listed = self.listed.iter().flatten();
        listed
            .filter(|queue| !self.failing.contains(*queue) && !self.failed.contains(*queue))
            .filter(|queue| !self.retired.contains(*queue))
            .cloned()
            .collect()
    }

    fn is_left(&self, queue: &QueueName) -> bool {
        let is_dead = !self.is_listed(queue) || self.failed.contains(queue);
        self.retired.contains(queue) || self.ordering == Ordering::Available && is_dead
    }
}

/// Deals all slots to `queues` in turn.
pub(super) fn deal(queues: &[QueueName]) -> SlotMap {
    Slot::all().zip(queues.iter().cloned().cycle()).collect()
}

/// What is to change in `map`. Nothing as long as no queue is usable.
pub(super) fn plan(map: &SlotMap, conditions: &Conditions) -> Plan {
    let mut loads: BTreeMap<QueueName, Vec<Slot>> = conditions
        .usable()
        .into_iter()
        .map(|queue| (queue, Vec::new()))
        .collect();
    let mut plan = Plan::default();
    if loads.is_empty() {
        return plan;
    }
    let mut leaving = Vec::new();
    for (slot, queue) in map {
        if let Some(load) = loads.get_mut(queue) {
            load.push(*slot);
        } else if conditions.is_left(queue) {
            leaving.push(*slot);
            plan.evicted.insert(queue.clone());
        }
    }
    for slot in leaving {
        give(&mut loads, slot, &mut plan.moves);
    }
    while let Some(slot) = surplus(&mut loads) {
        give(&mut loads, slot, &mut plan.moves);
    }
    plan
}

/// Gives `slot` to the queue with the fewest; the first of several.
fn give(loads: &mut BTreeMap<QueueName, Vec<Slot>>, slot: Slot, moves: &mut SlotMap) {
    if let Some((queue, load)) = loads.iter_mut().min_by_key(|(_, load)| load.len()) {
        load.push(slot);
        moves.insert(slot, queue.clone());
    }
}

/// Takes a slot from the queue with the most, if it has at least two more than another.
fn surplus(loads: &mut BTreeMap<QueueName, Vec<Slot>>) -> Option<Slot> {
    let least = loads.values().map(Vec::len).min()?;
    let fullest = loads.values_mut().max_by_key(|load| load.len())?;
    if fullest.len() < least + 2 {
        return None;
    }
    fullest.pop()
}

#[cfg(test)]
mod tests;
