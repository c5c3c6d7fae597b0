//! Events → outbox. Matches by stored intent alone, never by plugin health, and never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{
    Admission, BoxFuture, ChannelFacts, ChannelTicket, CloseReason, EventType, GroupId,
    IncarnationId, RefuseConnectError, StatusSink,
};
use store::{Outbox, PendingEvent};

use crate::groups::Groups;
use crate::refusals::Refusals;
use crate::rule_set::RuleSetCell;

/// What was seen since start, per event type: connect, disconnect, tcpclean.
///
/// An event counts when its fate is known: no rule matched it, it was refused, or its commit is done.
#[derive(Debug, Default)]
pub(crate) struct ObservedCounts {
    unmatched: [AtomicU64; 3],
    recorded: [AtomicU64; 3],
    pub(crate) refusals: Refusals,
}

impl ObservedCounts {
    /// Events that no rule matched.
    pub(crate) fn unmatched(&self) -> [u64; 3] {
        read(&self.unmatched)
    }

    /// Events whose commit is done.
    pub(crate) fn recorded(&self) -> [u64; 3] {
        read(&self.recorded)
    }

    /// Counts freshly committed events. Runs on the store's writer thread.
    pub(crate) fn committed(&self, events: &[Arc<PendingEvent>]) {
        for event in events.iter().filter(|event| !event.is_replay()) {
            count(&self.recorded, event.event.event_type);
        }
    }
}

fn read(counters: &[AtomicU64; 3]) -> [u64; 3] {
    counters.each_ref().map(|it| it.load(Ordering::Relaxed))
}

fn count(counters: &[AtomicU64; 3], event_type: EventType) {
    let [connect, disconnect, tcp_clean] = counters;
    let counter = match event_type {
        EventType::Connect => connect,
        EventType::Disconnect => disconnect,
        EventType::TcpClean => tcp_clean,
    };
    // Relaxed is enough: only read for reporting.
    counter.fetch_add(1, Ordering::Relaxed);
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

    fn refused(&self, incarnation: IncarnationId, group: &GroupId, reason: RefuseConnectError) {
        let refusals = &self.counts.refusals;
        match self.rules.incarnation(incarnation) {
            Some(active) => refusals.refused(&active.rule_id, group, reason),
            // The rule was deleted and forgotten in between.
            None => refusals.refused_of_none(),
        }
    }
}

impl StatusSink for Recorder {
    fn admit(&self, group: Option<&GroupId>) -> Result<Admission, RefuseConnectError> {
        // A client without a group, or of a group without a rule, causes no event: it needs no room.
        let Some(group) = group else {
            return Ok(Admission { incarnation: None });
        };
        if !self.groups.admits(group) {
            return Err(RefuseConnectError::UnknownGroup);
        }
        let Some((incarnation, predecessors)) = self.rules.matching(group) else {
            return Ok(Admission { incarnation: None });
        };
        let reserved = self.outbox.reserve_after(incarnation, &predecessors);
        reserved.inspect_err(|reason| self.refused(incarnation, group, *reason))?;
        Ok(Admission {
            incarnation: Some(incarnation),
        })
    }

    fn release(&self, admission: Admission) {
        self.outbox.release(admission.incarnation);
    }

    fn opened(&self, admission: Admission, channel: &Arc<ChannelFacts>) -> ChannelTicket {
        if admission.incarnation.is_none() {
            count(&self.counts.unmatched, EventType::Connect);
        }
        self.outbox.append_opened(admission.incarnation, channel)
    }

    fn closing(
        &self,
        ticket: ChannelTicket,
        channel: &Arc<ChannelFacts>,
        event_type: EventType,
        reason: CloseReason,
    ) {
        if ticket.incarnation.is_none() {
            count(&self.counts.unmatched, event_type);
        }
        self.outbox
            .append_closing(ticket, channel, event_type, reason);
    }

    fn committed(&self) -> BoxFuture<'static, bool> {
        let waiter = self.outbox.committed();
        Box::pin(async move { waiter.await.unwrap_or(false) })
    }
}
