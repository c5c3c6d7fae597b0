//! One queue's worker: collect, map, send, settle; one batch at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{ClientId, ErrorChain, OutboundMessage, QueueName, Slot};
use store::{DeadLetterReason, Outcome, PendingEvent, Settlement};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::CourierContext;
use super::delivery::{self, Delivered};
use super::mapping::{self, Verdict};
use super::parking::{Parking, Patience};
use crate::health::Health;

/// Events of one batch when the instance is not configured (then nothing is sent anyway).
const BATCH_DEFAULT: usize = 128;

/// Empties the slots of one queue.
#[derive(Debug)]
pub(super) struct QueueWorker {
    context: Arc<CourierContext>,
    queue: QueueName,
    slots: Vec<Slot>,
    /// Where the next collection starts, so that no slot is always last.
    cursor: usize,
    parking: Parking,
    committed: Arc<Notify>,
}

/// Events that are mapped together, and how long the clients among them had been parked.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Arc<PendingEvent>>,
    waited: HashMap<ClientId, Patience>,
}

impl QueueWorker {
    pub(super) fn new(context: Arc<CourierContext>, queue: QueueName, slots: Vec<Slot>) -> Self {
        let committed = Arc::new(Notify::new());
        context.feed.listen(Arc::clone(&committed));
        Self {
            context,
            queue,
            slots,
            cursor: 0,
            parking: Parking::default(),
            committed,
        }
    }

    /// Works until `shutdown`; the batch in flight is dropped then and offered again after the
    /// next start.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        let mut changed = self.context.rules.subscribe();
        loop {
            let batch = self.collect().await;
            if batch.events.is_empty() {
                let due = self.parking.next_due();
                let wait_for_due = async {
                    match due {
                        Some(due) => tokio::time::sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = self.committed.notified() => {}
                    () = wait_for_due => {}
                    _ = changed.changed() => {}
                }
                continue;
            }
            let verdicts = mapping::map(&self.context, &batch.events).await;
            let sends = self.judge(batch, verdicts);
            self.deliver(sends).await;
        }
    }

