//! How a rule is now, put together from all that knows something of it.

use domain::{AnyRule, IncarnationId, Rule};

use super::super::{Control, Health, RuleState};

/// What keeps events from being delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Problem {
    pub(in crate::control) health: Health,
    pub(in crate::control) reason: String,
    /// UNIX milliseconds.
    pub(in crate::control) since_ms: u64,
}

impl Problem {
    /// Both of them: the worse one says how the rule is, and both say why.
    fn and(self, other: &Self) -> Self {
        let (health, since_ms) = if other.health.rank() > self.health.rank() {
            (other.health, other.since_ms)
        } else {
            (self.health, self.since_ms)
        };
        Self {
            health,
            reason: format!("{}; {}", self.reason, other.reason),
            since_ms,
        }
    }
}

/// The worst of some problems; its reason says how many more there are.
pub(in crate::control) fn worst(problems: Vec<Problem>) -> Option<Problem> {
    let more = problems.len().saturating_sub(1);
    // The oldest of the worst: the others may wait for it.
    let problems = problems.into_iter().rev();
    let mut worst = problems.max_by_key(|problem| problem.health.rank())?;
    if more > 0 {
        worst.reason = format!("{} (and {more} more like it)", worst.reason);
    }
    Some(worst)
}

/// So many events in words.
pub(in crate::control) fn event_count(events: u64) -> String {
    match events {
        1 => "1 event".to_owned(),
        _ => format!("{events} events"),
    }
}

impl Control {
    /// The state of a rule of any type. A data rule is held, so it is disabled.
    pub(in crate::control) fn any_state(&self, rule: &AnyRule) -> RuleState {
        match rule {
            AnyRule::Status(rule) => self.state(rule),
            AnyRule::Data(rule) => RuleState {
                health: Health::Disabled,
                since_ms: rule.updated_at_ms,
                reason: None,
                plugin_version: None,
                plugin_digest: None,
                generation: 0,
                mapper: None,
            },
        }
    }

    pub(in crate::control) fn state(&self, rule: &Rule) -> RuleState {
        let active = self.rule_set.incarnation(rule.incarnation);
        let loaded = active
            .as_ref()
            .and_then(|active| active.mapper.as_ref().ok());
        let own = self.couriers.health(rule.incarnation);
        let since_ms = own.map_or(rule.updated_at_ms, |health| health.worst().1);
        // Its events are the rule's, whichever incarnation they were recorded for: clients wait behind them.
        let predecessors = active.as_ref().map(|active| &*active.predecessors);
        let earlier = self.still_pending(predecessors.unwrap_or_default());
        let own_pending = self.outbox.counts(rule.incarnation).pending > 0;
        let is_used = rule.draft.enabled || own_pending;
        let own = self.problem(rule.incarnation).filter(|_| is_used);
        let problem = match (own, self.earlier_problem(&earlier)) {
            (Some(own), Some(earlier)) => Some(own.and(&earlier)),
            (own, earlier) => own.or(earlier),
        };
        let is_pending = own_pending || !earlier.is_empty();
        let since_ms = problem.as_ref().map_or(since_ms, |it| it.since_ms);
        let (health, reason) = match (rule.draft.enabled, is_pending, problem) {
            (_, _, Some(problem)) => (problem.health, Some(problem.reason)),
            (false, false, None) => (Health::Disabled, None),
            (false, true, None) => (Health::Draining, None),
            (true, _, None) => (Health::Running, None),
        };
        // A rule that went back by itself runs; its reason tells why it is not on the newest version.
        let reason = reason.or_else(|| match health {
            Health::Running => self.went_back(&rule.draft.rule_id),
            _ => None,
        });
        // A rule that delivers and cannot take more is not well either.
        let refusal = self.refusal(rule).filter(|_| rule.draft.enabled);
        let (health, reason) = match (health, refusal, reason) {
            (health, None, reason) => (health, reason),
            (Health::Running, Some(refusal), _) => (Health::Paused, Some(refusal)),
            (health, Some(refusal), None) => (health, Some(refusal)),
            (health, Some(refusal), Some(reason)) => (health, Some(format!("{reason}; {refusal}"))),
        };
        RuleState {
            health,
            since_ms: since_ms.max(rule.created_at_ms),
            reason,
            plugin_version: loaded.map(|loaded| loaded.version),
            plugin_digest: loaded.map(|loaded| loaded.digest),
            generation: active.as_ref().map_or(0, |active| active.generation),
            mapper: loaded.map(|loaded| loaded.mapper.usage().into()),
        }
    }

    /// What is wrong with an incarnation, if anything is.
    pub(in crate::control) fn problem(&self, id: IncarnationId) -> Option<Problem> {
        let health = self.couriers.health(id);
        let (worst, since_ms) = health.map_or((None, 0), |health| health.worst());
        let not_loaded = || {
            let active = self.rule_set.incarnation(id)?;
            let reason = active.mapper.as_ref().err()?;
            Some((Health::Faulted, reason.clone()))
        };
        let (health, reason) = worst.or_else(not_loaded)?;
        Some(Problem {
            health,
            reason,
            since_ms,
        })
    }

    /// Those of `incarnations` that have pending events, and how many.
    fn still_pending(&self, incarnations: &[IncarnationId]) -> Vec<(IncarnationId, u64)> {
        let counts = incarnations
            .iter()
            .map(|id| (*id, self.outbox.counts(*id).pending));
        counts.filter(|(_, pending)| *pending > 0).collect()
    }

    /// What keeps the events of a rule's earlier incarnations where they are.
    fn earlier_problem(&self, earlier: &[(IncarnationId, u64)]) -> Option<Problem> {
        let intent = self.intent.load();
        let problems = earlier.iter().filter_map(|(id, pending)| {
            let problem = self.problem(*id)?;
            let destination = &intent.incarnations.get(id)?.destination;
            let reason = format!(
                "the earlier destination {}/{} has {} pending: {}",
                destination.instance_id,
                destination.topic,
                event_count(*pending),
                problem.reason
            );
            Some(Problem { reason, ..problem })
        });
        worst(problems.collect())
    }
}
