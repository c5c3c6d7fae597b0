//! Settles what is decided. Events that are to be buried wait while the dead letters are full: then
//! their rule pauses, and nothing is dropped.

use std::sync::Arc;

use store::{Outcome, PendingEvent, Settlement};

use super::CourierContext;
use crate::health::Health;

const PART: &str = "dead letters";

/// An event and how it is to end.
pub(super) type Decided = (Arc<PendingEvent>, Outcome);

/// Settles all of them; the burials as soon as there is room.
pub(super) async fn settle(context: &CourierContext, decided: Vec<Decided>) {
    let (mut burials, others): (Vec<_>, Vec<_>) = decided
        .into_iter()
        .partition(|(_, outcome)| matches!(outcome, Outcome::Buried(_)));
    settle_now(context, others);
    let mut has_waited = false;
    while !burials.is_empty() {
        if context.outbox.dead_letters_room() {
            settle_now(context, std::mem::take(&mut burials));
            break;
        }
        has_waited = true;
        let reason =
            "dead letters are full; delete or replay some (rulemill dead-letter), or raise \
                      outbox.dead-letters-max-bytes"
                .to_owned();
        if context.health.report(PART, Health::Paused, reason) {
            tracing::warn!(rule_id = %context.rule_id, "dead letters are full, rule pauses");
        }
        tokio::time::sleep(context.timings.burial_every).await;
        burials = still_wanted(context, burials);
    }
    if has_waited {
        // Another worker that still waits says so again.
        context.health.clear(PART);
    }
}

/// Settles what became too old or is to be dropped; returns the rest.
fn still_wanted(context: &CourierContext, burials: Vec<Decided>) -> Vec<Decided> {
    let is_discarding = context.is_discarding();
    let (ended, wanted): (Vec<_>, Vec<_>) = burials
        .into_iter()
        .partition(|(event, _)| is_discarding || context.is_expired(event));
    let outcome = if is_discarding {
        Outcome::Discarded
    } else {
        Outcome::Expired
    };
    settle_now(
        context,
        ended
            .into_iter()
            .map(|(event, _)| (event, outcome.clone()))
            .collect(),
    );
    wanted
}

fn settle_now(context: &CourierContext, decided: Vec<Decided>) {
    let settlements: Vec<_> = decided
        .into_iter()
        .map(|(event, outcome)| settlement(&event, outcome))
        .collect();
    context.outbox.settle(settlements);
}

fn settlement(pending: &PendingEvent, outcome: Outcome) -> Settlement {
    Settlement {
        incarnation: pending.incarnation,
        slot: pending.slot,
        position: pending.position,
        outcome,
    }
}
