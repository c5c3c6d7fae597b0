//! Rules: create, replace, enable, disable, delete, show.

mod state;

pub(super) use self::state::{Problem, event_count, worst};

use std::sync::Arc;

use domain::{Actor, AnyRule, AnyRuleDraft, RuleId};
use store::{ChangeKind, MetaWrite, WriteMetaError};

use super::checking::{AllDrafts, Checked, check_count};
use super::staging::{StagedRemoval, StagedRule};
use super::{Control, ControlCode, ControlError, RuleView};
use crate::control_errors;
use crate::intent::Intent;

/// What happens to the queued events of a deleted rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PendingEvents {
    /// They are delivered.
    #[default]
    Deliver,
    /// They are dropped and counted.
    Discard,
}

/// Under which conditions a rule is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditTerms {
    /// Only if this is its present revision.
    pub if_revision: Option<u64>,
    /// A missing topic or name server is only a warning.
    pub is_forced: bool,
}

/// What a rule becomes.
pub(super) struct NewRevision<'a> {
    pub(super) draft: AnyRuleDraft,
    pub(super) change: ChangeKind,
    pub(super) by: &'a Actor,
}

impl Control {
    /// Creates a rule. With `is_forced`, a missing topic or name server is only a warning.
    ///
    /// # Errors
    ///
    /// Says what is wrong or in the way; nothing is saved then.
    pub async fn create_rule(
        &self,
        draft: AnyRuleDraft,
        is_forced: bool,
        by: &Actor,
    ) -> Result<RuleView, ControlError> {
        let _change = self.begin_change().await;
        let intent = self.intent.load_full();
        if intent.any_rule(draft.rule_id()).is_some() {
            let message = format!(
                "there is a rule {} already; edit it, or choose another id",
                draft.rule_id()
            );
            return Err(ControlError::new(ControlCode::RuleExists, message));
        }
        let mut all = AllDrafts::of(&intent);
        check_count(all.len() + 1, self.rules_max)?;
        all.put(draft.clone());
        let checked = self.check_rule(&intent, &draft, &all, is_forced).await?;
        let change = ChangeKind::Created;
        let new = NewRevision { draft, change, by };
        self.save(&intent, new, checked).await
    }

    /// Replaces all of a rule but its id. Changing source or destination starts a new incarnation:
    /// what is queued still goes where it was to go, first. Without a difference nothing happens.
    ///
    /// # Errors
    ///
    /// Says what is wrong or in the way; nothing is saved then.
    pub async fn replace_rule(
        &self,
        draft: AnyRuleDraft,
        terms: EditTerms,
        by: &Actor,
    ) -> Result<RuleView, ControlError> {
        let _change = self.begin_change().await;
        let intent = self.intent.load_full();
        let old = find_free(&intent, draft.rule_id())?;
        check_revision(&old, terms.if_revision)?;
        let change = change_kind(&old.draft(), &draft);
        let new = NewRevision { draft, change, by };
        self.edit(&intent, &old, new, terms.is_forced).await
    }

