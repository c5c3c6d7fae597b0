//! Which worker has which slot now, and which is to have it: what the watcher and the workers share.
//!
//! A slot changes hands in three steps: its worker lets go of it between two batches, the new map is
//! stored, the next worker gets it. So no slot has two workers, and none is used before it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{QueueName, Slot};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::plan::{Plan, SlotMap};

/// A worker as the watcher sees it: one per queue that has slots.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) queue: QueueName,
    /// Wakes the worker: something was committed, or its slots change.
    pub(super) wake: Arc<Notify>,
    evicted: watch::Sender<bool>,
}

impl Line {
    fn new(queue: QueueName) -> Self {
        Self {
            queue,
            wake: Arc::new(Notify::new()),
            evicted: watch::Sender::new(false),
        }
    }

    /// The part of the courier's health that its worker reports.
    pub(super) fn part(&self) -> String {
        format!("queue {}", self.queue)
    }

    pub(super) fn is_evicted(&self) -> bool {
        *self.evicted.borrow()
    }

    /// Ends when the worker must let go of everything at once.
    pub(super) async fn evicted(&self) {
        let mut evicted = self.evicted.subscribe();
        // It ends early only without a sender, which `self` owns.
        let _: bool = evicted.wait_for(|it| *it).await.is_ok();
    }
}

#[derive(Debug, Default)]
struct State {
    /// As stored.
    map: SlotMap,
    /// Slots that are to move.
    wanted: SlotMap,
    /// Slots that their worker let go of.
    free: BTreeSet<Slot>,
    lines: BTreeMap<QueueName, Arc<Line>>,
    /// Since when the sends to a queue fail: the beginning of the first one.
    failing: BTreeMap<QueueName, Instant>,
    /// A send takes long: it is time to ask for the route.
    is_slow: bool,
}

/// The slots of one courier and who works them.
#[derive(Debug)]
pub(super) struct SlotTable {
    state: Mutex<State>,
    /// Counts what concerns workers.
    version: AtomicU64,
    news: Notify,
}

impl SlotTable {
    /// All slots are free.
    pub(super) fn new(map: SlotMap) -> Self {
        let free = map.keys().copied().collect();
        Self {
            state: Mutex::new(State {
                map,
                free,
                ..State::default()
            }),
            version: AtomicU64::new(1),
            news: Notify::new(),
        }
    }

    // What the watcher does.

    /// Ends when a worker let go of a slot or said how its sends go.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    pub(super) fn map(&self) -> SlotMap {
        self.state.lock().map.clone()
    }

    pub(super) fn failing(&self) -> BTreeMap<QueueName, Instant> {
        self.state.lock().failing.clone()
    }

    /// Makes `plan` what is wanted, whatever was wanted before.
    pub(super) fn want(&self, plan: Plan) {
        let mut state = self.state.lock();
        let is_same = state.wanted == plan.moves;
        for (queue, line) in &state.lines {
            let is_evicted = plan.evicted.contains(queue);
            line.evicted.send_if_modified(|it| {
                let is_new = *it != is_evicted;
                *it = is_evicted;
                is_new
            });
        }
        if is_same {
            return;
        }
        state.wanted = plan.moves;
        // Under the lock, so that a worker that sees it sees what is wanted, too.
        self.version.fetch_add(1, Ordering::Relaxed);
        for line in state.lines.values() {
            line.wake.notify_one();
        }
    }

    /// Where the slots go that no worker has.
    pub(super) fn free(&self) -> SlotMap {
        let state = self.state.lock();
        let queue_of = |slot: &Slot| {
            let queue = state.wanted.get(slot).or_else(|| state.map.get(slot));
            queue.map(|queue| (*slot, queue.clone()))
        };
        state.free.iter().filter_map(queue_of).collect()
    }

    /// Gives free slots to their workers, after the map with them was stored. Returns those that must
    /// be started.
    pub(super) fn assign(&self, moves: &SlotMap) -> Vec<Arc<Line>> {
        let mut state = self.state.lock();
        let mut started = Vec::new();
        // Before anybody is woken: a worker that finds the old version does not look.
        self.version.fetch_add(1, Ordering::Relaxed);
        for (slot, queue) in moves {
            state.free.remove(slot);
            state.wanted.remove(slot);
            state.map.insert(*slot, queue.clone());
            if let Some(line) = state.lines.get(queue) {
                line.wake.notify_one();
            } else {
                let line = Arc::new(Line::new(queue.clone()));
                state.lines.insert(queue.clone(), Arc::clone(&line));
                started.push(line);
            }
        }
        started
    }

    /// Whether a worker called [`SlotTable::is_slow`] since the last call.
    pub(super) fn take_slow(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_slow)
    }

    /// Forgets that sends to `queue` failed.
    pub(super) fn forgive(&self, queue: &QueueName) {
        self.state.lock().failing.remove(queue);
    }

    // What workers do.

    /// The slots of `line` if they may have changed since `seen`. Lets go of those that are wanted
    /// elsewhere, unless they are among `kept_slots`; as long as one is kept, it counts as changed. None left: the line
    /// is gone, and its worker must end.
    pub(super) fn slots(
        &self,
        line: &Line,
        seen: &mut u64,
        kept_slots: impl FnOnce() -> BTreeSet<Slot>,
    ) -> Option<Vec<Slot>> {
        if self.version.load(Ordering::Relaxed) == *seen {
            return None;
        }
        let kept_slots = kept_slots();
        let mut state = self.state.lock();
        *seen = self.version.load(Ordering::Relaxed);
        let owned: Vec<_> = state
            .map
            .iter()
            .filter(|(slot, queue)| **queue == line.queue && !state.free.contains(*slot))
            .map(|(slot, _)| *slot)
            .collect();
        let mut kept = Vec::with_capacity(owned.len());
        let mut is_news = false;
        for slot in owned {
            let is_leaving = state.wanted.contains_key(&slot);
            if is_leaving && !kept_slots.contains(&slot) {
                state.free.insert(slot);
                is_news = true;
                continue;
            }
            if is_leaving {
                *seen = 0;
            }
            kept.push(slot);
        }
        if kept.is_empty() {
            state.lines.remove(&line.queue);
        }
        drop(state);
        if is_news {
            self.news.notify_one();
        }
        Some(kept)
    }

    /// Since when sends to `queue` fail, if they do.
    pub(super) fn failing_since(&self, queue: &QueueName) -> Option<Instant> {
        self.state.lock().failing.get(queue).copied()
    }

    /// Sends to `queue` fail; the first that did began at `since`.
    pub(super) fn fails(&self, queue: &QueueName, since: Instant) {
        self.state
            .lock()
            .failing
            .entry(queue.clone())
            .or_insert(since);
        self.news.notify_one();
    }

    /// A send has no answer yet, although it should.
    pub(super) fn is_slow(&self) {
        self.state.lock().is_slow = true;
        self.news.notify_one();
    }

    /// A send to `queue` that failed before works again.
    pub(super) fn works(&self, queue: &QueueName) {
        self.state.lock().failing.remove(queue);
        self.news.notify_one();
    }
}

#[cfg(test)]
mod tests;
