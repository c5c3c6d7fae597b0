//! Rules: create, replace, enable, disable, delete, show.

use std::sync::Arc;

use domain::{OnActivate, Rule, RuleDraft, RuleId, VersionSelector};
use store::{IncarnationRecord, MetaWrite, WriteMetaError};

use super::{Control, ControlCode, ControlError, Health, RuleState, RuleView};
use crate::control_errors;
use crate::intent::{Intent, resolved_key};

/// What happens to the queued events of a deleted rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PendingEvents {
    /// They are delivered.
    #[default]
    Deliver,
    /// They are dropped and counted.
    Discard,
}

impl Control {
    /// Creates a rule. With `is_forced`, a missing topic or name server is only a warning.
    ///
    /// # Errors
    ///
    /// Says what is wrong or in the way; nothing is saved then.
    pub async fn create_rule(
        &self,
        draft: RuleDraft,
        is_forced: bool,
    ) -> Result<RuleView, ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        if let Some(rule) = intent.rules.get(&draft.rule_id) {
            let message = format!(
                "there is a rule {} already; edit it, or choose another id",
                rule.draft.rule_id
            );
            return Err(ControlError::new(ControlCode::RuleExists, message));
        }
        if intent.rules.len() >= self.rules_max {
            let message = format!(
                "there are {} rules, as many as limits.rules allows; delete one or raise the limit",
                intent.rules.len()
            );
            return Err(ControlError::new(ControlCode::TooManyRules, message));
        }
        let warnings = self.check(&intent, &draft, is_forced).await?;
        self.save(&intent, draft, warnings).await
    }

    /// Replaces all of a rule but its id. Changing source or destination starts a new incarnation:
    /// what is queued still goes where it was to go, first.
    ///
    /// # Errors
    ///
    /// Says what is wrong or in the way; nothing is saved then.
    pub async fn replace_rule(
        &self,
        draft: RuleDraft,
        if_revision: Option<u64>,
        is_forced: bool,
    ) -> Result<RuleView, ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let old = find(&intent, &draft.rule_id)?;
        check_revision(old, if_revision)?;
        let warnings = self.check(&intent, &draft, is_forced).await?;
        self.save(&intent, draft, warnings).await
    }

    /// Enables or disables a rule. A disabled one stops matching; what is queued is delivered.
    ///
    /// # Errors
    ///
    /// When there is no such rule, its revision is another one, or the store failed.
    pub async fn set_rule_enabled(
        &self,
        rule_id: &RuleId,
        is_enabled: bool,
        if_revision: Option<u64>,
    ) -> Result<RuleView, ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let old = find(&intent, rule_id)?;
        check_revision(old, if_revision)?;
        if old.draft.enabled == is_enabled {
            return Ok(self.view(old));
        }
        let draft = RuleDraft {
            enabled: is_enabled,
            ..old.draft.clone()
        };
        self.save(&intent, draft, Vec::new()).await
    }

    /// Deletes a rule.
    ///
    /// # Errors
    ///
    /// When there is no such rule, its revision is another one, or the store failed.
    pub async fn delete_rule(
        &self,
        rule_id: &RuleId,
        pending: PendingEvents,
        if_revision: Option<u64>,
    ) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let old = find(&intent, rule_id)?;
        check_revision(old, if_revision)?;
        let is_discarding = pending == PendingEvents::Discard;
        let records: Vec<_> = intent
            .incarnations
            .values()
            .filter(|record| record.rule_id == *rule_id)
            .map(|record| IncarnationRecord {
                is_discarding,
                ..retired(&intent, record)
            })
            .collect();
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        let rule_id = rule_id.clone();
        self.write(move |tx| {
            tx.remove_rule(&rule_id)?;
            tx.remove_setting(&resolved_key(&rule_id))?;
            records
                .iter()
                .try_for_each(|record| tx.put_incarnation(record))
        })
        .await?;
        self.reload().await?;
        if is_discarding {
            let outbox = Arc::clone(&self.outbox);
            self.blocking(move || {
                for id in ids {
                    outbox.discard(id);
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// One rule with its state.
    #[must_use]
    pub fn rule(&self, rule_id: &RuleId) -> Option<RuleView> {
        let intent = self.intent.load();
        intent.rules.get(rule_id).map(|rule| self.view(rule))
    }

    /// All rules with their states, sorted by id.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleView> {
        let intent = self.intent.load();
        intent.rules.values().map(|rule| self.view(rule)).collect()
    }

    fn view(&self, rule: &Rule) -> RuleView {
        RuleView {
            rule: rule.clone(),
            state: self.state(rule),
            warnings: Vec::new(),
        }
    }

    pub(super) fn state(&self, rule: &Rule) -> RuleState {
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
        }
    }

    /// Checks everything about `draft` that can be checked. Returns warnings.
    async fn check(
        &self,
        intent: &Arc<Intent>,
        draft: &RuleDraft,
        is_forced: bool,
    ) -> Result<Vec<String>, ControlError> {
        if let Some(other) = intent.rule_of_group(&draft.group_id)
            && other.draft.rule_id != draft.rule_id
        {
            let message = format!(
                "group {} has the status rule {} already; a group can have one",
                draft.group_id, other.draft.rule_id
            );
            return Err(ControlError::new(ControlCode::GroupHasRule, message));
        }
        if draft.on_activate == OnActivate::Snapshot {
            let message = "onActivate may be \"none\" only; \"snapshot\" is not available yet";
            return Err(ControlError::new(ControlCode::InvalidRule, message));
        }
        self.check_group(&draft.group_id)?;
        let old = intent.rules.get(&draft.rule_id);
        let is_known = old.is_some_and(|old| old.draft.destination == draft.destination);
        let warnings = if is_known {
            // Also while RocketMQ is away a rule can be edited: its health says that it is.
            Vec::new()
        } else {
            self.check_destination(&draft.destination, is_forced)
                .await?
        };
        self.check_mapping(intent, draft).await?;
        Ok(warnings)
    }

    /// Compiles, links and tries out the plugin with the rule's configuration.
    async fn check_mapping(
        &self,
        intent: &Arc<Intent>,
        draft: &RuleDraft,
    ) -> Result<(), ControlError> {
        let mapping = draft.mapping.clone();
        let record = intent.version(&mapping, kept_version(intent, draft)).cloned().ok_or_else(|| {
            let message = format!(
                "there is no plugin {} version {}; push it first, or see `rulemill plugin list`",
                mapping.plugin, mapping.version
            );
            ControlError::new(ControlCode::UnknownPlugin, message)
        })?;
        let (reloader, rule_id) = (Arc::clone(&self.reloader), draft.rule_id.clone());
        self.blocking(move || reloader.load(Some(&rule_id), &record, &mapping).map(|_| ()))
            .await
    }

    /// Stores `draft` as a new revision and makes it true; shows it with `warnings`.
    async fn save(
        &self,
        intent: &Arc<Intent>,
        draft: RuleDraft,
        warnings: Vec<String>,
    ) -> Result<RuleView, ControlError> {
        let now_ms = self.clock.now_ms();
        let resolved = intent
            .version(&draft.mapping, kept_version(intent, &draft))
            .map(|record| record.version);
        let old = intent.rules.get(&draft.rule_id);
        let (kept, ended) = match old {
            Some(old) if has_same_ends(old, &draft) => (Some(old.incarnation), None),
            Some(old) => (None, Some(old.incarnation)),
            None => (None, None),
        };
        let retired = ended
            .and_then(|id| intent.incarnations.get(&id))
            .map(|record| retired(intent, record));
        let created_at_ms = old.map_or(now_ms, |old| old.created_at_ms);
        let (rule_id, group_id) = (draft.rule_id.clone(), draft.group_id.clone());
        self.write(move |tx| {
            let revision = tx.next_revision()?;
            let incarnation = match kept {
                Some(incarnation) => incarnation,
                None => tx.next_incarnation()?,
            };
            if let Some(record) = &retired {
                tx.put_incarnation(record)?;
            }
            tx.put_incarnation(&IncarnationRecord {
                id: incarnation,
                rule_id: draft.rule_id.clone(),
                group_id: draft.group_id.clone(),
                destination: draft.destination.clone(),
                ordering: draft.ordering,
                revision,
                mapping: draft.mapping.clone(),
                is_retired: false,
                is_discarding: false,
            })?;
            if let Some(version) = resolved {
                tx.put_setting(&resolved_key(&draft.rule_id), &version.to_string())?;
            }
            tx.put_rule(&Rule {
                draft,
                revision,
                incarnation,
                created_at_ms,
                updated_at_ms: now_ms,
            })
        })
        .await?;
        // Makes the group known, so that it is listed before its first client comes.
        self.known_groups.admits(&group_id);
        self.reload().await?;
        let view = self.rule(&rule_id).ok_or_else(|| not_found(&rule_id))?;
        Ok(RuleView { warnings, ..view })
    }

    /// One durable transaction on the blocking pool.
    pub(super) async fn write(
        &self,
        work: impl FnOnce(&mut MetaWrite<'_>) -> Result<(), WriteMetaError> + Send + 'static,
    ) -> Result<(), ControlError> {
        let meta = Arc::clone(&self.meta);
        self.blocking(move || {
            meta.write(work)
                .map_err(|error| control_errors::store(&error))
        })
        .await
    }
}

fn not_found(rule_id: &RuleId) -> ControlError {
    let message = format!("there is no rule {rule_id}; see `rulemill rule list`");
    ControlError::new(ControlCode::RuleNotFound, message)
}

fn find<'a>(intent: &'a Intent, rule_id: &RuleId) -> Result<&'a Rule, ControlError> {
    intent.rules.get(rule_id).ok_or_else(|| not_found(rule_id))
}