    /// Enables or disables a rule. A disabled one stops matching; what is queued is delivered.
    ///
    /// # Errors
    ///
    /// When there is no such rule, it is a data rule, its revision is another one, or the store failed.
    pub async fn set_rule_enabled(
        &self,
        rule_id: &RuleId,
        is_enabled: bool,
        if_revision: Option<u64>,
        by: &Actor,
    ) -> Result<RuleView, ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let old = find_free(&intent, rule_id)?;
        check_revision(&old, if_revision)?;
        let AnyRuleDraft::Status(mut draft) = old.draft() else {
            if is_enabled {
                return Err(data_rule_held(rule_id));
            }
            return Ok(self.view(&intent, &old));
        };
        if draft.enabled == is_enabled {
            return Ok(self.view(&intent, &old));
        }
        draft.enabled = is_enabled;
        let draft = AnyRuleDraft::Status(draft);
        let change = change_kind(&old.draft(), &draft);
        let new = NewRevision { draft, change, by };
        self.save(&intent, new, Checked::default()).await
    }

    /// Deletes a rule with its history.
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
        let old = find_free(&intent, rule_id)?;
        check_revision(&old, if_revision)?;
        let removal = StagedRemoval::new(&intent, rule_id, pending);
        let discarded = removal.discarded();
        self.write(move |tx| removal.write(tx)).await?;
        self.reload().await?;
        if !discarded.is_empty() {
            let outbox = Arc::clone(&self.outbox);
            self.blocking(move || {
                for id in discarded {
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
        let rule = intent.any_rule(rule_id)?;
        Some(self.view(&intent, &rule))
    }

    /// All rules of all types with their states, sorted by id.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleView> {
        let intent = self.intent.load();
        let rules = intent.any_rules();
        rules
            .values()
            .map(|rule| self.view(&intent, rule))
            .collect()
    }

    fn view(&self, intent: &Intent, rule: &AnyRule) -> RuleView {
        RuleView {
            rule: rule.clone(),
            state: self.any_state(rule),
            warnings: Vec::new(),
            managed_by: intent.managed.get(rule.rule_id()).cloned(),
        }
    }

    /// Checks and saves what becomes of `old`, unless it stays what it is.
    pub(super) async fn edit(
        &self,
        intent: &Arc<Intent>,
        old: &AnyRule,
        new: NewRevision<'_>,
        is_forced: bool,
    ) -> Result<RuleView, ControlError> {
        if old.draft() == new.draft {
            return Ok(self.view(intent, old));
        }
        let mut all = AllDrafts::of(intent);
        all.put(new.draft.clone());
        let checked = self.check_rule(intent, &new.draft, &all, is_forced).await?;
        self.save(intent, new, checked).await
    }

    /// Stores the new revision and makes it true; shows it with the warnings.
    async fn save(
        &self,
        intent: &Intent,
        NewRevision { draft, change, by }: NewRevision<'_>,
        Checked { warnings, moves_to }: Checked,
    ) -> Result<RuleView, ControlError> {
        let rule_id = draft.rule_id().clone();
        if let AnyRuleDraft::Status(draft) = &draft {
            // Makes the group known, so that it is listed before its first client comes.
            self.known_groups.admits(&draft.group_id);
        }
        let staged = StagedRule::new(intent, draft, change).moving_to(moves_to);
        let (now_ms, by) = (self.clock.now_ms(), by.clone());
        self.write(move |tx| staged.write(tx, &by, now_ms)).await?;
        self.reload().await?;
        let view = self.rule(&rule_id).ok_or_else(|| not_found(&rule_id))?;
        Ok(RuleView { warnings, ..view })
    }

    /// One durable transaction on the blocking pool.
    pub(crate) async fn write(
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

/// What to call the change from one to the other.
pub(super) fn change_kind(old: &AnyRuleDraft, new: &AnyRuleDraft) -> ChangeKind {
    if let (AnyRuleDraft::Status(old), AnyRuleDraft::Status(new)) = (old, new) {
        let mut switched = old.clone();
        switched.enabled = new.enabled;
        if switched == *new && old.enabled != new.enabled {
            return if new.enabled {
                ChangeKind::Enabled
            } else {
                ChangeKind::Disabled
            };
        }
    }
    ChangeKind::Edited
}

pub(super) fn not_found(rule_id: &RuleId) -> ControlError {
    let message = format!("there is no rule {rule_id}; see `rulemill rule list`");
    ControlError::new(ControlCode::RuleNotFound, message)
}

/// Why a data rule is not enabled.
#[must_use]
pub fn data_rule_held(rule_id: &RuleId) -> ControlError {
    let message = format!(
        "rule {rule_id} is a data rule: this version keeps data rules and carries no messages for them; leave it disabled"
    );
    ControlError::new(ControlCode::DataRuleHeld, message)
}

/// The rule, if operators may change it.
pub(super) fn find_free(intent: &Intent, rule_id: &RuleId) -> Result<AnyRule, ControlError> {
    let rule = intent.any_rule(rule_id).ok_or_else(|| not_found(rule_id))?;
    check_unmanaged(intent, rule_id)?;
    Ok(rule)
}

pub(super) fn check_unmanaged(intent: &Intent, rule_id: &RuleId) -> Result<(), ControlError> {
    match intent.managed.get(rule_id) {
        None => Ok(()),
        Some(file) => Err(ControlError::new(
            ControlCode::ManagedByFile,
            format!("rule {rule_id} comes from {file} in the folder of rules; change it there"),
        )),
    }
}

pub(super) fn check_revision(rule: &AnyRule, if_revision: Option<u64>) -> Result<(), ControlError> {
    match if_revision {
        Some(revision) if revision != rule.revision() => {
            let message = format!(
                "rule {} has revision {}, not {revision}; read it again and repeat the change",
                rule.rule_id(),
                rule.revision()
            );
            Err(ControlError::new(ControlCode::StaleRevision, message))
        }
        _ => Ok(()),
    }
}
