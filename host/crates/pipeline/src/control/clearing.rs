//! Ends what is over: events that are too old, incarnations that own nothing any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{ErrorChain, IncarnationId};

use super::{Control, ControlError};

impl Control {
    /// Lets events expire that are older than `outbox.max-age`, whatever their courier waits for.
    pub(crate) async fn expire_old(&self) {
        let before_ms = self.clock_watch.before_ms(self.delivery.age_max);
        let oldest_ms = self.outbox.stats().oldest_time_ms;
        if oldest_ms.is_none_or(|oldest_ms| oldest_ms >= before_ms) {
            return;
        }
        let outbox = Arc::clone(&self.outbox);
        let expire = move || -> Vec<(IncarnationId, u64)> {
            let ids = outbox.incarnations().into_iter();
            ids.map(|id| (id, outbox.expire(id, before_ms)))
                .filter(|(_, expired)| *expired > 0)
                .collect()
        };
        match tokio::task::spawn_blocking(expire).await {
            Ok(expired) => {
                let intent = self.intent.load();
                for (id, events) in expired {
                    let rule_id = intent
                        .incarnations
                        .get(&id)
                        .map(|it| it.rule_id.to_string());
                    let rule_id = rule_id.unwrap_or_default();
                    tracing::warn!(
                        rule_id,
                        events,
                        "events expired, they were older than outbox.max-age"
                    );
                }
            }
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "events could not be expired");
            }
        }
    }

    /// Drops what still comes for rules that were deleted with their events: closing events of channels
    /// that were open then. Their courier may wait for a route that is gone as well.
    pub(crate) async fn discard_unwanted(&self) -> Result<(), ControlError> {
        let intent = self.intent.load_full();
        let unwanted = intent.incarnations.values().filter(|it| it.is_discarding);
        let pending = |id: &IncarnationId| self.outbox.counts(*id).pending > 0;
        let ids: Vec<_> = unwanted.map(|it| it.id).filter(pending).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let outbox = Arc::clone(&self.outbox);
        self.blocking(move || {
            for id in ids {
                outbox.discard(id);
            }
            Ok(())
        })
        .await
    }

    /// Forgets retired incarnations that own nothing and were in `idle_before` already: their counts
    /// go to the rule's present incarnation, or to the total if the rule is deleted. Returns those
    /// that own nothing now and stay.
    pub(crate) async fn forget_idle(
        &self,
        idle_before: &BTreeSet<IncarnationId>,
    ) -> Result<BTreeSet<IncarnationId>, ControlError> {
        let intent = self.intent.load_full();
        let retired = intent.incarnations.values().filter(|it| it.is_retired);
        let idle = retired
            .map(|it| it.id)
            .filter(|id| !self.outbox.is_owed(*id));
        let (due, idle): (BTreeSet<_>, BTreeSet<_>) = idle.partition(|id| idle_before.contains(id));
        if due.is_empty() {
            return Ok(idle);
        }
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        for id in &due {
            let Some(record) = intent.incarnations.get(id) else {
                continue;
            };
            self.couriers.stop(*id).await;
            self.feeds.remove(*id);
            let present = intent.rules.get(&record.rule_id);
            let into = present.map(|rule| rule.incarnation);
            let (outbox, id) = (Arc::clone(&self.outbox), *id);
            self.blocking(move || {
                outbox.forget(id, into);
                Ok(())
            })
            .await?;
        }
        let forgotten = due.clone();
        self.write(move |tx| {
            forgotten
                .iter()
                .try_for_each(|id| tx.remove_incarnation(*id))
        })
        .await?;
        self.reload().await?;
        let left = self.intent.load_full();
        for record in due.iter().filter_map(|id| intent.incarnations.get(id)) {
            let rule_id = &record.rule_id;
            let is_known = left.rules.contains_key(rule_id)
                || left.incarnations.values().any(|it| it.rule_id == *rule_id);
            if !is_known {
                self.baseline.forget(rule_id);
                self.samples.forget(rule_id);
                self.observed.refusals.forget(rule_id);
            }
            tracing::info!(%rule_id, incarnation = record.id.0, "drained part of a rule forgotten");
        }
        Ok(idle)
    }
}
