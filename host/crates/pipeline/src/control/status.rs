//! What the whole pipeline is doing. The sums that the counts promise hold in each answer.

mod draining;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{EventType, IncarnationId, RefuseConnectError, Rule, RuleId};
pub(crate) use draining::UNKNOWN_REMEDY;
use parking_lot::Mutex;
use plugin_runtime::MapperUsage;
use store::{IncarnationCounts, OutboxCounts};
use tokio::time::Instant;

use super::{
    Control, EventCounts, Health, OutboxView, PipelineStatus, PluginFolderView, Readiness,
    RuleStatus,
};
use crate::intent::Intent;
use crate::metrics::{Snapshot, TypeCounts};
use crate::refusals::{RefusedCounts, Reviewed};

/// Incarnations are numbered from 1: this one never has events.
const NO_INCARNATION: IncarnationId = IncarnationId(0);

/// What was recorded before this process started: by this, counts for ever become counts since start.
#[derive(Debug)]
pub(crate) struct Baseline {
    total: u64,
    rules: Mutex<BTreeMap<RuleId, u64>>,
}

impl Baseline {
    /// Must be taken before the first event of this process.
    pub(crate) fn new(intent: &Intent, counts: &OutboxCounts) -> Self {
        let mut rules = BTreeMap::new();
        for record in intent.incarnations.values() {
            let recorded = counts
                .incarnations
                .get(&record.id)
                .map_or(0, |it| it.recorded);
            *rules.entry(record.rule_id.clone()).or_insert(0) += recorded;
        }
        Self {
            total: total(counts).recorded,
            rules: Mutex::new(rules),
        }
    }

    /// The last events of a deleted rule are gone: a new rule of that id starts from nothing.
    pub(crate) fn forget(&self, rule_id: &RuleId) {
        self.rules.lock().remove(rule_id);
    }
}

impl Control {
    /// Counts and health of everything.
    #[must_use]
    pub fn status(&self) -> PipelineStatus {
        let intent = self.intent.load();
        let refused = self.observed.refusals.counts();
        let unmatched: u64 = self.observed.unmatched().iter().sum();
        // One lock for all of them. What is derived from it is derived from nothing else that moves.
        let counts = self.outbox.all_counts();
        let rules = intent
            .rules
            .values()
            .map(|rule| self.rule_status(rule, &intent, &counts, &refused));
        let all = total(&counts);
        PipelineStatus {
            events: events(&all, self.baseline.total, refused.total, unmatched),
            outbox: self.outbox_view(),
            rules: rules.collect(),
            draining: self.draining(&intent, &counts),
        }
    }

    fn rule_status(
        &self,
        rule: &Rule,
        intent: &Intent,
        counts: &OutboxCounts,
        refused: &RefusedCounts,
    ) -> RuleStatus {
        let rule_id = &rule.draft.rule_id;
        let records = intent.incarnations.values();
        let mut sum = IncarnationCounts::default();
        for record in records.filter(|record| record.rule_id == *rule_id) {
            if let Some(counts) = counts.incarnations.get(&record.id) {
                add(&mut sum, counts);
            }
        }
        let before = self.baseline.rules.lock().get(rule_id).copied();
        let refused = refused.rules.get(rule_id).copied();
        let state = self.state(rule);
        RuleStatus {
            rule_id: rule_id.clone(),
            health: state.health,
            reason: state.reason,
            events: events(&sum, before.unwrap_or(0), refused.unwrap_or(0), 0),
            pending_bytes: sum.pending_bytes,
        }
    }

    fn outbox_view(&self) -> OutboxView {
        let stats = self.outbox.stats();
        let now_ms = self.clock.now_ms();
        OutboxView {
            bytes: stats.bytes,
            bytes_max: self.outbox_limits.bytes_max,
            share_bytes_max: self.outbox_limits.share_bytes_max,
            oldest_ms: stats
                .oldest_time_ms
                .map_or(0, |oldest| now_ms.saturating_sub(oldest)),
            uncommitted: stats.uncommitted,
            dead_letters: stats.dead_letters,
            dead_letter_bytes: stats.dead_letter_bytes,
            dead_letter_bytes_max: self.outbox_limits.dead_letters_bytes_max,
        }
    }

    /// The watched plugin folder; `None` when none is configured, or it was not looked at yet.
    #[must_use]
    pub fn plugin_folder(&self) -> Option<Arc<PluginFolderView>> {
        self.plugin_folder.load_full()
    }

