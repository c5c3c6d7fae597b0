//! Events → outbox. Matches by stored intent alone, never by plugin health, and never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{
    Admission, BoxFuture, ChannelFacts, ChannelTicket, CloseReason, EventType, GroupId,
    RefuseConnectError, StatusSink,
};
use store::Outbox;

use crate::groups::Groups;
use crate::rule_set::RuleSetCell;

/// What the recorder saw since start, per event type.
#[derive(Debug, Default)]
pub(crate) struct ObservedCounts {
    pub(crate) matched: [AtomicU64; 3],
    pub(crate) unmatched: [AtomicU64; 3],
    pub(crate) refused: AtomicU64,
}

impl ObservedCounts {
    fn count(&self, event_type: EventType, is_matched: bool) {
        let counters = if is_matched {
            &self.matched
        } else {
            &self.unmatched
        };
        let [connect, disconnect, tcp_clean] = counters;
        let counter = match event_type {
            EventType::Connect => connect,
            EventType::Disconnect => disconnect,
            EventType::TcpClean => tcp_clean,
        };
        // Relaxed is enough: only read for reporting.
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes status events in and hands them to the outbox.
#[derive(Debug)]
pub struct Recorder {
    outbox: Arc<Outbox>,
    rules: Arc<RuleSetCell>,
    groups: Arc<Groups>,
    counts: Arc<ObservedCounts>,
}

impl Recorder {
    pub(crate) fn new(
        outbox: Arc<Outbox>,
        rules: Arc<RuleSetCell>,
        groups: Arc<Groups>,
        counts: Arc<ObservedCounts>,
    ) -> Self {
        Self {
            outbox,
            rules,
            groups,
            counts,
        }
    }

    fn try_admit(&self, group: Option<&GroupId>) -> Result<Admission, RefuseConnectError> {
        let incarnation = match group {
            Some(group) if !self.groups.admits(group) => {
                return Err(RefuseConnectError::UnknownGroup);
            }
            Some(group) => self.rules.matching(group),
            None => None,
        };
        self.outbox.reserve(incarnation)?;
        Ok(Admission { incarnation })
    }
}

impl StatusSink for Recorder {
    fn admit(&self, group: Option<&GroupId>) -> Result<Admission, RefuseConnectError> {
        self.try_admit(group).inspect_err(|_| {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn release(&self, admission: Admission) {
        self.outbox.release(admission.incarnation);
    }

    fn opened(&self, admission: Admission, channel: &Arc<ChannelFacts>) -> ChannelTicket {
        self.counts
            .count(EventType::Connect, admission.incarnation.is_some());
        self.outbox.append_opened(admission.incarnation, channel)
    }

    fn closing(
        &self,
        ticket: ChannelTicket,
        channel: &Arc<ChannelFacts>,
        event_type: EventType,
        reason: CloseReason,
    ) {
        self.counts.count(event_type, ticket.incarnation.is_some());
        self.outbox
            .append_closing(ticket, channel, event_type, reason);
    }

    fn committed(&self) -> BoxFuture<'static, bool> {
        let waiter = self.outbox.committed();
        Box::pin(async move { waiter.await.unwrap_or(false) })
    }
}
