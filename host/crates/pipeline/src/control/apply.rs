//! A whole configuration at once: groups, plugins and rules are compared with what is there, checked
//! together, and stored in one transaction. Either all of it is made true or nothing is.

mod plan;
mod planning;
mod plugins;

use std::sync::Arc;

use domain::{Actor, AnyRuleDraft, GroupId, PluginDigest, PluginName};
use store::{GroupRecord, MetaWrite, WriteMetaError};

use super::Control;
use super::pushing::Moves;
use super::staging::{StagedRemoval, StagedRule};

pub use plan::{ApplyError, ApplyPlan, ApplyProblem, PlannedChange};
use plugins::StagedPlugin;

/// A rule of a declaration.
#[derive(Clone, Debug)]
pub struct DeclaredRule {
    /// The rule.
    pub draft: AnyRuleDraft,
    /// What the user should know of it, such as a name that was cut.
    pub warnings: Vec<String>,
    /// The file that it is in, if the folder of rules has it.
    pub file: Option<String>,
}

/// Who declares, and with that which rules are his.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyScope {
    /// An operator: all rules but those of the folder of rules.
    Operator,
    /// The folder of rules: what is in it is changed there only.
    Folder,
}

/// What is to be true.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Groups that are to be there.
    pub groups: Vec<GroupId>,
    /// Plugins that are to have this version: one that is there, or a component that was staged.
    pub plugins: Vec<(PluginName, PluginDigest)>,
    /// Rules as they are to be.
    pub rules: Vec<DeclaredRule>,
    /// Other rules of the scope are deleted; what they have queued is delivered.
    pub is_pruning: bool,
    /// A missing topic or name server is only a warning.
    pub is_forced: bool,
    /// Who declares.
    pub scope: ApplyScope,
}

/// All that one apply writes.
#[derive(Debug, Default)]
struct Staged {
    groups: Vec<GroupId>,
    plugins: Vec<StagedPlugin>,
    /// What the versions become for the rules that are there.
    moves: Vec<Arc<Moves>>,
    removals: Vec<StagedRemoval>,
    rules: Vec<StagedRule>,
}

impl Staged {
    fn write(self, tx: &mut MetaWrite<'_>, by: &Actor, now_ms: u64) -> Result<(), WriteMetaError> {
        for group_id in self.groups {
            tx.put_group(&GroupRecord {
                group_id,
                created_at_ms: now_ms,
                is_deleted: false,
            })?;
        }
        for plugin in &self.plugins {
            tx.put_plugin(&plugin.record, &plugin.bytes)?;
        }
        for moves in &self.moves {
            moves.write(tx)?;
        }
        for removal in self.removals {
            removal.write(tx)?;
        }
        for rule in self.rules {
            rule.write(tx, by, now_ms)?;
        }
        Ok(())
    }
}

impl Control {
    /// Works out what `declaration` changes, and changes it unless `is_dry_run`.
    ///
    /// # Errors
    ///
    /// Says all that is wrong or in the way; nothing is changed then.
    pub async fn apply(
        &self,
        declaration: Declaration,
        is_dry_run: bool,
        by: &Actor,
    ) -> Result<ApplyPlan, ApplyError> {
        let _change = self.begin_change().await;
        let intent = self.intent.load_full();
        let (mut plan, staged) = self.plan(&intent, declaration, by).await?;
        if is_dry_run || plan.changes.is_empty() {
            return Ok(plan);
        }
        let groups = staged.groups.clone();
        let uploaded: Vec<_> = staged.plugins.iter().map(|it| it.record.digest).collect();
        let moves = staged.moves.clone();
        let (now_ms, by) = (self.clock.now_ms(), by.clone());
        self.write(move |tx| staged.write(tx, &by, now_ms)).await?;
        moves.iter().for_each(|moves| self.tell_refusals(moves));
        groups.into_iter().for_each(|it| self.known_groups.put(it));
        for (change, _) in &plan.changes {
            if let PlannedChange::Rule {
                after: Some(AnyRuleDraft::Status(draft)),
                ..
            } = change
            {
                self.known_groups.admits(&draft.group_id);
            }
        }
        for digest in uploaded {
            self.components.forget(digest);
        }
        self.reload().await?;
        plan.is_applied = true;
        Ok(plan)
    }

    /// Gives rules that came from a folder of rules back to operators: the host has no such folder.
    pub async fn release_rules(&self) {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        if intent.managed.is_empty() {
            return;
        }
        let rule_ids: Vec<_> = intent.managed.keys().cloned().collect();
        let released = self.write(move |tx| {
            rule_ids
                .iter()
                .try_for_each(|id| tx.remove_setting(&crate::intent::managed_key(id)))
        });
        let result = match released.await {
            Ok(()) => self.reload().await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::error!(error = %error, "rules of a former folder of rules cannot be changed by operators");
        }
    }
}
