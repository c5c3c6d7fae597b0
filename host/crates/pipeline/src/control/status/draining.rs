//! Events that no rule of today has: those of deleted rules, and those whose rule the store does not know.

use std::collections::BTreeMap;

use domain::RuleId;
use store::{IncarnationRecord, OutboxCounts};

use super::super::rules::{Problem, event_count, worst};
use super::super::{Control, DrainingStatus, Health};
use crate::intent::Intent;

impl Control {
    /// One line per deleted rule that has pending events, and one for all unknown rules. `counts` must be
    /// newer than `intent`.
    pub(super) fn draining(&self, intent: &Intent, counts: &OutboxCounts) -> Vec<DrainingStatus> {
        let mut rules: BTreeMap<&RuleId, Vec<&IncarnationRecord>> = BTreeMap::new();
        for record in intent.incarnations.values() {
            if !intent.rules.contains_key(&record.rule_id) {
                rules.entry(&record.rule_id).or_default().push(record);
            }
        }
        let deleted = rules
            .into_iter()
            .filter_map(|(rule_id, records)| self.deleted(rule_id, &records, counts));
        deleted.chain(self.unknown(intent, counts)).collect()
    }

    fn deleted(
        &self,
        rule_id: &RuleId,
        records: &[&IncarnationRecord],
        counts: &OutboxCounts,
    ) -> Option<DrainingStatus> {
        let (mut events, mut bytes, mut problems) = (0, 0, Vec::new());
        for record in records {
            let counts = counts.incarnations.get(&record.id);
            let Some(counts) = counts.filter(|counts| counts.pending > 0) else {
                continue;
            };
            events += counts.pending;
            bytes += counts.pending_bytes;
            problems.extend(self.problem(record.id).map(|problem| Problem {
                reason: format!(
                    "the rule is deleted, and its destination {}/{} has {} pending: {}",
                    record.destination.instance_id,
                    record.destination.topic,
                    event_count(counts.pending),
                    problem.reason
                ),
                ..problem
            }));
        }
        let problem = worst(problems);
        (events > 0).then(|| DrainingStatus {
            rule_id: Some(rule_id.clone()),
            health: problem.as_ref().map_or(Health::Draining, |it| it.health),
            reason: problem.map(|it| it.reason),
            pending: events,
            pending_bytes: bytes,
        })
    }

    fn unknown(&self, intent: &Intent, counts: &OutboxCounts) -> Option<DrainingStatus> {
        // A rule that was made since `intent` was read is no unknown one.
        let newest = self.intent.load();
        let (mut events, mut bytes) = (0, 0);
        for (id, counts) in &counts.incarnations {
            if !intent.incarnations.contains_key(id) && !newest.incarnations.contains_key(id) {
                events += counts.pending;
                bytes += counts.pending_bytes;
            }
        }
        (events > 0).then(|| DrainingStatus {
            rule_id: None,
            health: Health::Paused,
            reason: Some(format!(
                "{} of rules that meta.redb does not know: {UNKNOWN_REMEDY}",
                event_count(events)
            )),
            pending: events,
            pending_bytes: bytes,
        })
    }
}

/// What can be done about events of unknown rules.
pub(crate) const UNKNOWN_REMEDY: &str = "nothing delivers them and they expire after outbox.max-age; to have them \
    delivered, stop the host, put the meta.redb back that was in use with this outbox.redb, and start it";
