//! What a connection's handlers share on their worker thread, and how many of them there are.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker::Connection;
use domain::CloseReason;
use tokio::sync::Notify;

/// The accepted connections of all workers.
#[derive(Debug, Default)]
pub(crate) struct Live {
    count: AtomicUsize,
    empty: Notify,
}

impl Live {
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Ends when there is none. Only one task may wait.
    pub(crate) async fn empty(&self) {
        while self.count() > 0 {
            self.empty.notified().await;
        }
    }
}

/// One accepted connection. Dropped with its dispatcher: then the channel is closed at the latest.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// What its pump must know.
    pub(crate) pumped: Rc<Pumped>,
    live: Arc<Live>,
}

/// What handlers and pump of a connection tell each other.
#[derive(Debug, Default)]
pub(crate) struct Pumped {
    /// The socket is already closing: nothing is to be said any more.
    pub(crate) socket_gone: Cell<bool>,
    /// PUBRELs that were sent past the codec's own book-keeping; their PUBCOMPs must not reach it.
    pub(crate) releases: RefCell<HashSet<NonZeroU16>>,
}

impl Link {
    pub(crate) fn new(connection: Connection, live: Arc<Live>) -> Self {
        live.count.fetch_add(1, Ordering::AcqRel);
        Self {
            connection,
            pumped: Rc::default(),
            live,
        }
    }

    /// The dispatcher stopped: the socket is gone.
    pub(crate) fn socket_closed(&self, reason: CloseReason) {
        self.pumped.socket_gone.set(true);
        self.connection.close(reason);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pumped.socket_gone.set(true);
        if self.live.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.live.empty.notify_one();
        }
    }
}
