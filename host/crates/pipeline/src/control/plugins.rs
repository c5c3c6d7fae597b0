//! Plugins: push, list, delete. A push moves `latest`, for each rule by itself, through its canary.

use std::sync::Arc;

use domain::{Mapped, MappingLimits, PluginName, VersionSelector};
use store::PluginRecord;

use super::{Control, ControlCode, ControlError, PluginVersionView};
use crate::config::BuiltInPlugin;
use crate::control_errors;
use crate::intent::resolved_key;

impl Control {
    /// Stores a component as the next version of `name` after inspecting, compiling and trying it.
    /// Bytes that are a version already give that one, and false.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the component; nothing is saved then.
    pub async fn push_plugin(
        &self,
        name: PluginName,
        bytes: Vec<u8>,
    ) -> Result<(PluginVersionView, bool), ControlError> {
        let _change = self.change.lock().await;
        let (record, is_new) = self.store_version(name, bytes, false).await?;
        if is_new {
            self.move_latest(&record).await?;
            self.reload().await?;
        }
        Ok((view(&record), is_new))
    }

    /// All versions of all plugins, sorted by name and version.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginVersionView> {
        self.intent
            .load()
            .plugins
            .values()
            .flatten()
            .map(view)
            .collect()
    }

    /// Deletes a plugin with all its versions.
    ///
    /// # Errors
    ///
    /// When there is no such plugin, a rule uses it, or it came with the host.
    pub async fn delete_plugin(&self, name: &PluginName) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let Some(versions) = intent.plugins.get(name) else {
            let message = format!("there is no plugin {name}; see `rulemill plugin list`");
            return Err(ControlError::new(ControlCode::PluginNotFound, message));
        };
        if versions.iter().any(|record| record.is_built_in) {
            let message = format!("plugin {name} came with the host and cannot be deleted");
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
                "events of rule {} still wait for plugin {name}",
                record.rule_id
            );
            return Err(ControlError::new(ControlCode::PluginInUse, message));
        }
        let name = name.clone();
        self.write(move |tx| tx.remove_plugin(&name)).await?;
        self.reload().await
    }

    /// Stores the host's own plugins; a newer host adds versions.
    pub(crate) async fn store_built_in(
        &self,
        plugins: &[BuiltInPlugin],
    ) -> Result<(), ControlError> {
        for plugin in plugins {
            let name = PluginName::parse(plugin.name).map_err(|error| {
                ControlError::new(ControlCode::InvalidPluginName, error.to_string())
            })?;
            self.store_version(name, plugin.bytes.to_vec(), true)
                .await?;
        }
        Ok(())
    }

    async fn store_version(
        &self,
        name: PluginName,
        bytes: Vec<u8>,
        is_built_in: bool,
    ) -> Result<(PluginRecord, bool), ControlError> {
        let (meta, runtime, reloader) = (
            Arc::clone(&self.meta),
            Arc::clone(&self.runtime),
            Arc::clone(&self.reloader),
        );
        let created_at_ms = self.clock.now_ms();
        self.blocking(move || {
            let facts = runtime
                .inspect(&bytes)
                .map_err(|error| control_errors::inspect(&error))?;
            let records = meta
                .plugins()
                .map_err(|error| control_errors::store(&error))?;
            let versions: Vec<_> = records
                .into_iter()
                .filter(|record| record.name == name)
                .collect();
            if let Some(known) = versions.iter().find(|record| record.digest == facts.digest) {
                return Ok((known.clone(), false));
            }
            let last = versions.iter().map(|record| record.version).max();
            let record = PluginRecord {
                version: last.unwrap_or(0) + 1,
                name,
                digest: facts.digest,
                size_bytes: u64::try_from(facts.size_bytes).unwrap_or(u64::MAX),
                exports: facts.exports,
                imports: facts.imports,
                created_at_ms,
                is_built_in,
            };
            // The host's own are tested with it; compiling them here would only delay the start.
            if !is_built_in {
                let plugin = reloader.compile(record.digest, &bytes)?;
                runtime
                    .run_own_cases(&plugin)
                    .map_err(|error| control_errors::own_case(&record.name, &error))?;
                try_without_config(&reloader, &record)?;
            }
            let stored = record.clone();
            meta.write(move |tx| tx.put_plugin(&stored, &bytes))
                .map_err(|error| control_errors::store(&error))?;
            Ok((record, true))
        })
        .await
    }

    /// Moves the rules that follow `latest` to `record`, each only if its canary passes.
    async fn move_latest(&self, record: &PluginRecord) -> Result<(), ControlError> {
        let intent = self.intent.load_full();
        let followers: Vec<_> = intent
            .rules
            .values()
            .filter(|rule| {
                rule.draft.mapping.plugin == record.name
                    && rule.draft.mapping.version == VersionSelector::Latest
            })
            .map(|rule| (rule.draft.rule_id.clone(), rule.draft.mapping.clone()))
            .collect();
        for (rule_id, mapping) in followers {
            let (reloader, candidate) = (Arc::clone(&self.reloader), record.clone());
            let id = rule_id.clone();
            match self
                .blocking(move || reloader.load(Some(&id), &candidate, &mapping).map(|_| ()))
                .await
            {
                Ok(()) => {
                    let (key, version) = (resolved_key(&rule_id), record.version.to_string());
                    self.write(move |tx| tx.put_setting(&key, &version)).await?;
                }
                Err(error) => {
                    self.metrics.swapped("canary_failed");
                    tracing::warn!(%rule_id, version = record.version, error = %error, "new plugin version failed the rule's canary, the rule keeps its version");
                }
            }
        }
        Ok(())
    }
}

/// A plugin may refuse an empty configuration; it may not trap or loop on it.
fn try_without_config(
    reloader: &crate::reloader::Reloader,
    record: &PluginRecord,
) -> Result<(), ControlError> {
    let mapping = Mapped {
        plugin: record.name.clone(),
        version: VersionSelector::Number(record.version),
        config: "{}".to_owned(),
        limits: MappingLimits::default(),
        on_fault: domain::OnFault::DeadLetter,
        on_reject: domain::OnReject::DeadLetter,
    };
    match reloader.load(None, record, &mapping) {
        Err(error) if error.code != ControlCode::ConfigRefused => Err(error),
        _ => Ok(()),
    }
}

fn view(record: &PluginRecord) -> PluginVersionView {
    PluginVersionView {
        name: record.name.clone(),
        version: record.version,
        digest: record.digest,
        size_bytes: record.size_bytes,
        exports: record.exports.clone(),
        imports: record.imports.clone(),
        created_at_ms: record.created_at_ms,
        is_built_in: record.is_built_in,
    }
}
