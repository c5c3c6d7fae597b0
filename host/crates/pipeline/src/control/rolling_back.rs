//! Back to an earlier version of a plugin: because somebody says so, or because the present one fails.

use std::sync::Arc;

use domain::{Actor, PluginName, Rule, RuleId, VersionSelector};
use store::{ActivationOutcome, GenerationsRecord, PluginRecord};

use super::{Control, ControlCode, ControlError, NewAuditEntry};
use crate::generations;
use crate::intent::{Intent, resolved_key};
use crate::rollback::RollbackRequest;

/// A rule that went back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBackRule {
    /// The rule.
    pub rule_id: RuleId,
    /// The version that it had; withdrawn for it.
    pub from: u32,
    /// The version that it has now.
    pub to: u32,
}

/// A rule that did not go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRule {
    /// The rule.
    pub rule_id: RuleId,
    /// Why not, and what would help.
    pub reason: String,
}

/// What a rollback did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginRollback {
    /// At least one.
    pub rolled_back: Vec<RolledBackRule>,
    /// Rules that use the plugin and keep their version.
    pub kept: Vec<KeptRule>,
}

/// One rule's way back, worked out and tried before anything is written.
struct Step {
    rolled_back: RolledBackRule,
    record: GenerationsRecord,
}

/// Why a rule goes back, and who says so.
#[derive(Clone, Copy)]
struct Cause<'a> {
    reason: &'a str,
    by: &'a Actor,
}

impl Control {
    /// Goes back to the version that mapped before the present one and was not bad, for one rule or for
    /// all that follow the latest version of the plugin. The version gone back from is withdrawn for
    /// the rule: `latest` does not mean it any more, until it is pushed again in so many words.
    ///
    /// # Errors
    ///
    /// When there is no such plugin or rule, or no rule can go back; says why. Nothing is changed then.
    pub async fn roll_back_plugin(
        &self,
        name: &PluginName,
        rule_id: Option<&RuleId>,
        by: &Actor,
    ) -> Result<PluginRollback, ControlError> {
        let _change = self.begin_change().await;
        let intent = self.intent.load_full();
        if !intent.plugins.contains_key(name) {
            return Err(super::plugins::not_found(name));
        }
        let rules = match rule_id {
            Some(rule_id) => vec![rule_of(&intent, name, rule_id)?],
            None => users(&intent, name)?,
        };
        let (mut steps, mut answer, mut refusals) =
            (Vec::new(), PluginRollback::default(), Vec::new());
        let cause = Cause {
            reason: "rolled back",
            by,
        };
        for rule in rules {
            match self.step(&intent, rule, None, cause).await {
                Ok(step) => steps.push(step),
                Err(error) => {
                    answer.kept.push(KeptRule {
                        rule_id: rule.draft.rule_id.clone(),
                        reason: error.message.clone(),
                    });
                    refusals.push(error);
                }
            }
        }
        if steps.is_empty() {
            return Err(refusals.into_iter().next().unwrap_or_else(|| unused(name)));
        }
        answer.rolled_back = steps.iter().map(|it| it.rolled_back.clone()).collect();
        self.take(steps, by).await?;
        Ok(answer)
    }

    /// Carries out a courier's request, unless something changed meanwhile.
    pub(crate) async fn roll_back_failing(
        &self,
        request: &RollbackRequest,
    ) -> Result<(), ControlError> {
        let _change = self.begin_change().await;
        let intent = self.intent.load_full();
        let Some(rule) = intent.rules.get(&request.rule_id) else {
            return Ok(());
        };
        let active = self.rule_set.incarnation(rule.incarnation);
        let loaded = active.as_ref().and_then(|it| it.mapper.as_ref().ok());
        if !loaded.is_some_and(|loaded| Arc::ptr_eq(&loaded.track, &request.track)) {
            return Ok(());
        }
        let by = Actor::host();
        let cause = Cause {
            reason: &request.reason,
            by: &by,
        };
        let step = self
            .step(&intent, rule, Some(request.version), cause)
            .await?;
        self.take(vec![step], &by).await?;
        let what = format!("/v1/rules/{}", request.rule_id);
        let entry = NewAuditEntry::without_request(&by, "ROLLBACK", what);
        self.access.note(entry).await;
        Ok(())
    }

    /// How the rule went back by itself, if that is the last that happened to its version.
    pub(crate) fn went_back(&self, rule_id: &RuleId) -> Option<String> {
        let intent = self.intent.load();
        let record = intent.generations.get(rule_id)?;
        let last = record.activations.last()?;
        let is_own = last.outcome == ActivationOutcome::RolledBack && last.by == Actor::host();
        let withdrawn = record.withdrawn.last().filter(|_| is_own)?;
        Some(format!(
            "went back to version {} of plugin {} by itself: version {} {}; it is withdrawn for this rule until it is pushed again with --again",
            last.version, last.plugin, withdrawn.version, withdrawn.reason
        ))
    }

