//! What is checked of a rule before it is saved: limits, what is in the way, group, destination, plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{
    AnyRule, AnyRuleDraft, DataRuleDraft, Direction, GroupId, OnActivate, RuleDraft, RuleId,
};

use super::staging::kept_version;
use super::{Control, ControlCode, ControlError};
use crate::intent::Intent;

/// All rules as they will be once the change is made, and the groups that will be there.
#[derive(Debug)]
pub(super) struct AllDrafts {
    rules: BTreeMap<RuleId, AnyRuleDraft>,
    /// Groups that the same change makes.
    new_groups: BTreeSet<GroupId>,
}

impl AllDrafts {
    /// The rules as they are.
    pub(super) fn of(intent: &Intent) -> Self {
        let rules = intent.any_rules().into_iter();
        Self {
            rules: rules.map(|(id, rule)| (id, rule.draft())).collect(),
            new_groups: BTreeSet::new(),
        }
    }

    pub(super) fn expect_groups(&mut self, groups: impl Iterator<Item = GroupId>) {
        self.new_groups.extend(groups);
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(super) fn put(&mut self, draft: AnyRuleDraft) {
        self.rules.insert(draft.rule_id().clone(), draft);
    }

    pub(super) fn remove(&mut self, rule_id: &RuleId) {
        self.rules.remove(rule_id);
    }

    /// The other rule that has what `draft` wants for itself.
    fn in_the_way(&self, draft: &AnyRuleDraft) -> Option<&RuleId> {
        let others = self.rules.values();
        let mut others = others.filter(|other| other.rule_id() != draft.rule_id());
        let other = match draft {
            AnyRuleDraft::Status(draft) => others.find(|other| {
                matches!(other, AnyRuleDraft::Status(other) if other.group_id == draft.group_id)
            }),
            AnyRuleDraft::Data(draft) => others.find(|other| {
                matches!(other, AnyRuleDraft::Data(other)
                    if other.direction == draft.direction && other.mqtt_topic.is_same(&draft.mqtt_topic))
            }),
        };
        other.map(AnyRuleDraft::rule_id)
    }

    /// One status rule per group, one inbound and one outbound rule per MQTT topic.
    pub(super) fn check_unique(&self, draft: &AnyRuleDraft) -> Result<(), ControlError> {
        let Some(other) = self.in_the_way(draft) else {
            return Ok(());
        };
        let (code, message) = match draft {
            AnyRuleDraft::Status(draft) => (
                ControlCode::GroupHasRule,
                format!(
                    "group {} has the status rule {other} already; a group can have one, so change or delete {other}",
                    draft.group_id
                ),
            ),
            AnyRuleDraft::Data(DataRuleDraft {
                direction,
                mqtt_topic,
                ..
            }) => {
                let kind = match direction {
                    Direction::Outbound => "outbound",
                    Direction::Inbound => "inbound",
                };
                (
                    ControlCode::TopicHasRule,
                    format!(
                        "MQTT topic {mqtt_topic} has the {kind} rule {other} already; a topic can have one of each direction, so change or delete {other}"
                    ),
                )
            }
        };
        Err(ControlError::new(code, message))
    }
}

/// Whether there may be `count` rules.
pub(super) fn check_count(count: usize, rules_max: usize) -> Result<(), ControlError> {
    if count <= rules_max {
        return Ok(());
    }
    let message = format!(
        "limits.rules allows {rules_max} rules of all types together; delete one or raise the limit"
    );
    Err(ControlError::new(ControlCode::TooManyRules, message))
}

impl Control {
    /// Checks everything about `draft` that can be checked, among `all` rules as they will be.
    /// Returns warnings.
    pub(super) async fn check_rule(
        &self,
        intent: &Arc<Intent>,
        draft: &AnyRuleDraft,
        all: &AllDrafts,
        is_forced: bool,
    ) -> Result<Vec<String>, ControlError> {
        all.check_unique(draft)?;
        if let AnyRuleDraft::Status(draft) = draft {
            check_activation(draft)?;
            if !all.new_groups.contains(&draft.group_id) {
                self.check_group(&draft.group_id)?;
            }
        }
        let old = intent
            .any_rule(draft.rule_id())
            .map(|old| AnyRule::draft(&old));
        let is_known = old.is_some_and(|old| old.rocketmq() == draft.rocketmq());
        let warnings = if is_known {
            // Also while RocketMQ is away a rule can be edited: its health says that it is.
            Vec::new()
        } else {
            self.check_destination(draft.rocketmq(), is_forced).await?
        };
        if let AnyRuleDraft::Status(draft) = draft {
            self.check_mapping(intent, draft).await?;
        }
        Ok(warnings)
    }

    /// Compiles, links and tries out the plugin with the rule's configuration.
    async fn check_mapping(
        &self,
        intent: &Arc<Intent>,
        draft: &RuleDraft,
    ) -> Result<(), ControlError> {
        let mapping = draft.mapping.clone();
        let kept = kept_version(intent, draft);
        let record = intent.version(&draft.rule_id, &mapping, kept).cloned().ok_or_else(|| {
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
}

fn check_activation(draft: &RuleDraft) -> Result<(), ControlError> {
    if draft.on_activate == OnActivate::Snapshot {
        let message = "onActivate may be \"none\" only; \"snapshot\" is not available yet";
        return Err(ControlError::new(ControlCode::InvalidRule, message));
    }
    Ok(())
}
