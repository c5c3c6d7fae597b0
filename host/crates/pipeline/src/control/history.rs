//! What a rule was, and how it becomes that again.

use std::sync::Arc;

use domain::{Actor, RuleId};
use store::{ChangeKind, RevisionRecord};

use super::rules::{EditTerms, NewRevision, check_revision, find_free, not_found};
use super::{Control, ControlCode, ControlError, RuleView};
use crate::control_errors;

impl Control {
    /// The kept revisions of a rule, oldest first.
    ///
    /// # Errors
    ///
    /// When there is no such rule, or the store failed.
    pub async fn rule_history(
        &self,
        rule_id: &RuleId,
    ) -> Result<Vec<RevisionRecord>, ControlError> {
        if self.intent.load().any_rule(rule_id).is_none() {
            return Err(not_found(rule_id));
        }
        let (meta, id) = (Arc::clone(&self.meta), rule_id.clone());
        self.blocking(move || {
            meta.history(&id)
                .map_err(|error| control_errors::store(&error))
        })
        .await
    }

    /// Makes a rule what it was at `revision`, as a new revision.
    ///
    /// # Errors
    ///
    /// When there is no such rule or revision, or what it was cannot be any more; nothing is saved then.
    pub async fn rollback_rule(
        &self,
        rule_id: &RuleId,
        revision: u64,
        terms: EditTerms,
        by: &Actor,
    ) -> Result<RuleView, ControlError> {
        let _change = self.begin_change().await;
        let intent = self.intent.load_full();
        let old = find_free(&intent, rule_id)?;
        check_revision(&old, terms.if_revision)?;
        let history = self.rule_history(rule_id).await?;
        let was = history
            .into_iter()
            .find(|record| record.rule.revision() == revision);
        let Some(was) = was else {
            let message = format!(
                "rule {rule_id} has no revision {revision}, or it is too old to be kept; see `rulemill rule history {rule_id}`"
            );
            return Err(ControlError::new(ControlCode::RevisionNotFound, message));
        };
        let (draft, change) = (was.rule.draft(), ChangeKind::RolledBack);
        let new = NewRevision { draft, change, by };
        self.edit(&intent, &old, new, terms.is_forced).await
    }
}
