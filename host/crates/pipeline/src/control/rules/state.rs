//! How a rule is now, put together from all that knows something of it.

use domain::{AnyRule, Rule};

use super::super::{Control, Health, RuleState};

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
        let health = self.couriers.health(rule.incarnation);
        let (worst, since_ms) = health.map_or((None, rule.updated_at_ms), |health| health.worst());
        let is_pending = self.outbox.counts(rule.incarnation).pending > 0;
        let load_error = active
            .as_ref()
            .and_then(|active| active.mapper.as_ref().err().cloned());
        let (health, reason) = match (rule.draft.enabled, is_pending, worst, load_error) {
            (false, false, _, _) => (Health::Disabled, None),
            (_, _, Some((health, reason)), _) => (health, Some(reason)),
            (_, _, None, Some(reason)) => (Health::Faulted, Some(reason)),
            (false, true, None, None) => (Health::Draining, None),
            (true, _, None, None) => (Health::Running, None),
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
}
