//! Status events as they happen, for people who look.
//!
//! Nobody here can slow an event down: who reads too slowly loses the oldest ones and is told how many.
//! Without a reader an event costs one look at a counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::StatusEvent;
use store::PendingEvent;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Events that may wait for a reader; older ones are missed.
const WAITING_MAX: usize = 4096;
/// Readers at one time.
pub(crate) const READERS_MAX: usize = 64;

/// Where events are shown.
#[derive(Debug)]
pub(crate) struct LiveFeed {
    sender: broadcast::Sender<Arc<StatusEvent>>,
    readers: Arc<Semaphore>,
    missed: Arc<AtomicU64>,
}

impl Default for LiveFeed {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(WAITING_MAX),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            missed: Arc::default(),
        }
    }
}

impl LiveFeed {
    /// Shows freshly committed events. Runs on the store's writer thread.
    pub(crate) fn committed(&self, events: &[Arc<PendingEvent>]) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        for event in events.iter().filter(|event| !event.is_replay()) {
            self.send(event.event.clone());
        }
    }

    /// Shows an event that no rule matched. Runs on a socket thread.
    pub(crate) fn unmatched(&self, event: &StatusEvent) {
        if self.sender.receiver_count() > 0 {
            self.send(event.clone());
        }
    }

    fn send(&self, event: StatusEvent) {
        // It fails only when the last reader has just gone.
        drop(self.sender.send(Arc::new(event)));
    }

    /// A new reader; `None` if there are as many as there may be.
    pub(crate) fn subscribe(&self) -> Option<LiveEvents> {
        let permit = Arc::clone(&self.readers).try_acquire_owned().ok()?;
        Some(LiveEvents {
            receiver: self.sender.subscribe(),
            missed: Arc::clone(&self.missed),
            _permit: permit,
        })
    }

    /// How many readers there are, and how many events readers missed since start.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let readers = READERS_MAX.saturating_sub(self.readers.available_permits());
        // Relaxed is enough: only read for reporting.
        (readers, self.missed.load(Ordering::Relaxed))
    }
}

/// What a reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// An event.
    Status(Arc<StatusEvent>),
    /// The reader was too slow for so many events, of all clients together.
    Missed(u64),
}

/// One reader.
#[derive(Debug)]
pub struct LiveEvents {
    receiver: broadcast::Receiver<Arc<StatusEvent>>,
    missed: Arc<AtomicU64>,
    _permit: OwnedSemaphorePermit,
}

impl LiveEvents {
    /// The next one; `None` when the host ends. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(LiveEvent::Status(event)),
            Err(RecvError::Lagged(missed)) => {
                self.missed.fetch_add(missed, Ordering::Relaxed);
                Some(LiveEvent::Missed(missed))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LiveEvent, LiveFeed, READERS_MAX, WAITING_MAX};
    use plugin_runtime::EventIn;

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_it_missed() {
        let feed = LiveFeed::default();
        let event = EventIn::default().read().unwrap();
        feed.unmatched(&event);
        let mut reader = feed.subscribe().unwrap();
        for _ in 0..WAITING_MAX + 10 {
            feed.unmatched(&event);
        }
        assert_eq!(reader.next().await, Some(LiveEvent::Missed(10)));
        for _ in 0..WAITING_MAX {
            assert!(matches!(reader.next().await, Some(LiveEvent::Status(_))));
        }
        assert_eq!(feed.counts(), (1, 10));
        drop(feed);
        assert_eq!(reader.next().await, None);
    }

    #[test]
    fn there_are_only_so_many_readers() {
        let feed = LiveFeed::default();
        let readers: Vec<_> = (0..READERS_MAX)
            .map(|_| feed.subscribe().unwrap())
            .collect();
        assert!(feed.subscribe().is_none());
        drop(readers);
        assert!(feed.subscribe().is_some());
    }
}
