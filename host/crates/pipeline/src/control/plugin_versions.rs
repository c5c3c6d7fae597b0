//! Versions of plugins: what is shown of them, their history, and how one is deleted.

use domain::{Actor, PluginName, RuleId};
use store::{Activation, IncarnationRecord, PluginRecord};

use super::plugins::{last_version_key, not_found};
use super::{Control, ControlCode, ControlError, PluginVersionView};
use crate::generations;
use crate::intent::Intent;

/// A line of a rule's history of plugin versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleActivation {
    /// The rule.
    pub rule_id: RuleId,
    /// What happened.
    pub activation: Activation,
}

impl Control {
    /// All versions of all plugins, sorted by name and version.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginVersionView> {
        let intent = self.intent.load();
        let versions = intent.plugins.values().flatten();
        versions
            .map(|record| self.version_view(&intent, record))
            .collect()
    }

    /// One version.
    ///
    /// # Errors
    ///
    /// When there is no such plugin or version.
    pub fn plugin_version(
        &self,
        name: &PluginName,
        version: u32,
    ) -> Result<PluginVersionView, ControlError> {
        let intent = self.intent.load();
        let record = find(&intent, name, version)?;
        Ok(self.version_view(&intent, record))
    }

    /// What became of the versions of a plugin in the rules that there are, newest first; the last 32
    /// of each rule.
    #[must_use]
    pub fn plugin_activations(&self, name: &PluginName) -> Vec<RuleActivation> {
        let intent = self.intent.load();
        let mut all: Vec<_> = intent
            .generations
            .values()
            .flat_map(|record| {
                let of_plugin = record.activations.iter().rev();
                let of_plugin = of_plugin.filter(|it| it.plugin == *name);
                of_plugin.map(|activation| RuleActivation {
                    rule_id: record.rule_id.clone(),
                    activation: activation.clone(),
                })
            })
            .collect();
        // Stable: what one rule did within a millisecond stays in order.
        all.sort_by_key(|it| std::cmp::Reverse(it.activation.at_ms));
        all
    }

    /// Deletes one version. Its number is not given again.
    ///
    /// # Errors
    ///
    /// When there is no such version, it came with the host, a rule uses it, could go back to it, or
    /// still owes events that it maps.
    pub async fn delete_plugin_version(
        &self,
        name: &PluginName,
        version: u32,
        by: &Actor,
    ) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let record = find(&intent, name, version)?;
        if record.is_built_in {
            let message = format!(
                "version {version} of plugin {name} came with the host and cannot be deleted; push yours under another name"
            );
            return Err(ControlError::new(ControlCode::PluginBuiltIn, message));
        }
        if let Some(message) = self.obstacle(&intent, record) {
            return Err(ControlError::new(ControlCode::PluginInUse, message));
        }
        let (key, removed) = (last_version_key(name), name.clone());
        let versions = intent.plugins.get(name).into_iter().flatten();
        let last = versions.map(|it| it.version).max().unwrap_or(version);
        self.write(move |tx| {
            tx.put_setting(&key, &last.to_string())?;
            tx.remove_plugin_version(&removed, version)
        })
        .await?;
        tracing::info!(plugin = %name, version, %by, "plugin version deleted");
        self.reload().await
    }

    /// Why a version cannot be deleted.
    fn obstacle(&self, intent: &Intent, record: &PluginRecord) -> Option<String> {
        let (name, version) = (&record.name, record.version);
        for rule in intent.rules.values() {
            let (rule_id, mapping) = (&rule.draft.rule_id, &rule.draft.mapping);
            if mapping.plugin != *name {
                continue;
            }
            let resolved = intent.resolved.get(rule_id).copied();
            let used = intent.version(rule_id, mapping, resolved);
            if used.is_some_and(|it| it.version == version) {
                return Some(format!(
                    "rule {rule_id} uses version {version} of plugin {name}; push a newer one, or edit the rule, first"
                ));
            }
            let generations = intent.generations.get(rule_id);
            let generations = generations.filter(|it| it.plugin == *name);
            let mut ready = generations.map(generations::ready).into_iter().flatten();
            if ready.any(|it| it.digest == record.digest) {
                return Some(format!(
                    "version {version} of plugin {name} is what rule {rule_id} goes back to when its present version fails; it can be deleted once a newer one has proved itself"
                ));
            }
        }
        // As the couriers of drained incarnations find it, by number or by digest.
        let is_its = |it: &&IncarnationRecord| {
            let resolved = intent.resolved.get(&it.rule_id).copied();
            let used = intent.version(&it.rule_id, &it.mapping, resolved);
            it.mapping.plugin == *name && used.is_some_and(|it| it.version == version)
        };
        let what = format!("version {version} of plugin {name}");
        let mut users = intent.incarnations.values().filter(is_its);
        users.find_map(|it| self.what_it_owes(it, &what))
    }

    pub(super) fn version_view(&self, intent: &Intent, record: &PluginRecord) -> PluginVersionView {
        let (mut active_for, mut withdrawn_for) = (Vec::new(), Vec::new());
        for (rule_id, it) in &intent.generations {
            if it.plugin == record.name && it.active.digest == record.digest {
                active_for.push(rule_id.clone());
            }
            // By its bytes, as `latest` is told: they may have had another number, or another name.
            let rule = intent.rules.get(rule_id);
            let follows = rule.is_some_and(|rule| rule.draft.mapping.follows(&record.name));
            if let Some(withdrawal) = it.withdrawal(&record.digest).filter(|_| follows) {
                withdrawn_for.push((rule_id.clone(), withdrawal.clone()));
            }
        }
        PluginVersionView {
            name: record.name.clone(),
            version: record.version,
            digest: record.digest,
            size_bytes: record.size_bytes,
            exports: record.exports.clone(),
            imports: record.imports.clone(),
            created_at_ms: record.created_at_ms,
            created_by: record.created_by.clone(),
            active_for,
            withdrawn_for,
            is_built_in: record.is_built_in,
        }
    }
}

fn find<'a>(
    intent: &'a Intent,
    name: &PluginName,
    version: u32,
) -> Result<&'a PluginRecord, ControlError> {
    let versions = intent.plugins.get(name).ok_or_else(|| not_found(name))?;
    let found = versions.iter().find(|record| record.version == version);
    found.ok_or_else(|| {
        let message =
            format!("plugin {name} has no version {version}; see `rulemill plugin show {name}`");
        ControlError::new(ControlCode::PluginVersionNotFound, message)
    })
}
