//! Events → verdicts, through the rule's plugin, with the rule's policy for faults.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{Mapping, OnFault, OnReject, OutboundMessage, RejectEvent, StatusEvent};
use plugin_runtime::MapperFault;
use store::{Burial, DeadLetterReason, Outcome, PendingEvent};

use super::CourierContext;
use crate::backoff::Backoff;
use crate::health::Health;
use crate::rule_set::{ActiveIncarnation, LoadedMapper};

const PART: &str = "plugin";
/// Tries of one event, each in a fresh instance after the first.
const TRIES_MAX: u32 = 3;
/// After so many events in a row that faulted on every try, the plugin is at fault, not the
/// events: the rule pauses and buries nothing.
const FAULTS_IN_A_ROW_MAX: u32 = 5;

/// What becomes of one event.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Send these; never empty.
    Send(Vec<OutboundMessage>),
    /// Nothing to send.
    Settle(Outcome),
    /// Its client waits, as long as the plugin may ask for it.
    Park(String),
    /// Its client waits, however long it takes: the plugin ran out of time or memory.
    Wait(String),
}

/// Maps `events`, waiting for a working plugin if there is none now. One verdict per event.
/// `is_again` says of an event whether its client was parked for it: a fault on it is no news then.
pub(super) async fn map(
    context: &CourierContext,
    events: &[Arc<PendingEvent>],
    is_again: impl Fn(&PendingEvent) -> bool,
) -> Vec<Verdict> {
    let (active, loaded) = match wait_for_mapper(context).await {
        Found::Discarding => {
            return events
                .iter()
                .map(|_| Verdict::Settle(Outcome::Discarded))
                .collect();
        }
        Found::Mapper(active, loaded) => (active, loaded),
    };
    let inputs = events
        .iter()
        .map(|pending| Arc::new(pending.event.clone()))
        .collect();
    let started = tokio::time::Instant::now();
    let results = context.runtime.map(&loaded.mapper, inputs).await;
    context
        .metrics
        .mapped(&context.rule_id, started.elapsed(), events.len());
    let mut verdicts = Vec::with_capacity(events.len());
    for (pending, result) in events.iter().zip(results) {
        let first = First {
            active: &active,
            result,
            is_again: is_again(pending),
        };
        let mut verdict = resolve(context, &pending.event, first).await;
        if let Verdict::Send(messages) = &mut verdict
            && pending.is_replay()
        {
            for message in messages {
                let replayed = ("replayed".to_owned(), "true".to_owned());
                message.properties.push(replayed);
            }
        }
        verdicts.push(verdict);
    }
    verdicts
}

enum Found {
    Discarding,
    Mapper(Arc<ActiveIncarnation>, LoadedMapper),
}

async fn wait_for_mapper(context: &CourierContext) -> Found {
    let mut changed = context.rules.subscribe();
    loop {
        changed.borrow_and_update();
        let reason = match context.rules.incarnation(context.incarnation) {
            Some(active) if active.is_discarding => return Found::Discarding,
            Some(active) => match active.mapper.clone() {
                Ok(loaded) => {
                    if context.faults_in_a_row.load(Ordering::Relaxed) < FAULTS_IN_A_ROW_MAX {
                        context.health.clear(PART);
                    }
                    return Found::Mapper(active, loaded);
                }
                Err(reason) => reason,
            },
            None => "the rule is not loaded".to_owned(),
        };
        context.health.report(PART, Health::Faulted, reason);
        if changed.changed().await.is_err() {
            // The host is going down; the select around the worker ends this.
            std::future::pending::<()>().await;
        }
    }
}

/// The first try of an event.
struct First<'a> {
    active: &'a Arc<ActiveIncarnation>,
    result: Result<Mapping, MapperFault>,
    is_again: bool,
}

