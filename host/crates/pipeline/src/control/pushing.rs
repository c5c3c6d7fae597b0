//! A push: a component becomes the next version of a plugin and moves `latest`, for each rule by itself, through
//! its canary.
//!
//! What may take minutes is done first: inspecting, compiling, trying. Only then other changes wait for it, and all
//! that it changes is stored in one transaction: a crash leaves everything of it or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{
    Actor, Mapped, MappingLimits, PluginDigest, PluginName, Rule, RuleId, VersionSelector,
};
use plugin_runtime::{CompiledPlugin, PluginFacts, digest_of};
use store::fail_point::{self, FailPoint};
use store::{GenerationsRecord, MetaWrite, PluginRecord, WriteMetaError};

use super::plugins::{last_version_key, or_refused};
use super::{Control, ControlCode, ControlError, PluginVersionView};
use crate::config::BuiltInPlugin;
use crate::control_errors;
use crate::generations::{self, Stamp};
use crate::intent::{Intent, resolved_key};

/// Versions of all plugins together: each change reads what is known of all of them, and each keeps its bytes.
pub(crate) const VERSIONS_MAX: usize = 10_000;

/// What a version becomes for the rules that follow `latest`.
#[derive(Debug)]
pub(super) struct Moves {
    version: u32,
    /// It maps for these from now on.
    pub(super) active: Vec<GenerationsRecord>,
    /// It failed their canary.
    rejected: Vec<GenerationsRecord>,
    /// Why; also for rules without a history.
    pub(super) refusals: Vec<(RuleId, ControlError)>,
    /// They went back from these bytes, and do not try them.
    pub(super) withdrawn: Vec<RuleId>,
}

/// The versions of one plugin, as the store has them.
#[derive(Debug)]
pub(super) struct KnownVersions {
    /// Oldest first.
    records: Vec<PluginRecord>,
    /// The greatest number that a deleted version had.
    last_deleted: Option<u32>,
}

impl KnownVersions {
    /// The version that has these bytes.
    fn with(&self, digest: PluginDigest) -> Option<&PluginRecord> {
        self.records.iter().find(|record| record.digest == digest)
    }

    /// The record of a component that is no version yet.
    pub(super) fn next(&self, name: PluginName, facts: PluginFacts, stamp: Stamp) -> PluginRecord {
        let last = self.records.iter().map(|record| record.version).max();
        // A number that a history names is not given again.
        let last = last.max(self.last_deleted);
        PluginRecord {
            version: last.unwrap_or(0) + 1,
            name,
            digest: facts.digest,
            size_bytes: u64::try_from(facts.size_bytes).unwrap_or(u64::MAX),
            exports: facts.exports,
            imports: facts.imports,
            created_at_ms: stamp.at_ms,
            created_by: stamp.by,
            is_built_in: false,
        }
    }
}

/// Under which conditions a version is tried for a rule.
pub(super) struct MoveTerms<'a> {
    pub(super) by: &'a Actor,
    /// Rules that went back from it try it, too.
    pub(super) is_again: bool,
    /// What the same change makes of the mappings of rules; `None`: the rule goes, or has none any more.
    pub(super) changed: &'a BTreeMap<RuleId, Option<Mapped>>,
}

impl MoveTerms<'_> {
    /// The rules that follow `latest` of the plugin of `record`, each with the mapping that it will have.
    fn followers<'a>(
        &'a self,
        intent: &'a Intent,
        record: &'a PluginRecord,
    ) -> impl Iterator<Item = (&'a Rule, &'a Mapped)> {
        intent.rules.values().filter_map(move |rule| {
            let present = &rule.draft.mapping;
            let next = match self.changed.get(&rule.draft.rule_id) {
                Some(changed) => changed.as_ref()?,
                None => present,
            };
            let is_following = present.follows(&record.name) && next.follows(&record.name);
            is_following.then_some((rule, next))
        })
    }
}

impl Moves {
    pub(super) fn write(&self, tx: &mut MetaWrite<'_>) -> Result<(), WriteMetaError> {
        for record in &self.active {
            tx.put_setting(&resolved_key(&record.rule_id), &self.version.to_string())?;
            tx.put_generations(record)?;
        }
        self.rejected
            .iter()
            .try_for_each(|record| tx.put_generations(record))
    }
}

impl Control {
    /// Stores a component as the next version of `name` after inspecting, compiling and trying it.
    /// Bytes that are a version already give that one, and false; nothing else happens then, also if
    /// it is withdrawn for a rule.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the component; nothing is saved then.
    pub async fn push_plugin(
        &self,
        name: PluginName,
        bytes: Vec<u8>,
        by: &Actor,
    ) -> Result<(PluginVersionView, bool), ControlError> {
        self.push(name, bytes, by, false).await
    }

