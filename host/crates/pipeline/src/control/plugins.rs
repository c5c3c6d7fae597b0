//! Plugins as a whole: how one is deleted, and what its changes have in common.

use domain::{Actor, PluginName, VersionSelector};
use store::{IncarnationRecord, PluginRecord};

use super::pushing::without_config;
use super::{Control, ControlCode, ControlError};

impl Control {
    /// Deletes a plugin with all its versions.
    ///
    /// # Errors
    ///
    /// When there is no such plugin, a rule uses it or still owes events that it maps, or it came with the host.
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
        let users = intent.incarnations.values();
        let mut users = users.filter(|record| record.mapping.plugin == *name);
        let what = format!("plugin {name}");
        let owed = users.find_map(|record| self.what_it_owes(record, &what));
        if let Some(message) = owed {
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

    /// Why `what` cannot go that maps for an incarnation: its events wait, or channels that were opened under it are
    /// still open and owe their closing events. `None` if it owes nothing, or what comes for it is dropped.
    pub(super) fn what_it_owes(&self, record: &IncarnationRecord, what: &str) -> Option<String> {
        if record.is_discarding || !self.outbox.is_owed(record.id) {
            return None;
        }
        let rule_id = &record.rule_id;
        let message = if self.outbox.counts(record.id).pending > 0 {
            format!(
                "events of rule {rule_id} still wait for {what}; try again when they are delivered"
            )
        } else {
            format!(
                "{what} has to map the closing events of clients that connected before rule {rule_id} was changed or deleted; try again when these clients have disconnected and the events are delivered"
            )
        };
        Some(message)
    }
}

/// Tries a version with an empty configuration. Blocks.
pub(super) fn try_without_config(
    reloader: &crate::reloader::Reloader,
    record: &PluginRecord,
) -> Result<(), ControlError> {
    let mapping = without_config(&record.name, VersionSelector::Number(record.version));
    or_refused(reloader.load(None, record, &mapping))
}

/// A plugin may refuse an empty configuration; it may not trap or loop on it.
pub(super) fn or_refused<T>(tried: Result<T, ControlError>) -> Result<(), ControlError> {
    match tried {
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
