//! What the whole pipeline is doing.

use std::sync::atomic::Ordering;

use domain::{EventType, RuleId};

use super::{Control, EventCounts, Health, PipelineStatus, RuleStatus};

impl Control {
    /// Counts and health of everything.
    #[must_use]
    pub fn status(&self) -> PipelineStatus {
        let intent = self.intent.load();
        let stats = self.outbox.stats();
        let mut events = EventCounts::default();
        let sum = |counters: &[std::sync::atomic::AtomicU64; 3]| {
            counters
                .iter()
                .map(|counter| counter.load(Ordering::Relaxed))
                .sum::<u64>()
        };
        events.matched = sum(&self.observed.matched);
        events.unmatched = sum(&self.observed.unmatched);
        events.observed = events.matched + events.unmatched;
        events.refused = self.observed.refused.load(Ordering::Relaxed);
        for id in intent.incarnations.keys() {
            add(&mut events, self.counts(*id));
        }
        let rules = intent.rules.values().map(|rule| {
            let state = self.state(rule);
            RuleStatus {
                rule_id: rule.draft.rule_id.clone(),
                health: state.health,
                reason: state.reason,
                events: self.rule_counts(&rule.draft.rule_id),
            }
        });
        let now_ms = self.clock.now_ms();
        PipelineStatus {
            events,
            outbox_bytes: stats.bytes,
            outbox_oldest_ms: stats
                .oldest_time_ms
                .map_or(0, |oldest| now_ms.saturating_sub(oldest)),
            rules: rules.collect(),
        }
    }

    /// Why the host should not get traffic; `None` when it is ready.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        self.outbox
            .stats()
            .failed
            .then(|| "the outbox cannot be written".to_owned())
    }

    /// The pipeline's metrics as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let load = |counters: &[std::sync::atomic::AtomicU64; 3], index: usize| {
            counters
                .get(index)
                .map_or(0, |counter| counter.load(Ordering::Relaxed))
        };
        let rows: Vec<_> = EventType::ALL
            .into_iter()
            .enumerate()
            .map(|(index, event_type)| {
                let matched = load(&self.observed.matched, index);
                let unmatched = load(&self.observed.unmatched, index);
                // Only a connect can be refused: closing events have their room reserved.
                let refused = match event_type {
                    EventType::Connect => self.observed.refused.load(Ordering::Relaxed),
                    EventType::Disconnect | EventType::TcpClean => 0,
                };
                (
                    event_type.as_str(),
                    [matched + unmatched, unmatched, matched, refused],
                )
            })
            .collect();
        self.metrics
            .render(&self.status(), &self.outbox.stats(), &rows)
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

    fn rule_counts(&self, rule_id: &RuleId) -> EventCounts {
        let intent = self.intent.load();
        let mut events = EventCounts::default();
        for record in intent
            .incarnations
            .values()
            .filter(|record| record.rule_id == *rule_id)
        {
            add(&mut events, self.counts(record.id));
        }
        events
    }

    fn counts(&self, id: domain::IncarnationId) -> EventCounts {
        let counts = self.outbox.counts(id);
        EventCounts {
            recorded: counts.recorded,
            replayed: counts.replayed,
            delivered: counts.delivered,
            skipped: counts.skipped,
            buried: counts.buried,
            expired: counts.expired,
            discarded: counts.discarded,
            pending: counts.pending,
            ..EventCounts::default()
        }
    }
}

fn add(sum: &mut EventCounts, counts: EventCounts) {
    sum.recorded += counts.recorded;
    sum.replayed += counts.replayed;
    sum.delivered += counts.delivered;
    sum.skipped += counts.skipped;
    sum.buried += counts.buried;
    sum.expired += counts.expired;
    sum.discarded += counts.discarded;
    sum.pending += counts.pending;
}
