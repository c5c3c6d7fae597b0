//! Messages → one queue, until stored or refused for good. A retried batch is offered again byte
//! for byte; a refused one is bisected, so that a single bad message buries itself only.
//!
//! Between two tries it is asked whether the events are still wanted: those that became too old are
//! left out, and a worker that is evicted stops. What was not stored is then somebody else's.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{OutboundMessage, SendError, StoredAs};
use store::PendingEvent;
use tokio::time::Instant;

use super::CourierContext;
use super::mapping::Origin;
use super::table::{Line, SlotTable};
use crate::backoff::Backoff;
use crate::config::InstanceConfig;
use crate::health::Health;

/// An event and its messages; never empty.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) event: Arc<PendingEvent>,
    pub(super) messages: Vec<OutboundMessage>,
    pub(super) origin: Origin,
}

/// What became of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not all of it is stored, and it is not to be offered here any more.
    Left,
    /// All of it is stored.
    Stored,
    /// RocketMQ refused a part of it for good; says why.
    Refused(String),
    /// It became too old before all of it was stored.
    Expired,
    /// It is not wanted any more.
    Discarded,
}

/// Where to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) context: &'a CourierContext,
    pub(super) instance: &'a InstanceConfig,
    pub(super) table: &'a SlotTable,
    pub(super) line: &'a Line,
}

/// One delivery under way.
struct Delivery<'a> {
    target: Target<'a>,
    messages: Vec<OutboundMessage>,
    /// The parcel of each message.
    owners: Vec<usize>,
    events: Vec<Arc<PendingEvent>>,
    fates: Vec<Fate>,
    /// Messages that are stored.
    stored: Vec<bool>,
    /// A stack of runs still to send, the first on top.
    runs: Vec<Range<usize>>,
    /// When the first of the tries began that failed in a row.
    failing_since: Option<Instant>,
}

/// Sends `parcels` in order. One fate each.
pub(super) async fn send_all(target: Target<'_>, parcels: Vec<Parcel>) -> Vec<Fate> {
    let mut delivery = Delivery::new(target, parcels);
    // An eviction drops a send whose answer is not there yet: it may be stored all the same.
    tokio::select! {
        () = target.line.evicted() => {}
        () = delivery.run() => {}
    }
    delivery.settled()
}