/// Follows one event through its tries to a verdict.
async fn resolve(context: &CourierContext, event: &StatusEvent, first: First<'_>) -> Verdict {
    let mut active = Arc::clone(first.active);
    let mut result = first.result;
    let mut tries = 1;
    let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let fault = match result {
            Ok(mapping) => {
                context.faults_in_a_row.store(0, Ordering::Relaxed);
                context.health.clear(PART);
                return verdict(context, &active, event, mapping);
            }
            Err(fault) => fault,
        };
        context.metrics.faulted(&context.rule_id, fault.kind());
        if first.is_again {
            return after_fault(context, &active, event, &fault).await;
        }
        if tries >= TRIES_MAX {
            let in_a_row = context.faults_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
            if in_a_row < FAULTS_IN_A_ROW_MAX {
                return after_fault(context, &active, event, &fault).await;
            }
            let reason = format!("the plugin failed on {in_a_row} events in a row; last: {fault}");
            if context.health.report(PART, Health::Faulted, reason) {
                tracing::error!(rule_id = %context.rule_id, error = %fault, "plugin fails on most events, rule pauses");
            }
            let mut changed = context.rules.subscribe();
            // A plugin that is replaced is tried at once.
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep(pause.next()) => {}
            }
            tries = 0;
        }
        tries += 1;
        match wait_for_mapper(context).await {
            Found::Discarding => return Verdict::Settle(Outcome::Discarded),
            Found::Mapper(now, loaded) => {
                result = map_one(context, &loaded, event).await;
                active = now;
            }
        }
    }
}

async fn map_one(
    context: &CourierContext,
    loaded: &LoadedMapper,
    event: &StatusEvent,
) -> Result<Mapping, MapperFault> {
    let mut results = context
        .runtime
        .map(&loaded.mapper, vec![Arc::new(event.clone())])
        .await;
    results.pop().unwrap_or(Ok(Mapping::Deliver(Vec::new())))
}

async fn after_fault(
    context: &CourierContext,
    active: &ActiveIncarnation,
    event: &StatusEvent,
    fault: &MapperFault,
) -> Verdict {
    match active.mapping.on_fault {
        // Not the event's fault: its client waits for a quieter host.
        OnFault::DeadLetter if fault.may_be_load() => Verdict::Wait(fault.to_string()),
        OnFault::DeadLetter => bury(active, DeadLetterReason::Fault, fault.to_string()),
        OnFault::Retry => Verdict::Park(fault.to_string()),
        OnFault::Skip => Verdict::Settle(Outcome::Skipped),
        OnFault::Default => match &active.fallback {
            Some(fallback) => match map_one(context, fallback, event).await {
                Ok(mapping) => verdict(context, active, event, mapping),
                Err(second) => bury(active, DeadLetterReason::Fault, second.to_string()),
            },
            None => bury(active, DeadLetterReason::Fault, fault.to_string()),
        },
    }
}

fn verdict(
    context: &CourierContext,
    active: &ActiveIncarnation,
    event: &StatusEvent,
    mapping: Mapping,
) -> Verdict {
    match mapping {
        Mapping::Deliver(messages) if messages.is_empty() => Verdict::Settle(Outcome::Skipped),
        Mapping::Deliver(messages) => Verdict::Send(stamped(context, event, messages)),
        Mapping::Reject(RejectEvent::Retry(reason)) => Verdict::Park(reason),
        Mapping::Reject(RejectEvent::Rejected(reason)) => match active.mapping.on_reject {
            OnReject::DeadLetter => bury(active, DeadLetterReason::Rejected, reason),
            OnReject::Skip => Verdict::Settle(Outcome::Skipped),
        },
    }
}

/// The verdict that keeps an event as a dead letter.
pub(super) fn bury(
    active: &ActiveIncarnation,
    reason: DeadLetterReason,
    detail: String,
) -> Verdict {
    Verdict::Settle(Outcome::Buried(burial(active, reason, detail)))
}

/// Why an event is buried, and what the rule was then.
pub(super) fn burial(
    active: &ActiveIncarnation,
    reason: DeadLetterReason,
    detail: String,
) -> Burial {
    Burial {
        reason,
        detail,
        rule_id: active.rule_id.clone(),
        revision: active.revision,
        plugin_digest: active.mapper.as_ref().ok().map(|loaded| loaded.digest),
    }
}

/// Adds what the host adds to every message.
fn stamped(
    context: &CourierContext,
    event: &StatusEvent,
    mut messages: Vec<OutboundMessage>,
) -> Vec<OutboundMessage> {
    let parts = messages.len();
    for (index, message) in messages.iter_mut().enumerate() {
        let mut add = |name: &str, value: String| message.properties.push((name.to_owned(), value));
        add("eventId", event.event_id.to_string());
        add("sequence", event.sequence.0.to_string());
        add("groupId", context.group_id.to_string());
        if parts > 1 {
            add("part", format!("{}/{parts}", index + 1));
        }
        if let Some(synthetic) = event.synthetic {
            add("synthetic", synthetic.as_str().to_owned());
        }
    }
    messages
}
