//! Events → verdicts, through the rule's plugin, with the rule's policy for faults.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{
    Mapping, OnFault, OnReject, OutboundMessage, RejectEvent, StatusEvent, VersionSelector,
};
use plugin_runtime::MapperFault;
use store::{Burial, DeadLetterReason, Outcome, PendingEvent};

use super::CourierContext;
use crate::backoff::Backoff;
use crate::health::Health;
use crate::rollback::RollbackRequest;
use crate::rule_set::{ActiveIncarnation, LoadedMapper};

const PART: &str = "plugin";
/// A version that the rule names itself and that is worse than the one before it.
const VERSION_PART: &str = "plugin version";
/// Tries of one event, each in a fresh instance after the first.
const TRIES_MAX: u32 = 3;
/// After so many events in a row that faulted on every try and that no earlier version maps, the
/// plugin is at fault, not the events: the rule pauses and buries nothing.
const FAULTS_IN_A_ROW_MAX: u32 = 5;

const ASKED_FIRST: &str =
    "other versions of the plugin are asked first, and they are not loaded yet";

/// What becomes of one event.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Send these; never empty.
    Send(Vec<OutboundMessage>),
    /// Nothing to send; says why, if the plugin did not want it so.
    Skip(Option<String>),
    /// Nothing to send.
    Settle(Outcome),
    /// Its client waits, as long as the plugin may ask for it.
    Park(String),
    /// Its client waits, however long it takes: the plugin ran out of time or memory, or other versions of it are not
    /// loaded yet.
    Wait(String),
}

/// A verdict, and what there is to say of how it came about.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) origin: Origin,
}

/// Which version made a verdict.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// The version, if one was asked.
    pub(super) version: Option<u32>,
    /// How the present version failed on the event, if it did.
    pub(super) fault: Option<String>,
}

impl Judged {
    fn of(verdict: Verdict, loaded: &LoadedMapper, fault: Option<&MapperFault>) -> Self {
        Self {
            verdict,
            origin: Origin {
                version: Some(loaded.version),
                fault: fault.map(MapperFault::to_string),
            },
        }
    }

    fn discarded() -> Self {
        Self {
            verdict: Verdict::Settle(Outcome::Discarded),
            origin: Origin::default(),
        }
    }
}