/// The record of an incarnation that only drains from now on. `latest` stops meaning anything for
/// it: what it meant until now is what maps the rest of its events.
fn retired(intent: &Intent, record: &IncarnationRecord) -> IncarnationRecord {
    let mut retired = IncarnationRecord {
        is_retired: true,
        ..record.clone()
    };
    let resolved = intent.resolved.get(&record.rule_id).copied();
    if record.mapping.version == VersionSelector::Latest
        && let Some(version) = intent.version(&record.mapping, resolved)
    {
        retired.mapping.version = VersionSelector::Number(version.version);
    }
    retired
}

/// Whether source and destination stay: then the incarnation does.
fn has_same_ends(old: &Rule, draft: &RuleDraft) -> bool {
    old.draft.group_id == draft.group_id && old.draft.destination == draft.destination
}

/// What `latest` keeps meaning for an edited rule: until a newer version passes the rule's canary,
/// the one that it has.
fn kept_version(intent: &Intent, draft: &RuleDraft) -> Option<u32> {
    let old = &intent.rules.get(&draft.rule_id)?.draft.mapping;
    let is_kept = old.plugin == draft.mapping.plugin && old.version == draft.mapping.version;
    intent
        .resolved
        .get(&draft.rule_id)
        .copied()
        .filter(|_| is_kept)
}

fn check_revision(rule: &Rule, if_revision: Option<u64>) -> Result<(), ControlError> {
    match if_revision {
        Some(revision) if revision != rule.revision => {
            let message = format!(
                "rule {} has revision {}, not {revision}; read it again and repeat the change",
                rule.draft.rule_id, rule.revision
            );
            Err(ControlError::new(ControlCode::StaleRevision, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
