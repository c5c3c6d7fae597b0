//! Committed events on their way from the outbox to a courier.
//!
//! A courier that has caught up gets events from memory, right after their commit. When it falls
//! behind, a lane stops filling its memory and is read from disk instead, by range after the last
//! event seen. Nothing is taken twice: `seen` only grows, and what is not above it is ignored, unless
//! a worker gave it back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::{IncarnationId, Sequence, Slot};
use parking_lot::{Mutex, RwLock};
use store::{Outbox, PendingEvent, TakeEventsError};
use tokio::sync::{Notify, Semaphore};

/// Events of one incarnation held in memory, all lanes together; what is beyond waits on disk.
/// Events that are given back are held whatever their number: their worker had them in memory.
const EVENTS_IN_MEMORY_MAX: usize = 8192;
/// Lanes of one incarnation that are read from disk at a time, so that one with a long queue leaves
/// the threads for blocking work to others.
const READS_MAX: usize = 4;

#[derive(Debug, Default)]
struct Lane {
    events: VecDeque<Arc<PendingEvent>>,
    /// There may be committed events on disk after those in memory.
    is_behind: bool,
    /// A read from disk is under way: what is committed meanwhile is left to the next one.
    is_loading: bool,
    /// The last event that was taken or is in memory.
    seen: Sequence,
}

/// The committed events of one incarnation.
#[derive(Debug)]
pub(crate) struct Feed {
    incarnation: IncarnationId,
    outbox: Arc<Outbox>,
    lanes: Vec<Mutex<Lane>>,
    in_memory: AtomicUsize,
    reads: Semaphore,
    listeners: RwLock<Vec<Arc<Notify>>>,
}

impl Feed {
    fn new(incarnation: IncarnationId, outbox: Arc<Outbox>) -> Self {
        Self {
            incarnation,
            outbox,
            lanes: (0..Slot::COUNT).map(|_| Mutex::default()).collect(),
            in_memory: AtomicUsize::new(0),
            reads: Semaphore::new(READS_MAX),
            listeners: RwLock::default(),
        }
    }

    /// Wakes `listener` whenever something was committed for this incarnation.
    pub(crate) fn listen(&self, listener: Arc<Notify>) {
        self.listeners.write().push(listener);
    }

    /// Ends [`Feed::listen`].
    pub(crate) fn unlisten(&self, listener: &Arc<Notify>) {
        self.listeners
            .write()
            .retain(|other| !Arc::ptr_eq(other, listener));
    }

    /// Forgets the listeners and what was seen: a new courier starts from what is on disk. The
    /// workers of the one before must have ended.
    pub(crate) fn restart(&self) {
        self.listeners.write().clear();
        for lane in &self.lanes {
            self.reset(lane, false);
        }
        // Asked after that: what is not counted here is pushed to an empty lane. What was pushed and
        // is counted is dropped from memory, since older events of its lane may be on disk.
        for (slot, _) in self.outbox.pending_slots(self.incarnation) {
            if let Some(lane) = self.lane(slot) {
                self.reset(lane, true);
            }
        }
    }

    fn lane(&self, slot: Slot) -> Option<&Mutex<Lane>> {
        self.lanes.get(usize::from(slot.0))
    }

    fn reset(&self, lane: &Mutex<Lane>, is_behind: bool) {
        let mut lane = lane.lock();
        self.in_memory
            .fetch_sub(lane.events.len(), Ordering::Relaxed);
        *lane = Lane {
            is_behind,
            ..Lane::default()
        };
    }

    fn has_room(&self, count: usize) -> bool {
        self.in_memory.load(Ordering::Relaxed) + count <= EVENTS_IN_MEMORY_MAX
    }