    /// The same for bytes that may be a version already: it is tried once more for each rule that
    /// follows `latest` and has an older one, or went back from it, and maps for it if it passes.
    ///
    /// # Errors
    ///
    /// As [`Control::push_plugin`].
    pub async fn push_plugin_again(
        &self,
        name: PluginName,
        bytes: Vec<u8>,
        by: &Actor,
    ) -> Result<(PluginVersionView, bool), ControlError> {
        self.push(name, bytes, by, true).await
    }

    async fn push(
        &self,
        name: PluginName,
        bytes: Vec<u8>,
        by: &Actor,
        is_again: bool,
    ) -> Result<(PluginVersionView, bool), ControlError> {
        let (facts, bytes) = self.inspect(bytes).await?;
        let digest = facts.digest;
        let mut tried = None;
        if self.intent.load().version_with(&name, digest).is_none() {
            // Compiling may take minutes, which are better spent on what can be kept.
            check_versions(self.intent.load().versions_count())?;
            tried = Some(self.try_component(&name, digest, &bytes).await?);
        }
        let terms = MoveTerms {
            by,
            is_again,
            changed: &BTreeMap::new(),
        };
        let _change = self.begin_change().await;
        let intent = self.intent.load_full();
        let known = self.known_versions(&name).await?;
        // Somebody else may have pushed the same bytes meanwhile.
        if let Some(record) = known.with(digest) {
            if is_again {
                let moves = self.moves(&intent, record, &terms).await?;
                self.take_moves(record, moves, None).await?;
            }
            return Ok((self.version_view(&self.intent.load(), record), false));
        }
        check_versions(intent.versions_count())?;
        let plugin = match tried {
            Some(plugin) => plugin,
            // It was a version, and was deleted meanwhile.
            None => self.try_component(&name, digest, &bytes).await?,
        };
        self.reloader.keep(plugin);
        let record = known.next(name, facts, self.stamp(by));
        let moves = self.moves(&intent, &record, &terms).await?;
        self.take_moves(&record, moves, Some(bytes)).await?;
        Ok((self.version_view(&self.intent.load(), &record), true))
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
            let (facts, bytes) = self.inspect(plugin.bytes.to_vec()).await?;
            let known = self.known_versions(&name).await?;
            if let Some(record) = known.with(facts.digest).cloned() {
                if let Err(error) = self.mend_built_in(record, bytes).await {
                    // Rules that use it say so; no other one waits for it.
                    tracing::error!(plugin = plugin.name, %error, "whether a plugin of the host's own is whole in the store is not known");
                }
                continue;
            }
            // They are tested with the host; compiling them here would only delay the start. A newer host is never kept
            // from bringing its own, however many versions there are.
            let record = PluginRecord {
                is_built_in: true,
                ..known.next(name, facts, self.stamp(&Actor::host()))
            };
            self.write(move |tx| tx.put_plugin(&record, &bytes)).await?;
        }
        Ok(())
    }

    /// Stores a plugin of the host's own anew if it is damaged: nobody has its file to push it again.
    async fn mend_built_in(
        &self,
        record: PluginRecord,
        bytes: Arc<[u8]>,
    ) -> Result<(), ControlError> {
        let meta = Arc::clone(&self.meta);
        let stored = self
            .blocking(move || {
                let stored = meta.plugin_bytes(&record.digest);
                let stored = stored.map_err(|error| control_errors::store(&error))?;
                let is_whole = stored.is_some_and(|it| digest_of(&it) == record.digest);
                Ok((!is_whole).then_some(record))
            })
            .await?;
        if let Some(record) = stored {
            tracing::warn!(plugin = %record.name, version = record.version, "a plugin of the host's own is damaged in the store, and stored anew");
            self.write(move |tx| tx.put_plugin(&record, &bytes)).await?;
        }
        Ok(())
    }

    pub(super) async fn inspect(
        &self,
        bytes: impl AsRef<[u8]> + Into<Arc<[u8]>> + Send + 'static,
    ) -> Result<(PluginFacts, Arc<[u8]>), ControlError> {
        let runtime = Arc::clone(&self.runtime);
        self.blocking(move || {
            let facts = runtime
                .inspect(bytes.as_ref())
                .map_err(|error| control_errors::inspect(&error))?;
            Ok((facts, bytes.into()))
        })
        .await
    }

    /// Compiles a component, runs its own cases, and tries it with an empty configuration.
    async fn try_component(
        &self,
        name: &PluginName,
        digest: PluginDigest,
        bytes: &Arc<[u8]>,
    ) -> Result<Arc<CompiledPlugin>, ControlError> {
        let (runtime, reloader) = (Arc::clone(&self.runtime), Arc::clone(&self.reloader));
        let (name, bytes) = (name.clone(), Arc::clone(bytes));
        self.blocking(move || {
            let plugin = reloader.compile(digest, &bytes)?;
            runtime
                .run_own_cases(&plugin)
                .map_err(|error| control_errors::own_case(&name, &error))?;
            let mapping = without_config(&name, VersionSelector::Latest);
            or_refused(reloader.try_out(&name, &plugin, &mapping))?;
            Ok(plugin)
        })
        .await
    }

    /// What the store knows of the plugin `name`. Whoever numbers a version by it has the turn of a change.
    pub(super) async fn known_versions(
        &self,
        name: &PluginName,
    ) -> Result<KnownVersions, ControlError> {
        let (meta, name) = (Arc::clone(&self.meta), name.clone());
        self.blocking(move || {
            let failed = |error| control_errors::store(&error);
            let deleted = meta.setting(&last_version_key(&name)).map_err(failed)?;
            Ok(KnownVersions {
                records: meta.plugin_versions(&name).map_err(failed)?,
                last_deleted: deleted.and_then(|number| number.parse().ok()),
            })
        })
        .await
    }

    /// What `record` becomes for the rules that follow `latest`: active for each whose canary passes. A version that
    /// a rule went back from stays withdrawn for it, also if the same bytes come as another number.
    ///
    /// # Errors
    ///
    /// When the host is too busy for a canary, or cannot compile: nothing is known of the version then, so the push as
    /// a whole is to be tried again.
    pub(super) async fn moves(
        &self,
        intent: &Intent,
        record: &PluginRecord,
        terms: &MoveTerms<'_>,
    ) -> Result<Moves, ControlError> {
        let mut moves = Moves {
            version: record.version,
            active: Vec::new(),
            rejected: Vec::new(),
            refusals: Vec::new(),
            withdrawn: Vec::new(),
        };
        for (rule, mapping) in terms.followers(intent, record) {
            let rule_id = rule.draft.rule_id.clone();
            let old = intent.generations.get(&rule_id);
            let is_withdrawn = old.is_some_and(|old| old.withdrawal(&record.digest).is_some());
            if is_withdrawn && !terms.is_again {
                moves.withdrawn.push(rule_id);
                continue;
            }
            if !is_withdrawn && old.is_some_and(|old| old.active.version >= record.version) {
                continue;
            }
            let stamp = self.stamp(terms.by);
            let (reloader, candidate) = (Arc::clone(&self.reloader), record.clone());
            let (id, mapping) = (rule_id.clone(), mapping.clone());
            let canary = self.blocking(move || {
                let loaded = if is_withdrawn {
                    reloader.load_anew(&id, &candidate, &mapping)
                } else {
                    reloader.load(Some(&id), &candidate, &mapping)
                };
                loaded.map(drop)
            });
            let canary = canary.await;
            match canary {
                Ok(()) => {
                    let active = self.rule_set.incarnation(rule.incarnation);
                    let loaded = active.as_ref().and_then(|it| it.mapper.as_ref().ok());
                    let track = loaded.map(|loaded| &*loaded.track);
                    let next = generations::activated(old, &rule_id, record, track, &stamp);
                    moves.active.push(next);
                }
                Err(error) if error.is_of_host() => return Err(error),
                Err(error) => {
                    let next =
                        old.map(|old| generations::rejected(old, record, &error.message, &stamp));
                    moves.rejected.extend(next);
                    moves.refusals.push((rule_id, error));
                }
            }
        }
        Ok(moves)
    }

    /// Stores the moves, with the version itself if it is new, in one transaction, and makes them true.
    async fn take_moves(
        &self,
        record: &PluginRecord,
        moves: Moves,
        bytes: Option<Arc<[u8]>>,
    ) -> Result<(), ControlError> {
        let moves = Arc::new(moves);
        let (stored, written) = (record.clone(), Arc::clone(&moves));
        self.write(move |tx| {
            if let Some(bytes) = &bytes {
                tx.put_plugin(&stored, bytes)?;
                fail_point::reached(FailPoint::Push);
            }
            written.write(tx)
        })
        .await?;
        fail_point::reached(FailPoint::Push);
        self.tell_refusals(&moves);
        self.reload().await
    }

    /// Counts and logs which rules keep their version.
    pub(super) fn tell_refusals(&self, moves: &Moves) {
        for (rule_id, error) in &moves.refusals {
            self.metrics.swapped("canary_failed");
            let (version, error) = (moves.version, error.brief());
            tracing::warn!(%rule_id, version, error, "new plugin version failed the rule's canary, the rule keeps its version");
        }
    }
}

/// Whether there may be one more than `count` versions of all plugins.
pub(super) fn check_versions(count: usize) -> Result<(), ControlError> {
    if count < VERSIONS_MAX {
        return Ok(());
    }
    let message = format!(
        "there are {VERSIONS_MAX} plugin versions, as many as there may be; delete some that no rule uses: `rulemill plugin delete NAME --plugin-version N`"
    );
    Err(ControlError::new(ControlCode::TooManyVersions, message))
}

/// The mapping of a rule that leaves everything to the plugin.
pub(super) fn without_config(plugin: &PluginName, version: VersionSelector) -> Mapped {
    Mapped {
        plugin: plugin.clone(),
        version,
        config: "{}".to_owned(),
        limits: MappingLimits::default(),
        on_fault: domain::OnFault::DeadLetter,
        on_reject: domain::OnReject::DeadLetter,
    }
}