    /// The clients that are due, then the lanes in turn.
    async fn collect(&mut self) -> Batch {
        let batch_max = self
            .context
            .instance
            .as_ref()
            .map_or(BATCH_DEFAULT, |it| it.batch_max);
        let (events, waited) = self.parking.take_due(Instant::now());
        let mut batch = Batch { events, waited };
        let count = self.slots.len();
        for step in 0..count {
            if batch.events.len() >= batch_max || self.parking.is_full() {
                break;
            }
            let Some(slot) = self.slots.get((self.cursor + step) % count).copied() else {
                continue;
            };
            let room = batch_max - batch.events.len();
            match self.context.feed.take(slot, room).await {
                Ok(events) => {
                    for event in events {
                        if self.parking.holds(&event.event.channel.client_id) {
                            self.parking.push(event);
                        } else {
                            batch.events.push(event);
                        }
                    }
                }
                Err(error) => {
                    let reason = ErrorChain(&error).to_string();
                    if self
                        .context
                        .health
                        .report("outbox", Health::Faulted, reason.clone())
                    {
                        tracing::error!(error = %reason, "outbox cannot be read");
                    }
                    // Not a hot loop: the disk is not going to heal within microseconds.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        self.cursor = (self.cursor + 1) % count.max(1);
        batch
    }

    /// Parks, settles, and returns what is to be sent, in order.
    fn judge(
        &mut self,
        mut batch: Batch,
        verdicts: Vec<Verdict>,
    ) -> Vec<(Arc<PendingEvent>, Vec<OutboundMessage>)> {
        let now_ms = self.context.clock.now_ms();
        let age_max_ms = millis(self.context.delivery.age_max);
        let mut sends = Vec::with_capacity(batch.events.len());
        let mut settled = Vec::new();
        for (event, verdict) in batch.events.into_iter().zip(verdicts) {
            let client = event.event.channel.client_id.clone();
            if self.parking.holds(&client) {
                // An earlier event of the client was parked in this batch.
                self.parking.push(event);
                continue;
            }
            if now_ms.saturating_sub(event.event.time_ms) > age_max_ms {
                settled.push(settlement(&event, Outcome::Expired));
                continue;
            }
            match verdict {
                Verdict::Send(messages) => sends.push((event, messages)),
                Verdict::Settle(outcome) => settled.push(settlement(&event, outcome)),
                Verdict::Park(reason) => {
                    let patience = batch
                        .waited
                        .remove(&client)
                        .unwrap_or_else(|| Patience::new(now_ms));
                    self.park(event, patience, &reason, &mut settled);
                }
            }
        }
        self.settle(settled);
        sends
    }

    fn park(
        &mut self,
        event: Arc<PendingEvent>,
        patience: Patience,
        reason: &str,
        settled: &mut Vec<Settlement>,
    ) {
        let waited_ms = self
            .context
            .clock
            .now_ms()
            .saturating_sub(patience.since_ms);
        if waited_ms <= millis(self.context.delivery.retry_age_max) {
            self.parking.park(event, patience);
            return;
        }
        let detail = format!("the plugin asked for a retry for {waited_ms} ms; last: {reason}");
        if let Some(active) = self.context.rules.incarnation(self.context.incarnation) {
            let burial = mapping::burial(&active, DeadLetterReason::Rejected, detail);
            settled.push(settlement(&event, Outcome::Buried(burial)));
        } else {
            self.parking.park(event, patience);
        }
    }

    /// Sends everything and settles each event after its last message.
    async fn deliver(&self, sends: Vec<(Arc<PendingEvent>, Vec<OutboundMessage>)>) {
        if sends.is_empty() {
            return;
        }
        let Some(instance) = &self.context.instance else {
            let reason = format!(
                "the configuration has no rocketmq.instances.{}",
                self.context.destination.instance_id
            );
            self.context
                .health
                .report("route", Health::Retrying, reason);
            return std::future::pending().await;
        };
        let mut events = Vec::with_capacity(sends.len());
        let mut messages = Vec::with_capacity(sends.len());
        // The event of each message.
        let mut owners = Vec::with_capacity(sends.len());
        for (event, parts) in sends {
            owners.extend(std::iter::repeat_n(events.len(), parts.len()));
            messages.extend(parts);
            events.push(event);
        }
        match delivery::send_all(&self.context, instance, &self.queue, &messages).await {
            Delivered::Discarding => {
                self.settle(
                    events
                        .iter()
                        .map(|it| settlement(it, Outcome::Discarded))
                        .collect(),
                );
            }
            Delivered::All(refused) => self.settle_delivered(&events, &owners, refused),
        }
    }

    fn settle_delivered(
        &self,
        events: &[Arc<PendingEvent>],
        owners: &[usize],
        refused: Vec<Option<String>>,
    ) {
        let now_ms = self.context.clock.now_ms();
        let mut buried: HashSet<usize> = HashSet::new();
        let mut settled = Vec::with_capacity(events.len());
        let active = self.context.rules.incarnation(self.context.incarnation);
        for (owner, detail) in owners.iter().zip(refused) {
            let Some(detail) = detail else { continue };
            let Some(event) = events.get(*owner) else {
                continue;
            };
            if buried.insert(*owner) {
                let outcome = match &active {
                    Some(active) => {
                        Outcome::Buried(mapping::burial(active, DeadLetterReason::Refused, detail))
                    }
                    // The rule was dropped with its events while the batch was on its way.
                    None => Outcome::Discarded,
                };
                settled.push(settlement(event, outcome));
            }
        }
        let mut ages_ms = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            if !buried.contains(&index) {
                ages_ms.push(now_ms.saturating_sub(event.event.time_ms));
                settled.push(settlement(event, Outcome::Delivered));
            }
        }
        self.context
            .metrics
            .delivered(&self.context.rule_id, &ages_ms);
        self.settle(settled);
    }

    fn settle(&self, settled: Vec<Settlement>) {
        if !settled.is_empty() {
            self.context.outbox.settle(settled);
        }
    }
}

fn settlement(pending: &PendingEvent, outcome: Outcome) -> Settlement {
    Settlement {
        incarnation: pending.incarnation,
        slot: pending.slot,
        sequence: pending.event.sequence,
        outcome,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
