//! What is checked of a rule before it is saved: limits, what is in the way, group, destination, plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{
    AnyRule, AnyRuleDraft, DataRuleDraft, Direction, GroupId, Mapped, OnActivate, RuleDraft,
    RuleId, VersionSelector,
};
use store::PluginRecord;

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

/// What the check of a rule found out.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// What the user should know.
    pub(super) warnings: Vec<String>,
    /// What `latest` comes to mean for the rule, if the version that it has does not take the configuration.
    pub(super) moves_to: Option<u32>,
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
    pub(super) async fn check_rule(
        &self,
        intent: &Arc<Intent>,
        draft: &AnyRuleDraft,
        all: &AllDrafts,
        is_forced: bool,
    ) -> Result<Checked, ControlError> {
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
        let mut checked = Checked {
            warnings,
            moves_to: None,
        };
        if let AnyRuleDraft::Status(draft) = draft {
            self.check_mapping(intent, draft, &mut checked).await?;
        }
        Ok(checked)
    }

    /// Compiles, links and tries out the plugin with the rule's configuration. `latest` goes on meaning the version that
    /// the rule has; if that one refuses a configuration that the newest one takes, both change together.
    async fn check_mapping(
        &self,
        intent: &Arc<Intent>,
        draft: &RuleDraft,
        checked: &mut Checked,
    ) -> Result<(), ControlError> {
        let mapping = draft.mapping.clone();
        let kept = kept_version(intent, draft);
        let record = intent.version(&draft.rule_id, &mapping, kept).cloned();
        let record = record.ok_or_else(|| no_version(intent, draft))?;
        let (present, plugin) = (record.version, record.name.clone());
        let refused = match self
            .try_version(&draft.rule_id, record, mapping.clone())
            .await
        {
            Err(error) if error.code == ControlCode::ConfigRefused => error,
            other => return other,
        };
        let newest = intent.version(&draft.rule_id, &mapping, None);
        let newest = newest.filter(|newest| {
            mapping.version == VersionSelector::Latest && newest.version > present
        });
        let Some(newest) = newest.cloned() else {
            return Err(refused);
        };
        let number = newest.version;
        match self.try_version(&draft.rule_id, newest, mapping).await {
            Ok(()) => {
                checked.warnings.push(format!(
                    "version {present} of plugin {plugin}, which the rule has, refuses the configuration; the rule moves to version {number}, which takes it"
                ));
                checked.moves_to = Some(number);
                Ok(())
            }
            // It may take it once the host has the time to ask it.
            Err(error) if error.is_of_host() => Err(error),
            Err(error) => {
                let message = format!(
                    "{}; version {number}, the newest, does not take it either: {}",
                    refused.message, error.message
                );
                Err(ControlError::new(refused.code, message))
            }
        }
    }

    async fn try_version(
        &self,
        rule_id: &RuleId,
        record: PluginRecord,
        mapping: Mapped,
    ) -> Result<(), ControlError> {
        let (reloader, rule_id) = (Arc::clone(&self.reloader), rule_id.clone());
        self.blocking(move || reloader.load(Some(&rule_id), &record, &mapping).map(drop))
            .await
    }
}

/// Why there is no plugin for `draft`.
fn no_version(intent: &Intent, draft: &RuleDraft) -> ControlError {
    let Mapped {
        plugin, version, ..
    } = &draft.mapping;
    let message = if *version == VersionSelector::Latest && intent.plugins.contains_key(plugin) {
        // Not `--again`: it moves rules only that follow the plugin already.
        format!(
            "every version of plugin {plugin} is withdrawn for rule {}, which went back from it; name one of them in the rule (see `rulemill plugin show {plugin}`), or push a new one",
            draft.rule_id
        )
    } else {
        format!(
            "there is no plugin {plugin} version {version}; push it first, or see `rulemill plugin list`"
        )
    };
    ControlError::new(ControlCode::UnknownPlugin, message)
}

fn check_activation(draft: &RuleDraft) -> Result<(), ControlError> {
    if draft.on_activate == OnActivate::Snapshot {
        let message = "onActivate may be \"none\" only; \"snapshot\" is not available yet";
        return Err(ControlError::new(ControlCode::InvalidRule, message));
    }
    Ok(())
}
