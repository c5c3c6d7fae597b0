//! Plugins as a whole: how one is deleted, and what its changes have in common.

use domain::{Actor, PluginName, VersionSelector};
use store::PluginRecord;

use super::pushing::without_config;
use super::{Control, ControlCode, ControlError};

impl Control {
    /// Deletes a plugin with all its versions.
    ///
    /// # Errors
    ///
    /// When there is no such plugin, a rule uses it, or it came with the host.
    pub async fn delete_plugin(&self, name: &PluginName, by: &Actor) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let Some(versions) = intent.plugins.get(name) else {
            return Err(not_found(name));
        };
        if versions.iter().any(|record| record.is_built_in) {
            let message = format!(
                "plugin {name} came with the host and cannot be deleted; push yours under another name"
            );
            return Err(ControlError::new(ControlCode::PluginBuiltIn, message));
        }
        let user = intent
            .rules
            .values()
            .find(|rule| rule.draft.mapping.plugin == *name);
        if let Some(rule) = user {
            let message = format!(
                "rule {} uses plugin {name}; edit or delete the rule first",
                rule.draft.rule_id
            );
            return Err(ControlError::new(ControlCode::PluginInUse, message));
        }
        let draining = intent.incarnations.values().find(|record| {
            record.mapping.plugin == *name && self.outbox.counts(record.id).pending > 0
        });
        if let Some(record) = draining {
            let message = format!(
                "events of rule {} still wait for plugin {name}; try again when they are delivered",
                record.rule_id
            );
            return Err(ControlError::new(ControlCode::PluginInUse, message));
        }
        let removed = name.clone();
        self.write(move |tx| {
            tx.remove_setting(&last_version_key(&removed))?;
            tx.remove_plugin(&removed)
        })
        .await?;
        tracing::info!(plugin = %name, %by, "plugin deleted");
        self.reload().await
    }
}

/// A plugin may refuse an empty configuration; it may not trap or loop on it.
pub(super) fn try_without_config(
    reloader: &crate::reloader::Reloader,
    record: &PluginRecord,
) -> Result<(), ControlError> {
    let mapping = without_config(&record.name, VersionSelector::Number(record.version));
    match reloader.load(None, record, &mapping) {
        Err(error) if error.code != ControlCode::ConfigRefused => Err(error),
        _ => Ok(()),
    }
}

/// Where the largest number is stored that a deleted version of a plugin had.
pub(super) fn last_version_key(name: &PluginName) -> String {
    format!("last-version/{name}")
}

pub(super) fn not_found(name: &PluginName) -> ControlError {
    let message = format!("there is no plugin {name}; see `rulemill plugin list`");
    ControlError::new(ControlCode::PluginNotFound, message)
}
