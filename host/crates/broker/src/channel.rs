//! One open connection as the registry sees it: what is owed to the status sink, and what was paid.
//!
//! A phase only moves forward and only under the lock of the client's shard, so that every event is
//! emitted once, in order. The lock in here is for readers that do not hold the shard.

use std::sync::Arc;

use domain::{ChannelFacts, ChannelTicket, CloseReason, EventType, StatusSink};
use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client said DISCONNECT; the socket is still there.
    Disconnected(CloseReason),
    Closed(CloseReason),
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) facts: Arc<ChannelFacts>,
    pub(crate) ticket: ChannelTicket,
    phase: Mutex<Phase>,
    /// Wakes who writes to the socket: a message waits or the channel is closed.
    pub(crate) changed: Notify,
}

impl Channel {
    pub(crate) fn new(facts: Arc<ChannelFacts>, ticket: ChannelTicket) -> Arc<Self> {
        Arc::new(Self {
            facts,
            ticket,
            phase: Mutex::new(Phase::Open),
            changed: Notify::new(),
        })
    }

    /// The client's DISCONNECT. A late one, of a closed channel, is nothing.
    pub(crate) fn disconnect(&self, sink: &dyn StatusSink, reason: CloseReason) -> bool {
        let mut phase = self.phase.lock();
        if *phase != Phase::Open {
            return false;
        }
        *phase = Phase::Disconnected(reason);
        sink.closing(self.ticket, &self.facts, EventType::Disconnect, reason);
        true
    }

    /// The end of the connection; the reason of an earlier DISCONNECT stays. `None`: it ended before.
    pub(crate) fn close(&self, sink: &dyn StatusSink, reason: CloseReason) -> Option<CloseReason> {
        let mut phase = self.phase.lock();
        let reason = match *phase {
            Phase::Closed(_) => return None,
            Phase::Disconnected(given) => given,
            Phase::Open => {
                if reason.is_client_disconnect() {
                    sink.closing(self.ticket, &self.facts, EventType::Disconnect, reason);
                }
                reason
            }
        };
        *phase = Phase::Closed(reason);
        sink.closing(self.ticket, &self.facts, EventType::TcpClean, reason);
        drop(phase);
        self.changed.notify_one();
        Some(reason)
    }

    /// Why it was closed; `None` while it is open.
    pub(crate) fn closed(&self) -> Option<CloseReason> {
        match *self.phase.lock() {
            Phase::Closed(reason) => Some(reason),
            Phase::Open | Phase::Disconnected(_) => None,
        }
    }
}
