//! What the broker counts since its start. Names and labels of metrics are the host's business.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use domain::CloseReason;

macro_rules! refusal_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a CONNECT is refused. A closed set.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalReason {
            $($(#[$doc])* $name,)*
        }

        impl RefusalReason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in metric labels.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

refusal_reasons! {
    /// Too many events wait for their commit.
    RecorderFull = "recorder-full",
    /// The rule's share of the outbox is used up.
    ShareFull = "share-full",
    /// The whole outbox is used up.
    OutboxFull = "outbox-full",
    /// The outbox cannot be written.
    StoreFailed = "store-failed",
    /// The client's group does not exist.
    UnknownGroup = "unknown-group",
    /// The host is going down.
    ShuttingDown = "shutting-down",
    /// As many connections as there may be.
    ConnectionsMax = "connections-max",
    /// The will's topic is none.
    WillTopic = "will-topic",
    /// The client id is none.
    ClientId = "client-id",
    /// The client may not connect here, or not in this way.
    NotAuthorized = "not-authorized",
    /// User name or password are wrong, or have not the right form.
    Credentials = "bad-credentials",
    /// Too many authentications failed, or are under way.
    Throttled = "throttled",
    /// Nobody could tell who the client is.
    AccessUnavailable = "access-unavailable",
}

/// The names of listeners.
const LISTENERS: [&str; 4] = ["tcp", "ws", "tls", "wss"];

/// Counters; read with [`Stats::snapshot`].
#[derive(Debug, Default)]
pub struct Stats {
    opened: [AtomicU64; LISTENERS.len()],
    closed: [AtomicU64; CloseReason::ALL.len()],
    refused: [AtomicU64; RefusalReason::ALL.len()],
    messages_received: AtomicU64,
    messages_queued: AtomicU64,
    messages_dropped: AtomicU64,
    retained_refused: AtomicU64,
    clients_forgotten: AtomicU64,
    /// Open channels now.
    pub(crate) online: AtomicUsize,
}

/// The counters at one time; all but `online` only grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Accepted connections by listener.
    pub opened: [(&'static str, u64); LISTENERS.len()],
    /// Closed channels by reason; every reason is there.
    pub closed: Vec<(CloseReason, u64)>,
    /// Refused CONNECTs by reason; every reason is there.
    pub refused: Vec<(RefusalReason, u64)>,
    /// Messages that clients published.
    pub messages_received: u64,
    /// Messages that were queued for a client.
    pub messages_queued: u64,
    /// Messages that were not queued for a client, since a limit was reached.
    pub messages_dropped: u64,
    /// Messages that were not retained, since a limit was reached.
    pub retained_refused: u64,
    /// Offline clients that were forgotten, since a limit was reached.
    pub clients_forgotten: u64,
    /// Open channels now.
    pub online: usize,
}

// Relaxed is enough: the counters are only read for reporting.
fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Stats {
    /// Counts a refused CONNECT that the broker was not asked about.
    pub fn count_refused(&self, reason: RefusalReason) {
        let index = RefusalReason::ALL.iter().position(|known| *known == reason);
        if let Some(counter) = index.and_then(|index| self.refused.get(index)) {
            add(counter);
        }
    }

    pub(crate) fn count_opened(&self, listener: &str) {
        let mut known = LISTENERS.iter().zip(&self.opened);
        if let Some((_, counter)) = known.find(|(known, _)| **known == listener) {
            add(counter);
        }
    }

    pub(crate) fn count_closed(&self, reason: CloseReason) {
        let index = CloseReason::ALL.iter().position(|known| *known == reason);
        if let Some(counter) = index.and_then(|index| self.closed.get(index)) {
            add(counter);
        }
    }

    pub(crate) fn count_received(&self) {
        add(&self.messages_received);
    }

    pub(crate) fn count_queued(&self) {
        add(&self.messages_queued);
    }

    pub(crate) fn count_dropped(&self) {
        add(&self.messages_dropped);
    }

    pub(crate) fn count_retained_refused(&self) {
        add(&self.retained_refused);
    }

    pub(crate) fn count_forgotten(&self, clients: u64) {
        self.clients_forgotten.fetch_add(clients, Ordering::Relaxed);
    }

    /// All counters. They are read one after the other, so they may differ by what happens meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        StatsSnapshot {
            opened: std::array::from_fn(|n| {
                let count = self.opened.get(n).map_or(0, read);
                (LISTENERS.get(n).copied().unwrap_or_default(), count)
            }),
            closed: CloseReason::ALL
                .iter()
                .copied()
                .zip(self.closed.iter().map(read))
                .collect(),
            refused: RefusalReason::ALL
                .iter()
                .copied()
                .zip(self.refused.iter().map(read))
                .collect(),
            messages_received: read(&self.messages_received),
            messages_queued: read(&self.messages_queued),
            messages_dropped: read(&self.messages_dropped),
            retained_refused: read(&self.retained_refused),
            clients_forgotten: read(&self.clients_forgotten),
            online: self.online.load(Ordering::Relaxed),
        }
    }
}