impl<'a> Delivery<'a> {
    fn new(target: Target<'a>, parcels: Vec<Parcel>) -> Self {
        let mut messages = Vec::with_capacity(parcels.len());
        let mut owners = Vec::with_capacity(parcels.len());
        let mut events = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            owners.extend(std::iter::repeat_n(events.len(), parcel.messages.len()));
            messages.extend(parcel.messages);
            events.push(parcel.event);
        }
        let mut runs = split(&messages, target.instance);
        runs.reverse();
        Self {
            target,
            fates: vec![Fate::Stored; events.len()],
            stored: vec![false; messages.len()],
            messages,
            owners,
            events,
            runs,
            failing_since: target.table.failing_since(&target.line.queue),
        }
    }

    async fn run(&mut self) {
        let context = self.target.context;
        // The first pause is short: most faults are one lost connection.
        let mut backoff =
            Backoff::new(context.timings.send_pause_first, context.timings.send_pause);
        while let Some(run) = self.runs.pop() {
            if run.len() > 1 && context.is_single.load(Ordering::Relaxed) {
                self.runs.extend(run.rev().map(|index| index..index + 1));
                continue;
            }
            let began = Instant::now();
            let Some(sent) = self.offer(run.clone()).await else {
                continue;
            };
            match sent {
                Ok(_) => {
                    backoff.reset();
                    self.works();
                    self.mark_stored(run);
                }
                Err(error) => {
                    if let Some((run, error)) = self.refused(run, error) {
                        self.runs.push(run);
                        if context.is_discarding() {
                            self.end_rest(&Fate::Discarded);
                            return;
                        }
                        self.fails(began, &error);
                        tokio::time::sleep(backoff.next()).await;
                        self.leave_out_expired();
                    }
                }
            }
        }
    }

    /// One try. Tells the watcher when the answer does not come soon: the broker may be gone.
    async fn offer(&self, run: Range<usize>) -> Option<Result<StoredAs, SendError>> {
        let batch = self.messages.get(run)?;
        let Target {
            context,
            instance,
            table,
            line,
        } = self.target;
        let began = Instant::now();
        let topic = &context.destination.topic;
        let mut send = instance.sender.send(topic, &line.queue, batch);
        let sent = match tokio::time::timeout(context.timings.send_slow, &mut send).await {
            Ok(sent) => sent,
            Err(_) => {
                table.is_slow();
                send.await
            }
        };
        let instance_id = &context.destination.instance_id;
        context.metrics.send_timed(instance_id, began.elapsed());
        let outcome = match &sent {
            Ok(stored) => stored.as_str(),
            Err(error) => error.kind(),
        };
        context.metrics.sent(instance_id, outcome);
        Some(sent)
    }

    fn mark_stored(&mut self, run: Range<usize>) {
        for stored in self.stored.get_mut(run).into_iter().flatten() {
            *stored = true;
        }
    }

    /// Takes a refusal in; gives `run` back if it is to be tried again later.
    fn refused(
        &mut self,
        run: Range<usize>,
        error: SendError,
    ) -> Option<(Range<usize>, SendError)> {
        match error {
            SendError::Refused { .. } if run.len() > 1 => {
                let middle = run.start + run.len() / 2;
                self.runs.push(middle..run.end);
                self.runs.push(run.start..middle);
            }
            SendError::Refused { detail } => {
                let fate = self.fate_of(run.start);
                if let Some(fate) = fate {
                    *fate = Fate::Refused(detail);
                }
                // Nothing is left to be done with it.
                self.mark_stored(run);
            }
            SendError::BatchRefused { detail } if run.len() > 1 => {
                let instance_id = &self.target.context.destination.instance_id;
                tracing::warn!(%instance_id, error = %detail, "server refuses batches, messages go one by one");
                self.target.context.is_single.store(true, Ordering::Relaxed);
                self.runs.push(run);
            }
            other => return Some((run, other)),
        }
        None
    }

    fn fate_of(&mut self, message: usize) -> Option<&mut Fate> {
        let owner = self.owners.get(message)?;
        self.fates.get_mut(*owner)
    }

    fn works(&mut self) {
        let Target {
            context,
            table,
            line,
            ..
        } = self.target;
        if self.failing_since.take().is_some() {
            table.works(&line.queue);
            context.health.clear(&line.part());
        }
    }

    fn fails(&mut self, began: Instant, error: &SendError) {
        let Target {
            context,
            table,
            line,
            ..
        } = self.target;
        let since = *self.failing_since.get_or_insert(began);
        // Without permission no other queue would take it.
        if !matches!(error, SendError::Denied { .. }) {
            table.fails(&line.queue, since);
        }
        let reason = context.waiting_reason(&line.queue, &error.to_string());
        if context
            .health
            .report(&line.part(), Health::Retrying, reason)
        {
            tracing::warn!(rule_id = %context.rule_id, queue = %line.queue, error = %error, "send failed, retrying");
        }
    }

    /// Messages of events that are too old by now are not offered again.
    fn leave_out_expired(&mut self) {
        let context = self.target.context;
        let is_expired: Vec<_> = self
            .events
            .iter()
            .map(|event| context.is_expired(event))
            .collect();
        if !is_expired.contains(&true) {
            return;
        }
        let mut runs: Vec<Range<usize>> = Vec::with_capacity(self.runs.len());
        for run in std::mem::take(&mut self.runs) {
            let bottom = runs.len();
            // The stack is upside down, and so are the parts of a run.
            for index in run.rev() {
                let Some(owner) = self.owners.get(index).copied() else {
                    continue;
                };
                if is_expired.get(owner) == Some(&true) {
                    if let Some(fate) = self.fates.get_mut(owner)
                        && *fate == Fate::Stored
                    {
                        *fate = Fate::Expired;
                    }
                    continue;
                }
                match runs.get_mut(bottom..).and_then(<[_]>::last_mut) {
                    Some(last) if last.start == index + 1 => last.start = index,
                    _ => runs.push(index..index + 1),
                }
            }
        }
        self.runs = runs;
    }

    fn end_rest(&mut self, fate: &Fate) {
        for run in std::mem::take(&mut self.runs) {
            for index in run {
                if let Some(slot) = self.fate_of(index) {
                    *slot = fate.clone();
                }
            }
        }
    }

    fn settled(mut self) -> Vec<Fate> {
        for (stored, owner) in self.stored.iter().zip(&self.owners) {
            if let Some(fate) = self.fates.get_mut(*owner)
                && !stored
                && *fate == Fate::Stored
            {
                *fate = Fate::Left;
            }
        }
        self.fates
    }
}

/// Runs of messages that fit one batch, by count and bytes; at least one message each.
fn split(messages: &[OutboundMessage], instance: &InstanceConfig) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, message) in messages.iter().enumerate() {
        let size = size(message);
        let is_full =
            index - start >= instance.batch_max || bytes + size > instance.batch_bytes_max;
        if index > start && is_full {
            runs.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < messages.len() {
        runs.push(start..messages.len());
    }
    runs
}

/// About what a message takes on the wire: RocketMQ adds about 100 bytes to each.
fn size(message: &OutboundMessage) -> usize {
    let properties: usize = message
        .properties
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    let keys: usize = message.keys.iter().map(|key| key.len() + 1).sum();
    message.body.len() + properties + keys + 128
}