    /// Whether the host takes events, and which rules do not work as they should.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let intent = self.intent.load();
        let rules = intent.rules.values().map(|rule| {
            let state = self.state(rule);
            (Some(rule.draft.rule_id.clone()), state.health, state.reason)
        });
        let draining = self.draining(&intent, &self.outbox.all_counts());
        let draining = draining
            .into_iter()
            .map(|line| (line.rule_id, line.health, line.reason));
        let degraded = rules
            .chain(draining)
            .filter(|(_, health, _)| health.rank() > 0)
            .map(|(rule_id, health, reason)| (rule_id, health, reason.unwrap_or_default()));
        Readiness {
            not_ready: self.not_ready(),
            degraded: degraded.collect(),
        }
    }

    /// Why the host takes no events at all; `None` if it takes those of some rule.
    fn not_ready(&self) -> Option<String> {
        // What no incarnation has used has all of its share: only the host's own limits refuse it.
        match self.outbox.check_room(NO_INCARNATION, &[]) {
            Ok(()) | Err(RefuseConnectError::ShareFull | RefuseConnectError::UnknownGroup) => None,
            Err(
                reason @ (RefuseConnectError::RecorderFull
                | RefuseConnectError::OutboxFull
                | RefuseConnectError::StoreFailed
                | RefuseConnectError::ShuttingDown),
            ) => Some(reason.to_string()),
        }
    }

    /// Why CONNECTs of the rule's group are refused, if they are.
    pub(super) fn refusal(&self, rule: &Rule) -> Option<String> {
        let room = self.room(rule.incarnation).err();
        let reason = room.or_else(|| self.observed.refusals.reason(&rule.draft.rule_id))?;
        let limits = &self.outbox_limits;
        let cause = match reason {
            RefuseConnectError::ShareFull => format!(
                "its share of the outbox is full ({} bytes by outbox.rule-share)",
                limits.share_bytes_max
            ),
            RefuseConnectError::OutboxFull => {
                format!("the outbox is full ({} bytes)", limits.bytes_max)
            }
            other => other.to_string(),
        };
        Some(format!(
            "{cause}: connects of group {} are refused until there is room",
            rule.draft.group_id
        ))
    }

    /// Tells where refusals begin and end.
    pub(crate) fn review_refusals(&self) {
        let intent = self.intent.load();
        let enabled = intent.rules.values().filter(|rule| rule.draft.enabled);
        let reviewed = enabled.map(|rule| Reviewed {
            rule_id: &rule.draft.rule_id,
            group_id: &rule.draft.group_id,
            incarnation: rule.incarnation,
        });
        let refusals = &self.observed.refusals;
        let room = |incarnation| self.room(incarnation);
        refusals.review(reviewed, room, Instant::now());
    }

    /// Whether a CONNECT of a rule's present incarnation would find room.
    fn room(&self, incarnation: IncarnationId) -> Result<(), RefuseConnectError> {
        let active = self.rule_set.incarnation(incarnation);
        let predecessors = active.as_ref().map(|active| &*active.predecessors);
        let outbox = &self.outbox;
        outbox.check_room(incarnation, predecessors.unwrap_or_default())
    }

    /// The pipeline's metrics as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let (recorded, unmatched) = (self.observed.recorded(), self.observed.unmatched());
        let status = self.status();
        let types = EventType::ALL.into_iter().zip(recorded).zip(unmatched);
        let types = types.map(|((event_type, recorded), unmatched)| TypeCounts {
            event_type,
            recorded,
            unmatched,
            // Only a connect can be refused: closing events have their room reserved.
            refused: match event_type {
                EventType::Connect => status.events.refused,
                EventType::Disconnect | EventType::TcpClean => 0,
            },
        });
        let (plugin_counters, plugin_lines_dropped) = self
            .told_by_plugins()
            .into_iter()
            .map(|(rule_id, usage)| {
                (
                    (rule_id.clone(), usage.counters),
                    (rule_id, usage.lines_dropped),
                )
            })
            .unzip();
        self.metrics.render(&Snapshot {
            live: self.live.counts(),
            types: types.collect(),
            outbox: self.outbox.stats(),
            plugin_counters,
            plugin_lines_dropped,
            compiled_functions: self.runtime.function_stats(),
            status,
        })
    }

    /// Of each rule the counters of its plugin, and how many of its log lines were too many.
    fn told_by_plugins(&self) -> Vec<(RuleId, MapperUsage)> {
        let intent = self.intent.load();
        let rules = intent.rules.values();
        let told = rules.filter_map(|rule| {
            let active = self.rule_set.incarnation(rule.incarnation)?;
            let usage = active.mapper.as_ref().ok()?.mapper.usage();
            Some((rule.draft.rule_id.clone(), usage))
        });
        told.collect()
    }

    /// Whether everything that can be delivered now is delivered.
    pub(crate) fn is_drained(&self) -> bool {
        let intent = self.intent.load();
        intent.incarnations.keys().all(|id| {
            let stuck = self.couriers.health(*id).is_some_and(|health| {
                matches!(
                    health.worst().0,
                    Some((Health::Faulted | Health::Paused, _))
                )
            });
            stuck || self.outbox.counts(*id).pending == 0
        })
    }
}

fn events(counts: &IncarnationCounts, before: u64, refused: u64, unmatched: u64) -> EventCounts {
    let recorded_since_start = counts.recorded.saturating_sub(before);
    let matched = recorded_since_start + refused;
    EventCounts {
        observed: matched + unmatched,
        matched,
        unmatched,
        recorded: counts.recorded,
        recorded_since_start,
        refused,
        replayed: counts.replayed,
        delivered: counts.delivered,
        skipped: counts.skipped,
        buried: counts.buried,
        expired: counts.expired,
        discarded: counts.discarded,
        pending: counts.pending,
    }
}

fn total(counts: &OutboxCounts) -> IncarnationCounts {
    let mut sum = counts.forgotten;
    for counts in counts.incarnations.values() {
        add(&mut sum, counts);
    }
    sum
}

fn add(sum: &mut IncarnationCounts, counts: &IncarnationCounts) {
    sum.recorded += counts.recorded;
    sum.replayed += counts.replayed;
    sum.delivered += counts.delivered;
    sum.skipped += counts.skipped;
    sum.buried += counts.buried;
    sum.expired += counts.expired;
    sum.discarded += counts.discarded;
    sum.pending += counts.pending;
    sum.pending_bytes += counts.pending_bytes;
}

#[cfg(test)]
mod tests;
