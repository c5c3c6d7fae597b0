//! One queue's worker: collect, map, send, settle; one batch at a time. Between two batches it lets go
//! of slots that are wanted elsewhere; evicted, it does so at once and gives back what it has.

mod collect;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::{ClientId, Slot};
use store::fail_point::{self, FailPoint};
use store::{DeadLetterReason, Outcome, PendingEvent};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::CourierContext;
use super::context::millis;
use super::delivery::{self, Fate, Parcel, Target};
use super::gate::Gate;
use super::mapping::{self, Judged, Verdict};
use super::notes::Notes;
use super::parking::{Parking, Patience};
use super::settling::{self, Decided};
use super::table::{Line, SlotTable};
use crate::health::Health;
use crate::samples::SampleOutcome;

/// Empties the slots of one queue.
#[derive(Debug)]
pub(super) struct QueueWorker {
    context: Arc<CourierContext>,
    table: Arc<SlotTable>,
    line: Arc<Line>,
    slots: Vec<Slot>,
    /// The version of the table that `slots` are from.
    seen: u64,
    /// Where the next collection starts, so that no slot is always last.
    cursor: usize,
    gate: Gate,
    parking: Parking,
}

/// Events that are mapped together, and how long the clients among them had been parked.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Arc<PendingEvent>>,
    waited: HashMap<ClientId, Patience>,
    /// Events wait for those of an earlier incarnation.
    is_held: bool,
    /// Events were taken from a lane, though perhaps only to be put behind their parked clients.
    is_moving: bool,
}

impl QueueWorker {
    pub(super) fn new(
        context: Arc<CourierContext>,
        table: Arc<SlotTable>,
        line: Arc<Line>,
    ) -> Self {
        context.feed.listen(Arc::clone(&line.wake));
        Self {
            gate: Gate::new(&context),
            context,
            table,
            line,
            slots: Vec::new(),
            seen: 0,
            cursor: 0,
            parking: Parking::default(),
        }
    }