    fn push(&self, event: &Arc<PendingEvent>) {
        let Some(lane) = self.lane(event.slot) else {
            return;
        };
        let mut lane = lane.lock();
        if event.position <= lane.seen {
            return;
        }
        if lane.is_behind || lane.is_loading || !self.has_room(1) {
            lane.is_behind = true;
        } else {
            lane.seen = event.position;
            lane.events.push_back(Arc::clone(event));
            self.in_memory.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        for listener in self.listeners.read().iter() {
            listener.notify_one();
        }
    }

    /// Puts events that were taken from `slot` and not settled to the front again, in order. Wakes
    /// nobody.
    pub(crate) fn give_back(&self, slot: Slot, events: Vec<Arc<PendingEvent>>) {
        let Some(lane) = self.lane(slot) else {
            return;
        };
        let mut lane = lane.lock();
        self.in_memory.fetch_add(events.len(), Ordering::Relaxed);
        let mut all: Vec<_> = events.into_iter().chain(lane.events.drain(..)).collect();
        all.sort_by_key(|event| event.position);
        lane.events = all.into();
    }

    /// Up to `count_max` events of `slot` that were not taken before, in order. Reads the disk on the
    /// blocking pool if it must. If the future is dropped, the feed must be restarted.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read; nothing is taken then.
    pub(crate) async fn take(
        &self,
        slot: Slot,
        count_max: usize,
    ) -> Result<Vec<Arc<PendingEvent>>, TakeEventsError> {
        let Some(lane) = self.lane(slot) else {
            return Ok(Vec::new());
        };
        let after = {
            let mut lane = lane.lock();
            if !lane.events.is_empty() {
                let count = lane.events.len().min(count_max);
                self.in_memory.fetch_sub(count, Ordering::Relaxed);
                return Ok(lane.events.drain(..count).collect());
            }
            if !lane.is_behind {
                return Ok(Vec::new());
            }
            lane.is_behind = false;
            lane.is_loading = true;
            lane.seen
        };
        let read = self.read(slot, after, count_max).await;
        let mut lane = lane.lock();
        lane.is_loading = false;
        let events = read.inspect_err(|_| lane.is_behind = true)?;
        if let Some(last) = events.last() {
            lane.seen = lane.seen.max(last.position);
        }
        // The next read is cheap when there is nothing more; a full one says there is.
        lane.is_behind |= events.len() >= count_max;
        Ok(events)
    }

    async fn read(
        &self,
        slot: Slot,
        after: Sequence,
        count_max: usize,
    ) -> Result<Vec<Arc<PendingEvent>>, TakeEventsError> {
        // Never closed; without a permit there is only less company.
        let _permit = self.reads.acquire().await;
        let (outbox, incarnation) = (Arc::clone(&self.outbox), self.incarnation);
        let read =
            tokio::task::spawn_blocking(move || outbox.take(incarnation, slot, after, count_max));
        match read.await {
            Ok(result) => result,
            // The runtime is going down; the events stay on disk.
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// The feeds of all incarnations.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    feeds: RwLock<HashMap<IncarnationId, Arc<Feed>>>,
}

impl Feeds {
    /// The feed of `incarnation`, made at the first call.
    pub(crate) fn feed(&self, incarnation: IncarnationId, outbox: &Arc<Outbox>) -> Arc<Feed> {
        let mut feeds = self.feeds.write();
        let make = || Arc::new(Feed::new(incarnation, Arc::clone(outbox)));
        Arc::clone(feeds.entry(incarnation).or_insert_with(make))
    }

    /// Forgets the feed of `incarnation`. Its courier must have been stopped.
    pub(crate) fn remove(&self, incarnation: IncarnationId) {
        self.feeds.write().remove(&incarnation);
    }

    /// Hands freshly committed events on. Runs on the store's writer thread: no waiting here.
    pub(crate) fn committed(&self, events: &[Arc<PendingEvent>]) {
        let feeds = self.feeds.read();
        // A commit concerns few incarnations: each is woken once, after its last event.
        let mut touched: Vec<&Arc<Feed>> = Vec::new();
        for event in events {
            let Some(feed) = feeds.get(&event.incarnation) else {
                continue;
            };
            feed.push(event);
            if !touched.iter().any(|it| it.incarnation == feed.incarnation) {
                touched.push(feed);
            }
        }
        for feed in touched {
            feed.wake();
        }
    }
}

#[cfg(test)]
mod tests;
