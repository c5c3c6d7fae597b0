//! The plugins of an apply: uploaded before, stored with the rules that want them.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Actor, PluginDigest, PluginName};
use store::PluginRecord;
use tokio::time::Instant;

use super::super::plugins::try_without_config;
use super::super::pushing::{MoveTerms, check_versions};
use super::super::{Control, ControlCode, ControlError};
use super::planning::Planning;
use super::{ApplyProblem, PlannedChange};
use crate::control_errors;
use crate::intent::Intent;

/// A new version with its component.
#[derive(Debug)]
pub(super) struct StagedPlugin {
    pub(super) record: PluginRecord,
    pub(super) bytes: Arc<[u8]>,
}

impl Control {
    /// Keeps a component for an apply that names its digest within ten minutes, after inspecting,
    /// compiling and trying it with its own cases.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the component.
    pub async fn stage_component(&self, bytes: Vec<u8>) -> Result<PluginDigest, ControlError> {
        let (runtime, reloader) = (Arc::clone(&self.runtime), Arc::clone(&self.reloader));
        let (digest, bytes) = self
            .blocking(move || {
                let facts = runtime
                    .inspect(&bytes)
                    .map_err(|error| control_errors::inspect(&error))?;
                let plugin = reloader.compile(facts.digest, &bytes)?;
                runtime
                    .run_own_cases(&plugin)
                    .map_err(|error| control_errors::staged_case(&error))?;
                Ok((facts.digest, bytes))
            })
            .await?;
        self.components.put(digest, bytes, Instant::now());
        Ok(digest)
    }

    /// Adds the declared versions to `working`, and moves `latest` for the rules whose canary passes.
    pub(super) async fn plan_plugins(
        &self,
        working: &mut Intent,
        declared: Vec<(PluginName, PluginDigest)>,
        planning: &mut Planning,
        terms: &MoveTerms<'_>,
    ) {
        let mut names = BTreeSet::new();
        for (name, digest) in declared {
            let planned = if names.insert(name.clone()) {
                let declared = (&name, digest);
                self.plan_plugin(working, declared, planning, terms).await
            } else {
                let message = format!("plugin {name} is declared twice; leave one of the two");
                Err(ControlError::new(ControlCode::InvalidPluginName, message))
            };
            if let Err(error) = planned {
                let problem = ApplyProblem::of_plugin(&name, error);
                planning.problems.push(problem);
            }
        }
    }

    async fn plan_plugin(
        &self,
        working: &mut Intent,
        (name, digest): (&PluginName, PluginDigest),
        planning: &mut Planning,
        terms: &MoveTerms<'_>,
    ) -> Result<(), ControlError> {
        if working.version_with(name, digest).is_some() {
            planning.plan.unchanged += 1;
            return Ok(());
        }
        // Those that the same apply brings count, too.
        check_versions(working.versions_count())?;
        let bytes = self.components.find(digest, Instant::now()).ok_or_else(|| {
            let message = format!(
                "plugin {name} has no version {digest}, and no such component waits to be applied: one waits ten minutes, and of \
                 more than 64 MiB together the oldest go; name its file, and apply plugins of more than that in parts, or push \
                 each with rulemill plugin push"
            );
            ControlError::new(ControlCode::UnknownPlugin, message)
        })?;
        let record = self.new_version(name.clone(), &bytes, terms.by).await?;
        let moves = self.moves(working, &record, terms).await?;
        let versions = working.plugins.entry(name.clone()).or_default();
        versions.push(record.clone());
        for moved in &moves.active {
            working
                .resolved
                .insert(moved.rule_id.clone(), record.version);
        }
        let refusals = moves.refusals.iter().map(|(rule_id, error)| {
            format!(
                "rule {rule_id} keeps the version that it has: {}; if the plugin is at fault, apply a mended one, else mend that and \
                 try this one once more: `rulemill plugin push FILE --name {name} --again`",
                error.message
            )
        });
        let withdrawn = moves.withdrawn.iter().map(|rule_id| {
            format!(
                "rule {rule_id} went back from this version and keeps the one that it has; `rulemill plugin push FILE --name {name} --again` tries it there once more"
            )
        });
        let warnings = refusals.chain(withdrawn).collect();
        planning.staged.moves.push(Arc::new(moves));
        let change = PlannedChange::Plugin {
            name: name.clone(),
            version: record.version,
            digest,
        };
        planning.plan.changes.push((change, warnings));
        let staged = StagedPlugin { record, bytes };
        planning.staged.plugins.push(staged);
        Ok(())
    }

    async fn new_version(
        &self,
        name: PluginName,
        bytes: &Arc<[u8]>,
        by: &Actor,
    ) -> Result<PluginRecord, ControlError> {
        let (facts, bytes) = self.inspect(Arc::clone(bytes)).await?;
        let known = self.known_versions(&name).await?;
        let record = known.next(name, facts, self.stamp(by));
        let (reloader, tried) = (Arc::clone(&self.reloader), record.clone());
        self.blocking(move || {
            // From now on the mapper of a rule can be made of it, although it is not stored.
            reloader.keep(reloader.compile(tried.digest, &bytes)?);
            try_without_config(&reloader, &tried)
        })
        .await?;
        Ok(record)
    }
}