    /// Works until it has no slots any more, or `shutdown`; the batch in flight is dropped then and
    /// offered again after the next start.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.work() => {}
        }
        self.context.feed.unlisten(&self.line.wake);
        self.context.health.clear(&self.line.part());
        self.context.health.clear(&self.parked_part());
    }

    async fn work(&mut self) {
        let mut changed = self.context.rules.subscribe();
        loop {
            let was_evicted = self.line.is_evicted();
            if was_evicted {
                let parked = self.parking.take_all();
                self.give_back(parked);
            }
            let parked = || self.parking.slots();
            if let Some(slots) = self.table.slots(&self.line, &mut self.seen, parked) {
                if slots.is_empty() {
                    return;
                }
                self.slots = slots;
            }
            if was_evicted && self.line.is_evicted() {
                // The plan changed meanwhile; the next one lifts the eviction.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            if changed.has_changed().unwrap_or(false) {
                changed.borrow_and_update();
                self.parking.hasten(Instant::now());
            }
            let batch = self.collect().await;
            if batch.events.is_empty() && batch.is_moving {
                // Others of the slot may be behind what was put aside; that ends when no more may be parked.
                tokio::task::yield_now().await;
            } else if batch.events.is_empty() {
                self.idle(&mut changed, batch.is_held).await;
            } else {
                self.carry(batch).await;
            }
        }
    }

    /// Waits for something to do.
    async fn idle(&mut self, changed: &mut watch::Receiver<u64>, is_held: bool) {
        let gate = is_held.then(|| Instant::now() + self.context.timings.gate_every);
        let due = [self.parking.next_due(), gate].into_iter().flatten().min();
        let wait_for_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.line.wake.notified() => {}
            () = wait_for_due => {}
            // A plugin that was replaced may map what the one before could not.
            _ = changed.changed() => self.parking.hasten(Instant::now()),
        }
    }

    /// Takes a batch all the way. Evicted meanwhile, it gives back what is not settled.
    async fn carry(&mut self, batch: Batch) {
        let is_again =
            |event: &PendingEvent| batch.waited.contains_key(&event.event.channel.client_id);
        let mapped = tokio::select! {
            biased;
            () = self.line.evicted() => None,
            verdicts = mapping::map(&self.context, &batch.events, is_again) => Some(verdicts),
        };
        let Some(verdicts) = mapped else {
            self.give_back(batch.events);
            return;
        };
        let (parcels, decided) = self.judge(batch, verdicts);
        if !self.settle(decided).await {
            self.give_back(parcels.into_iter().map(|parcel| parcel.event).collect());
            return;
        }
        self.deliver(parcels).await;
    }

    /// Parks, decides, and returns what is to be sent, in order.
    fn judge(&mut self, mut batch: Batch, judged: Vec<Judged>) -> (Vec<Parcel>, Vec<Decided>) {
        let now_ms = self.context.clock.now_ms();
        let mut parcels = Vec::with_capacity(batch.events.len());
        let mut decided = Vec::new();
        let mut notes = Notes::new(now_ms);
        let mut last_fault = None;
        for (event, Judged { verdict, origin }) in batch.events.into_iter().zip(judged) {
            let client = event.event.channel.client_id.clone();
            if self.parking.holds(&client) {
                // An earlier event of the client was parked in this batch.
                self.parking.push(event);
                continue;
            }
            if self.context.is_expired(&event) {
                decided.push((event, Outcome::Expired));
                continue;
            }
            let mut patience = || {
                let waited = batch.waited.remove(&client);
                waited.unwrap_or_else(Patience::new)
            };
            match verdict {
                Verdict::Send(messages) => parcels.push(Parcel {
                    event,
                    messages,
                    origin,
                }),
                Verdict::Skip(reason) => {
                    let outcome = SampleOutcome::skipped(reason.as_deref());
                    notes.add(&event, &origin, outcome);
                    decided.push((event, Outcome::Skipped));
                }
                Verdict::Settle(outcome) => {
                    notes.add_ended(&event, &origin, &outcome);
                    decided.push((event, outcome));
                }
                Verdict::Wait(reason) => {
                    notes.add(&event, &origin, SampleOutcome::retried(&reason));
                    self.parking.park(event, patience().after_fault(true));
                    last_fault = Some(reason);
                }
                Verdict::Park(reason) => {
                    let patience = patience().after_fault(false);
                    let ended = self.park(Arc::clone(&event), patience, &reason);
                    match &ended {
                        Some((event, outcome)) => notes.add_ended(event, &origin, outcome),
                        None => notes.add(&event, &origin, SampleOutcome::retried(&reason)),
                    }
                    decided.extend(ended);
                }
            }
        }
        self.report_faulted(last_fault);
        notes.keep(&self.context);
        (parcels, decided)
    }

    /// Parks the client of `event`, or decides its end if it has waited for too long.
    fn park(
        &mut self,
        event: Arc<PendingEvent>,
        patience: Patience,
        reason: &str,
    ) -> Option<Decided> {
        let waited_ms = millis(patience.since.elapsed());
        let active = self.context.rules.incarnation(self.context.incarnation);
        match active {
            Some(active) if waited_ms > millis(self.context.delivery.retry_age_max) => {
                let detail =
                    format!("the plugin asked for a retry for {waited_ms} ms; last: {reason}");
                let burial = mapping::burial(&active, DeadLetterReason::Rejected, detail);
                Some((event, Outcome::Buried(burial)))
            }
            _ => {
                self.parking.park(event, patience);
                None
            }
        }
    }

    fn parked_part(&self) -> String {
        format!("clients of {}", self.line.queue)
    }

    /// Shows whether clients wait for a plugin that ran out of time or memory.
    fn report_faulted(&self, last: Option<String>) {
        let health = &self.context.health;
        let clients = self.parking.faulted();
        if clients == 0 {
            health.clear(&self.parked_part());
        } else if let Some(fault) = last {
            let reason = format!(
                "{clients} clients wait, since the plugin fails on their events; last: {fault}"
            );
            health.report(&self.parked_part(), Health::Retrying, reason);
        }
    }

    /// Sends everything and settles each event after its last message.
    async fn deliver(&mut self, parcels: Vec<Parcel>) {
        if parcels.is_empty() {
            return;
        }
        let context = Arc::clone(&self.context);
        let Some(instance) = &context.instance else {
            self.wait_for_end(parcels).await;
            return;
        };
        let target = Target {
            context: &context,
            instance,
            table: &self.table,
            line: &self.line,
        };
        let events: Vec<_> = parcels.iter().map(|it| Arc::clone(&it.event)).collect();
        let mut notes = Notes::new(0);
        notes.expect(&parcels);
        let fates = delivery::send_all(target, parcels).await;
        notes.delivered(&fates, context.clock.now_ms());
        notes.keep(&context);
        if fates.contains(&Fate::Stored) {
            fail_point::reached(FailPoint::AfterSend);
        }
        let (decided, left) = self.decide(events, fates);
        self.give_back(left);
        self.settle(decided).await;
    }

    /// Without an instance, events only end by becoming too old or by being dropped.
    async fn wait_for_end(&self, parcels: Vec<Parcel>) {
        let context = &self.context;
        let reason = context.missing_instance();
        context.health.report("route", Health::Retrying, reason);
        let mut events: Vec<_> = parcels.into_iter().map(|parcel| parcel.event).collect();
        while !events.is_empty() {
            tokio::time::sleep(context.timings.burial_every).await;
            let outcome = match context.is_discarding() {
                true => Outcome::Discarded,
                false => Outcome::Expired,
            };
            let is_over = |event: &Arc<PendingEvent>| {
                outcome == Outcome::Discarded || context.is_expired(event)
            };
            let (over, rest): (Vec<_>, Vec<_>) = events.into_iter().partition(is_over);
            let decided = over.into_iter().map(|event| (event, outcome.clone()));
            settling::settle(context, decided.collect()).await;
            events = rest;
        }
    }

    /// How each event ends, and those that do not end here.
    fn decide(
        &self,
        events: Vec<Arc<PendingEvent>>,
        fates: Vec<Fate>,
    ) -> (Vec<Decided>, Vec<Arc<PendingEvent>>) {
        let active = self.context.rules.incarnation(self.context.incarnation);
        let (mut decided, mut left) = (Vec::with_capacity(events.len()), Vec::new());
        let mut ages = Vec::with_capacity(events.len());
        for (event, fate) in events.into_iter().zip(fates) {
            let outcome = match fate {
                Fate::Left => {
                    left.push(event);
                    continue;
                }
                Fate::Stored => {
                    ages.push(self.age(&event));
                    Outcome::Delivered
                }
                Fate::Expired => Outcome::Expired,
                Fate::Discarded => Outcome::Discarded,
                Fate::Refused(detail) => match &active {
                    Some(active) => {
                        let reason = DeadLetterReason::Refused;
                        Outcome::Buried(mapping::burial(active, reason, detail))
                    }
                    // The rule was dropped with its events while the batch was on its way.
                    None => Outcome::Discarded,
                },
            };
            decided.push((event, outcome));
        }
        let rule_id = &self.context.rule_id;
        self.context.metrics.delivered_after(rule_id, &ages);
        (decided, left)
    }

    /// Since the event happened; to the microsecond if it never left memory.
    fn age(&self, event: &PendingEvent) -> Duration {
        match event.appended {
            Some(appended) => appended.elapsed(),
            None => {
                let now_ms = self.context.clock.now_ms();
                Duration::from_millis(now_ms.saturating_sub(event.entered_ms))
            }
        }
    }

    /// Settles; false if the worker was evicted while burials waited for room. They are given back.
    async fn settle(&self, decided: Vec<Decided>) -> bool {
        let burials: Vec<_> = decided
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Buried(_)))
            .map(|(event, _)| Arc::clone(event))
            .collect();
        tokio::select! {
            biased;
            () = settling::settle(&self.context, decided) => true,
            () = self.line.evicted() => {
                self.give_back(burials);
                false
            }
        }
    }

    /// Puts events back to the front of their lanes.
    fn give_back(&self, events: Vec<Arc<PendingEvent>>) {
        let mut by_slot: BTreeMap<Slot, Vec<_>> = BTreeMap::new();
        for event in events {
            by_slot.entry(event.slot).or_default().push(event);
        }
        for (slot, events) in by_slot {
            self.context.feed.give_back(slot, events);
        }
    }
}
