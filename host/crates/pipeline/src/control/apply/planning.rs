//! Declaration and stored intent → what is changed, and what is in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{Actor, AnyRuleDraft, GroupId, Mapped, RuleId};
use store::ChangeKind;

use super::super::PendingEvents;
use super::super::checking::{AllDrafts, check_count};
use super::super::pushing::MoveTerms;
use super::super::rules::{change_kind, check_unmanaged};
use super::super::staging::{StagedRemoval, StagedRule};
use super::super::{Control, ControlCode, ControlError};
use super::{
    ApplyError, ApplyPlan, ApplyProblem, ApplyScope, Declaration, DeclaredRule, PlannedChange,
    Staged,
};
use crate::intent::Intent;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Planning {
    pub(super) plan: ApplyPlan,
    pub(super) staged: Staged,
    pub(super) problems: Vec<ApplyProblem>,
}

impl Control {
    /// Works out all that `declaration` changes.
    pub(super) async fn plan(
        &self,
        intent: &Intent,
        declaration: Declaration,
        by: &Actor,
    ) -> Result<(ApplyPlan, Staged), ApplyError> {
        let mut planning = Planning::default();
        let changed = mappings(intent, &declaration);
        for group_id in declaration.groups {
            let is_known = self.known_groups.contains(&group_id);
            planning.group(group_id, is_known);
        }
        let mut working = intent.clone();
        let terms = MoveTerms {
            by,
            is_again: false,
            changed: &changed,
        };
        self.plan_plugins(&mut working, declaration.plugins, &mut planning, &terms)
            .await;
        let working = Arc::new(working);
        let mut all = AllDrafts::of(&working);
        all.expect_groups(planning.staged.groups.iter().cloned());
        let rules_before = all.len();
        let mut declared = BTreeSet::new();
        let mut changed = Vec::new();
        for rule in declaration.rules {
            let rule_id = rule.draft.rule_id().clone();
            if !declared.insert(rule_id.clone()) {
                let message = format!("rule {rule_id} is declared twice; leave one of the two");
                let error = ControlError::new(ControlCode::InvalidRule, message);
                planning.problem_of_rule(&rule_id, error);
                continue;
            }
            all.put(rule.draft.clone());
            match is_changed(&working, &rule, declaration.scope) {
                Ok(false) => {
                    planning.plan.unchanged += 1;
                    let warnings = rule.warnings.into_iter();
                    let warnings = warnings.map(|warning| format!("rule {rule_id}: {warning}"));
                    planning.plan.warnings.extend(warnings);
                }
                Ok(true) => changed.push(rule),
                Err(error) => planning.problem_of_rule(&rule_id, error),
            }
        }
        if declaration.is_pruning {
            planning.prune(&working, &declared, declaration.scope, &mut all);
        }
        if all.len() > rules_before
            && let Err(error) = check_count(all.len(), self.rules_max)
        {
            planning.problems.push(ApplyProblem::of_all(error));
        }
        for mut rule in changed {
            let checked = self
                .check_rule(&working, &rule.draft, &all, declaration.is_forced)
                .await;
            match checked {
                Ok(checked) => {
                    rule.warnings.extend(checked.warnings);
                    planning.rule(&working, rule, checked.moves_to);
                }
                Err(error) => planning.problem_of_rule(rule.draft.rule_id(), error),
            }
        }
        match ApplyError::of(planning.problems) {
            Some(error) => Err(error),
            None => Ok((planning.plan, planning.staged)),
        }
    }
}

impl Planning {
    fn group(&mut self, group_id: GroupId, is_known: bool) {
        if is_known || self.staged.groups.contains(&group_id) {
            self.plan.unchanged += 1;
            return;
        }
        let change = PlannedChange::Group(group_id.clone());
        self.plan.changes.push((change, Vec::new()));
        self.staged.groups.push(group_id);
    }

    /// The rules of the scope that are not declared go.
    fn prune(
        &mut self,
        working: &Intent,
        declared: &BTreeSet<RuleId>,
        scope: ApplyScope,
        all: &mut AllDrafts,
    ) {
        for (rule_id, rule) in working.any_rules() {
            if declared.contains(&rule_id) || !is_of_scope(working, &rule_id, scope) {
                continue;
            }
            all.remove(&rule_id);
            let removal = StagedRemoval::new(working, &rule_id, PendingEvents::Deliver);
            self.staged.removals.push(removal);
            let change = PlannedChange::Rule {
                before: Some(rule.draft()),
                after: None,
            };
            self.plan.changes.push((change, Vec::new()));
        }
    }

    /// A rule that was checked is created or changed.
    fn rule(&mut self, working: &Intent, rule: DeclaredRule, moves_to: Option<u32>) {
        let before = working.any_rule(rule.draft.rule_id());
        let before = before.map(|rule| rule.draft());
        let kind = before.as_ref().map_or(ChangeKind::Created, |before| {
            change_kind(before, &rule.draft)
        });
        let staged = StagedRule::new(working, rule.draft.clone(), kind);
        let mut staged = staged.moving_to(moves_to);
        staged.managed_by = rule.file;
        self.staged.rules.push(staged);
        let change = PlannedChange::Rule {
            before,
            after: Some(rule.draft),
        };
        self.plan.changes.push((change, rule.warnings));
    }

    fn problem_of_rule(&mut self, rule_id: &RuleId, error: ControlError) {
        self.problems.push(ApplyProblem::of_rule(rule_id, error));
    }
}

/// What the declaration makes of the mappings of rules; `None` for one that goes or has none any more.
fn mappings(intent: &Intent, declaration: &Declaration) -> BTreeMap<RuleId, Option<Mapped>> {
    let present = intent.rules.keys();
    let going = present
        .filter(|id| declaration.is_pruning && is_of_scope(intent, id, declaration.scope))
        .map(|id| (id.clone(), None));
    let declared = declaration.rules.iter().map(|rule| {
        let mapping = match &rule.draft {
            AnyRuleDraft::Status(draft) => Some(draft.mapping.clone()),
            AnyRuleDraft::Data(_) => None,
        };
        (rule.draft.rule_id().clone(), mapping)
    });
    // A rule that is declared does not go.
    going.chain(declared).collect()
}

/// Whether who declares may delete the rule.
fn is_of_scope(intent: &Intent, rule_id: &RuleId, scope: ApplyScope) -> bool {
    intent.managed.contains_key(rule_id) == (scope == ApplyScope::Folder)
}

/// Whether a declared rule is not what is there already.
fn is_changed(
    intent: &Intent,
    rule: &DeclaredRule,
    scope: ApplyScope,
) -> Result<bool, ControlError> {
    let rule_id = rule.draft.rule_id();
    let is_same = intent
        .any_rule(rule_id)
        .is_some_and(|old| old.draft() == rule.draft);
    match scope {
        ApplyScope::Operator if is_same => Ok(false),
        ApplyScope::Operator => check_unmanaged(intent, rule_id).map(|()| true),
        ApplyScope::Folder => Ok(!is_same || intent.managed.get(rule_id) != rule.file.as_ref()),
    }
}