    /// Works out one rule's way back, to `version` if that is given.
    async fn step(
        &self,
        intent: &Intent,
        rule: &Rule,
        version: Option<u32>,
        Cause { reason, by }: Cause<'_>,
    ) -> Result<Step, ControlError> {
        let (rule_id, mapping) = (&rule.draft.rule_id, rule.draft.mapping.clone());
        let name = &rule.draft.mapping.plugin;
        if mapping.version != VersionSelector::Latest {
            return Err(pinned(rule));
        }
        let old = intent.generations.get(rule_id);
        let old = old.filter(|it| it.plugin == *name);
        let old = old.ok_or_else(|| no_earlier(rule_id, name, None))?;
        let target = target(intent, old, version);
        let target = target.ok_or_else(|| no_earlier(rule_id, name, Some(old.active.version)))?;
        let (reloader, id, candidate) =
            (Arc::clone(&self.reloader), rule_id.clone(), target.clone());
        self.blocking(move || reloader.ready(&id, &candidate, &mapping).map(|_| ()))
            .await
            .map_err(|error| {
                let message = format!(
                    "rule {rule_id} cannot go back to version {} of plugin {name}: {}",
                    target.version, error.message
                );
                ControlError::new(error.code, message)
            })?;
        Ok(Step {
            rolled_back: RolledBackRule {
                rule_id: rule_id.clone(),
                from: old.active.version,
                to: target.version,
            },
            record: generations::rolled_back(old, target, reason, &self.stamp(by)),
        })
    }

    /// Stores all steps in one transaction and makes them true.
    async fn take(&self, steps: Vec<Step>, by: &Actor) -> Result<(), ControlError> {
        let (rolled_back, records): (Vec<_>, Vec<_>) = steps
            .into_iter()
            .map(|step| (step.rolled_back, step.record))
            .unzip();
        self.write(move |tx| {
            records.iter().try_for_each(|record| {
                let (key, version) = (resolved_key(&record.rule_id), record.active.version);
                tx.put_setting(&key, &version.to_string())?;
                tx.put_generations(record)
            })
        })
        .await?;
        for RolledBackRule { rule_id, from, to } in &rolled_back {
            self.metrics.swapped("rolled_back");
            tracing::warn!(%rule_id, from, to, %by, "rule went back to an earlier plugin version, the one that it had is withdrawn");
        }
        self.reload().await
    }
}

/// The newest earlier version that is still stored, or the one with this number.
fn target<'a>(
    intent: &'a Intent,
    record: &GenerationsRecord,
    version: Option<u32>,
) -> Option<&'a PluginRecord> {
    let mut earlier = record.earlier.iter().rev();
    earlier.find_map(|it| {
        let is_it = version.is_none_or(|version| version == it.version);
        let is_other = it.digest != record.active.digest;
        let is_withdrawn = record.withdrawal(&it.digest).is_some();
        if !is_it || !is_other || is_withdrawn {
            return None;
        }
        intent.version_with(&record.plugin, it.digest)
    })
}

fn rule_of<'a>(
    intent: &'a Intent,
    name: &PluginName,
    rule_id: &RuleId,
) -> Result<&'a Rule, ControlError> {
    if intent.data_rules.contains_key(rule_id) {
        let message =
            format!("rule {rule_id} is a data rule: no plugin maps its messages; leave it out");
        return Err(ControlError::new(ControlCode::RollbackImpossible, message));
    }
    let rule = intent
        .rules
        .get(rule_id)
        .ok_or_else(|| super::rules::not_found(rule_id))?;
    let used = &rule.draft.mapping.plugin;
    if used != name {
        let message = format!("rule {rule_id} uses plugin {used}, not {name}; roll back {used}");
        return Err(ControlError::new(ControlCode::RollbackImpossible, message));
    }
    Ok(rule)
}

fn users<'a>(intent: &'a Intent, name: &PluginName) -> Result<Vec<&'a Rule>, ControlError> {
    let rules = intent.rules.values();
    let users: Vec<_> = rules
        .filter(|rule| rule.draft.mapping.plugin == *name)
        .collect();
    if users.is_empty() {
        return Err(unused(name));
    }
    Ok(users)
}

fn unused(name: &PluginName) -> ControlError {
    let message = format!("no rule uses plugin {name}, so there is nothing to roll back");
    ControlError::new(ControlCode::RollbackImpossible, message)
}

fn pinned(rule: &Rule) -> ControlError {
    let draft = &rule.draft;
    let message = format!(
        "rule {} names version {} of plugin {} itself; edit the rule to another version, or to \"latest\"",
        draft.rule_id, draft.mapping.version, draft.mapping.plugin
    );
    ControlError::new(ControlCode::RollbackImpossible, message)
}

fn no_earlier(rule_id: &RuleId, name: &PluginName, active: Option<u32>) -> ControlError {
    let active = active.map_or(String::new(), |version| {
        format!("; version {version} is the first that it had and has not gone back from")
    });
    let message = format!(
        "rule {rule_id} has no earlier good version of plugin {name} to go back to{active}; push one that works, or edit the rule to a version"
    );
    ControlError::new(ControlCode::NoEarlierVersion, message)
}