/// Maps `events`, waiting for a working plugin if there is none now. One verdict per event.
/// `is_again` says of an event whether its client was parked for it: a fault on it is no news then.
pub(super) async fn map(
    context: &CourierContext,
    events: &[Arc<PendingEvent>],
    is_again: impl Fn(&PendingEvent) -> bool,
) -> Vec<Judged> {
    let (active, loaded) = match wait_for_mapper(context).await {
        Found::Discarding => {
            return events.iter().map(|_| Judged::discarded()).collect();
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
    loaded
        .track
        .worked(results.iter().filter(|it| it.is_ok()).count());
    let is_pinned = active.mapping.version != VersionSelector::Latest;
    if !(is_pinned && loaded.track.is_bad()) {
        context.health.clear(VERSION_PART);
    }
    let mut verdicts = Vec::with_capacity(events.len());
    for (pending, result) in events.iter().zip(results) {
        let first = First {
            active: &active,
            loaded: &loaded,
            result,
            is_again: is_again(pending),
        };
        let mut judged = resolve(context, &pending.event, first).await;
        if let Verdict::Send(messages) = &mut judged.verdict
            && pending.is_replay()
        {
            for message in messages {
                let replayed = ("replayed".to_owned(), "true".to_owned());
                message.properties.push(replayed);
            }
        }
        verdicts.push(judged);
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
                    let stand_in = stand_in(&active, &loaded);
                    return Found::Mapper(active, stand_in.unwrap_or(loaded));
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

/// The earlier version that maps until a rollback is stored.
fn stand_in(active: &ActiveIncarnation, loaded: &LoadedMapper) -> Option<LoadedMapper> {
    let version = loaded.track.replaced_by()?;
    if active.mapping.version != VersionSelector::Latest {
        return None;
    }
    let mut earlier = active.earlier.iter();
    earlier.find(|it| it.version == version).cloned()
}

/// The first try of an event.
struct First<'a> {
    active: &'a Arc<ActiveIncarnation>,
    loaded: &'a LoadedMapper,
    result: Result<Mapping, MapperFault>,
    is_again: bool,
}

/// Follows one event through its tries to a verdict.
async fn resolve(context: &CourierContext, event: &StatusEvent, first: First<'_>) -> Judged {
    let mut active = Arc::clone(first.active);
    let mut loaded = first.loaded.clone();
    let mut last_fault = None;
    let mut result = first.result;
    let mut tries = 1;
    let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let fault = match result {
            Ok(mapping) => {
                context.faults_in_a_row.store(0, Ordering::Relaxed);
                context.health.clear(PART);
                if tries > 1 {
                    loaded.track.worked(1);
                }
                let verdict = verdict(context, &active, event, mapping);
                return Judged::of(verdict, &loaded, last_fault.as_ref());
            }
            Err(fault) => fault,
        };
        context.metrics.faulted(&context.rule_id, fault.kind());
        if first.is_again || tries >= TRIES_MAX {
            if fault.may_be_load() {
                // Not the event's fault, nor the plugin's: its client waits for a quieter host.
                return Judged::of(Verdict::Wait(fault.to_string()), &loaded, Some(&fault));
            }
            let failed = Failed {
                active: &active,
                loaded: &loaded,
                fault: &fault,
            };
            if let Some(judged) = failed.ask_earlier(context, event).await {
                return judged;
            }
            // With any other policy the event ends here, also if its client waited for something else before.
            let is_news = !first.is_again || active.mapping.on_fault != OnFault::Retry;
            if is_news && active.earlier.is_empty() {
                loaded.track.failed();
            }
            let in_a_row = context
                .faults_in_a_row
                .fetch_add(u32::from(is_news), Ordering::Relaxed)
                + u32::from(is_news);
            if !is_news || in_a_row < FAULTS_IN_A_ROW_MAX {
                let verdict = after_fault(context, &active, event, &fault).await;
                return Judged::of(verdict, &loaded, Some(&fault));
            }
            let reason = format!("the plugin failed on {in_a_row} events in a row; last: {fault}");
            if context.health.report(PART, Health::Faulted, reason) {
                tracing::error!(rule_id = %context.rule_id, error = fault.brief(), "plugin fails on most events, rule pauses");
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
        last_fault = Some(fault);
        match wait_for_mapper(context).await {
            Found::Discarding => return Judged::discarded(),
            Found::Mapper(now, found) => {
                result = map_one(context, &found, event).await;
                (active, loaded) = (now, found);
            }
        }
    }
}

/// An event on which a generation failed on every try.
struct Failed<'a> {
    active: &'a ActiveIncarnation,
    loaded: &'a LoadedMapper,
    fault: &'a MapperFault,
}

impl Failed<'_> {
    /// Has the event mapped by an earlier generation, or wait for one. `None`: none of them can, so the event is the
    /// poison.
    async fn ask_earlier(&self, context: &CourierContext, event: &StatusEvent) -> Option<Judged> {
        let is_other = |it: &&LoadedMapper| !Arc::ptr_eq(&it.mapper, &self.loaded.mapper);
        for earlier in self.active.earlier.iter().filter(is_other) {
            match map_one(context, earlier, event).await {
                Ok(mapping) => {
                    context.faults_in_a_row.store(0, Ordering::Relaxed);
                    context.health.clear(PART);
                    context.metrics.stood_in(&context.rule_id);
                    earlier.track.worked(1);
                    self.count(context, earlier);
                    let verdict = verdict(context, self.active, event, mapping);
                    return Some(Judged::of(verdict, earlier, Some(self.fault)));
                }
                Err(fault) if fault.may_be_load() => {
                    let verdict = Verdict::Wait(fault.to_string());
                    return Some(Judged::of(verdict, earlier, Some(self.fault)));
                }
                Err(fault) => context.metrics.faulted(&context.rule_id, fault.kind()),
            }
        }
        if self.active.awaited.is_empty() {
            return None;
        }
        // One that is not loaded yet may map it: its client waits for the next snapshot.
        let verdict = Verdict::Wait(format!("{}; {ASKED_FIRST}", self.fault));
        Some(Judged::of(verdict, self.loaded, Some(self.fault)))
    }

    /// Counts the failure against the generation, and asks for a rollback when it is one too many.
    fn count(&self, context: &CourierContext, earlier: &LoadedMapper) {
        let Self {
            active,
            loaded,
            fault,
        } = self;
        loaded.track.failed();
        let present = active.mapper.as_ref();
        let is_present = present.is_ok_and(|it| Arc::ptr_eq(&it.mapper, &loaded.mapper));
        // Of what drains there is no rule to edit, and the other version maps what this one cannot.
        if active.is_retired || !is_present || !loaded.track.is_worse_than(&earlier.track) {
            return;
        }
        let (events, failures) = loaded.track.recent();
        let reason = format!(
            "failed on {failures} of its last {events} events, which version {} maps; last: {fault}",
            earlier.version
        );
        if active.mapping.version != VersionSelector::Latest {
            let reason = format!(
                "version {} {reason}; the rule names this version itself, edit it to another one",
                loaded.version
            );
            context
                .health
                .report(VERSION_PART, Health::Retrying, reason);
            return;
        }
        if !loaded.track.replace_by(earlier.version) {
            return;
        }
        let request = RollbackRequest {
            rule_id: context.rule_id.clone(),
            track: Arc::clone(&loaded.track),
            version: earlier.version,
            reason,
        };
        match context.rollbacks.try_send(request) {
            Ok(()) => {
                tracing::error!(rule_id = %context.rule_id, version = loaded.version, back_to = earlier.version, error = fault.brief(), "plugin version fails too often, an earlier one takes over");
            }
            // The next failure asks again.
            Err(_) => loaded.track.reinstate(),
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
        OnFault::DeadLetter => bury(active, DeadLetterReason::Fault, fault.to_string()),
        OnFault::Retry => Verdict::Park(fault.to_string()),
        OnFault::Skip => Verdict::Skip(Some(fault.to_string())),
        OnFault::Default => match &active.fallback {
            Some(fallback) => match map_one(context, fallback, event).await {
                Ok(mapping) => verdict(context, active, event, mapping),
                Err(second) if second.may_be_load() => Verdict::Wait(second.to_string()),
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
        Mapping::Deliver(messages) if messages.is_empty() => Verdict::Skip(None),
        Mapping::Deliver(messages) => Verdict::Send(stamped(context, event, messages)),
        Mapping::Reject(RejectEvent::Retry(reason)) => Verdict::Park(reason),
        Mapping::Reject(RejectEvent::Rejected(reason)) => match active.mapping.on_reject {
            OnReject::DeadLetter => bury(active, DeadLetterReason::Rejected, reason),
            OnReject::Skip => Verdict::Skip(Some(reason)),
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
    messages: Vec<OutboundMessage>,
) -> Vec<OutboundMessage> {
    crate::stamp::stamp(&context.group_id, event, messages)
}
