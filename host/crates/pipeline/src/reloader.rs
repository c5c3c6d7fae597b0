//! Stored intent → snapshot. Start and change are the same code: a complete [`RuleSet`] is built,
//! then swapped in. What cannot be loaded leaves its rule without a mapper: it records and waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::{
    Mapped, MappingLimits, OnFault, PluginDigest, PluginName, RuleId, StatusEvent, VersionSelector,
};
use parking_lot::Mutex;
use plugin_runtime::{CompiledPlugin, Mapper, MapperSpec, PluginRuntime};
use store::{IncarnationRecord, MetaStore, PluginRecord};

use crate::control_error::{ControlCode, ControlError};
use crate::control_errors;
use crate::generations;
use crate::intent::Intent;
use crate::rule_set::{ActiveIncarnation, LoadedMapper, RuleSet};
use crate::samples::{SAMPLES_MAX, Sample, Samples};
use crate::track_record::TrackRecord;

/// The plugin of [`OnFault::Default`].
const BUILT_IN_MAPPING: &str = "apsaramq-status";
/// Real events that a canary maps: of the rule's last ones, those on which its plugin did not fail.
const CANARY_SAMPLES_MAX: usize = 16;
/// Mappings of earlier versions that did not load, remembered so that they are not tried at each
/// change. At the limit all are forgotten.
const UNUSABLE_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MapperKey {
    /// Each rule has instances and a queue of its own: what one does to them, no other feels. `None`:
    /// the plugin is only tried.
    rule_id: Option<RuleId>,
    digest: PluginDigest,
    config: String,
    limits: MappingLimits,
}

/// Makes mappers, and keeps those that the present snapshot uses, so that an unrelated change
/// swaps nothing.
#[derive(Debug)]
pub(crate) struct Reloader {
    meta: Arc<MetaStore>,
    runtime: Arc<PluginRuntime>,
    samples: Arc<Samples>,
    compiled: Mutex<HashMap<PluginDigest, Arc<CompiledPlugin>>>,
    mappers: Mutex<HashMap<MapperKey, Kept>>,
    /// Earlier versions that do not take the rule's present mapping.
    unusable: Mutex<HashSet<MapperKey>>,
}

#[derive(Clone, Debug)]
struct Kept {
    mapper: Arc<Mapper>,
    track: Arc<TrackRecord>,
}

/// Whether earlier generations are made ready in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// They are.
    Ready,
    /// Not yet: at the start only what is needed for the first event is loaded.
    Later,
}

impl Reloader {
    pub(crate) fn new(
        meta: Arc<MetaStore>,
        runtime: Arc<PluginRuntime>,
        samples: Arc<Samples>,
    ) -> Self {
        Self {
            meta,
            runtime,
            samples,
            compiled: Mutex::default(),
            mappers: Mutex::default(),
            unusable: Mutex::default(),
        }
    }

    /// Compiles bytes that are not stored yet. Blocks for as long as the compiler takes.
    pub(crate) fn compile(
        &self,
        digest: PluginDigest,
        bytes: &[u8],
    ) -> Result<Arc<CompiledPlugin>, ControlError> {
        if let Some(compiled) = self.compiled.lock().get(&digest) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = self
            .runtime
            .compile(bytes)
            .map_err(|error| control_errors::compile(&error))?;
        if compiled.facts().digest != digest {
            let message =
                format!("the stored component {digest} is damaged; push the plugin again");
            return Err(ControlError::new(ControlCode::StoreFailed, message));
        }
        self.compiled.lock().insert(digest, Arc::clone(&compiled));
        Ok(compiled)
    }

    /// Keeps a plugin until the next snapshot: one that is in no snapshot may have been forgotten
    /// since it was compiled.
    pub(crate) fn keep(&self, plugin: Arc<CompiledPlugin>) {
        let digest = plugin.facts().digest;
        self.compiled.lock().insert(digest, plugin);
    }

    /// Tries a plugin out with made-up events and keeps nothing of it. Blocks.
    pub(crate) fn try_out(
        &self,
        name: &PluginName,
        plugin: &Arc<CompiledPlugin>,
        mapping: &Mapped,
    ) -> Result<(), ControlError> {
        let spec = MapperSpec {
            config: mapping.config.clone(),
            limits: mapping.limits,
            samples: Vec::new(),
        };
        let prepared = self.runtime.prepare(plugin, spec);
        prepared
            .map(drop)
            .map_err(|error| control_errors::prepare(name, &error))
    }

    /// Makes the mapper of one rule's mapping: compile, link, try out with made-up events and with
    /// the rule's last ones. Blocks.
    pub(crate) fn load(
        &self,
        rule_id: Option<&RuleId>,
        record: &PluginRecord,
        mapping: &Mapped,
    ) -> Result<LoadedMapper, ControlError> {
        let last = rule_id.map(|id| self.samples.last(id, SAMPLES_MAX));
        // What the present plugin fails on, too, is no reason to refuse another.
        let is_sound = |sample: &Sample| sample.fault.is_none();
        let samples = last.into_iter().flatten().filter(is_sound);
        let samples = samples.take(CANARY_SAMPLES_MAX).map(|it| it.event);
        self.make(rule_id, record, mapping, samples.collect())
    }

    /// The same without the rule's last events: for a version that mapped for the rule before.
    pub(crate) fn ready(
        &self,
        rule_id: &RuleId,
        record: &PluginRecord,
        mapping: &Mapped,
    ) -> Result<LoadedMapper, ControlError> {
        self.make(Some(rule_id), record, mapping, Vec::new())
    }

    fn make(
        &self,
        rule_id: Option<&RuleId>,
        record: &PluginRecord,
        mapping: &Mapped,
        samples: Vec<Arc<StatusEvent>>,
    ) -> Result<LoadedMapper, ControlError> {
        let key = MapperKey {
            rule_id: rule_id.cloned(),
            digest: record.digest,
            config: mapping.config.clone(),
            limits: mapping.limits,
        };
        let loaded = |kept: Kept| LoadedMapper {
            mapper: kept.mapper,
            track: kept.track,
            version: record.version,
            digest: record.digest,
        };
        if let Some(kept) = self.mappers.lock().get(&key) {
            return Ok(loaded(kept.clone()));
        }
        let missing = || {
            let message = format!(
                "the bytes of plugin {} version {} are not in the store; push them again",
                record.name, record.version
            );
            ControlError::new(ControlCode::StoreFailed, message)
        };
        let is_compiled = self.compiled.lock().contains_key(&record.digest);
        let bytes = if is_compiled {
            Vec::new()
        } else {
            let read = self.meta.plugin_bytes(&record.digest);
            read.map_err(|error| control_errors::store(&error))?
                .ok_or_else(missing)?
        };
        let compiled = self.compile(record.digest, &bytes)?;
        let spec = MapperSpec {
            config: mapping.config.clone(),
            limits: mapping.limits,
            samples,
        };
        let prepared = self.runtime.prepare(&compiled, spec);
        let mapper = prepared.map_err(|error| control_errors::prepare(&record.name, &error))?;
        let kept = Kept {
            mapper,
            track: Arc::default(),
        };
        self.mappers.lock().insert(key, kept.clone());
        Ok(loaded(kept))
    }

    /// Builds the snapshot of `intent`. Blocks while plugins that are new in it are compiled.
    pub(crate) fn build(&self, intent: &Intent, previous: &RuleSet, earlier: Earlier) -> RuleSet {
        let mut next = RuleSet::default();
        for record in intent.incarnations.values() {
            let mut active = self.active(intent, record, previous);
            if earlier == Earlier::Ready {
                active.earlier = self.earlier(intent, &active);
            }
            next.incarnations.insert(record.id, Arc::new(active));
        }
        for rule in intent.rules.values().filter(|rule| rule.draft.enabled) {
            next.by_group
                .insert(rule.draft.group_id.clone(), rule.incarnation);
        }
        self.forget_unused(&next);
        next
    }

    fn active(
        &self,
        intent: &Intent,
        record: &IncarnationRecord,
        previous: &RuleSet,
    ) -> ActiveIncarnation {
        // A retired incarnation keeps the mapping it had; the present one follows its rule.
        let rule = intent
            .rules
            .get(&record.rule_id)
            .filter(|rule| rule.incarnation == record.id);
        let (mapping, revision) = match rule {
            Some(rule) => (rule.draft.mapping.clone(), rule.revision),
            None => (record.mapping.clone(), record.revision),
        };
        // Of its destination, so it is the rule's: an operator who wants what is queued to move says so.
        let ordering = intent
            .rules
            .get(&record.rule_id)
            .map_or(record.ordering, |it| it.draft.ordering);
        let resolved = intent.resolved.get(&record.rule_id).copied();
        let mapper = self
            .find(intent, &record.rule_id, &mapping, resolved)
            .map_err(|error| error.message);
        let fallback = (mapping.on_fault == OnFault::Default)
            .then(|| self.built_in(intent, &record.rule_id).ok())
            .flatten();
        let before = previous.incarnations.get(&record.id);
        let is_same = before.is_some_and(|before| match (&before.mapper, &mapper) {
            (Ok(old), Ok(new)) => Arc::ptr_eq(&old.mapper, &new.mapper),
            (Err(_), Err(_)) => true,
            _ => false,
        });
        let generation = before.map_or(0, |it| it.generation) + u64::from(!is_same);
        ActiveIncarnation {
            rule_id: record.rule_id.clone(),
            revision,
            mapping,
            ordering,
            mapper,
            earlier: Vec::new(),
            fallback,
            generation,
            is_discarding: record.is_discarding,
        }
    }

    fn find(
        &self,
        intent: &Intent,
        rule_id: &RuleId,
        mapping: &Mapped,
        resolved: Option<u32>,
    ) -> Result<LoadedMapper, ControlError> {
        let record = intent.version(rule_id, mapping, resolved).ok_or_else(|| {
            let message = format!(
                "there is no plugin {} version {}, or it is withdrawn for this rule; push one that works",
                mapping.plugin, mapping.version
            );
            ControlError::new(ControlCode::UnknownPlugin, message)
        })?;
        self.ready(rule_id, record, mapping)
    }

    /// The earlier versions that still take the rule's mapping.
    fn earlier(&self, intent: &Intent, active: &ActiveIncarnation) -> Vec<LoadedMapper> {
        let (rule_id, mapping) = (&active.rule_id, &active.mapping);
        let Some(record) = intent.generations.get(rule_id) else {
            return Vec::new();
        };
        let Ok(present) = &active.mapper else {
            // A rule without its plugin waits; it does not go on with another one.
            return Vec::new();
        };
        if record.plugin != mapping.plugin {
            return Vec::new();
        }
        let versions = intent.plugins.get(&record.plugin);
        let stored = |digest: PluginDigest| versions?.iter().find(|it| it.digest == digest);
        let ready = generations::ready(record).into_iter();
        let ready = ready.filter(|it| it.digest != present.digest);
        let records = ready.filter_map(|it| stored(it.digest));
        records
            .filter_map(|version| self.usable(rule_id, version, mapping))
            .collect()
    }

    fn usable(
        &self,
        rule_id: &RuleId,
        record: &PluginRecord,
        mapping: &Mapped,
    ) -> Option<LoadedMapper> {
        let key = MapperKey {
            rule_id: Some(rule_id.clone()),
            digest: record.digest,
            config: mapping.config.clone(),
            limits: mapping.limits,
        };
        if self.unusable.lock().contains(&key) {
            return None;
        }
        match self.ready(rule_id, record, mapping) {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                tracing::info!(%rule_id, version = record.version, error = %error, "an earlier plugin version does not take the rule's mapping, it cannot stand in");
                let mut unusable = self.unusable.lock();
                if unusable.len() >= UNUSABLE_MAX {
                    unusable.clear();
                }
                unusable.insert(key);
                None
            }
        }
    }

    fn built_in(&self, intent: &Intent, rule_id: &RuleId) -> Result<LoadedMapper, ControlError> {
        let plugin = PluginName::parse(BUILT_IN_MAPPING).map_err(|error| {
            ControlError::new(ControlCode::InvalidPluginName, error.to_string())
        })?;
        let record = intent
            .plugins
            .get(&plugin)
            .and_then(|versions| versions.iter().rfind(|record| record.is_built_in));
        let mapping = Mapped {
            plugin,
            version: VersionSelector::Latest,
            config: "{}".to_owned(),
            limits: MappingLimits::default(),
            on_fault: OnFault::DeadLetter,
            on_reject: domain::OnReject::DeadLetter,
        };
        match record {
            Some(record) => self.ready(rule_id, record, &mapping),
            None => self.find(intent, rule_id, &mapping, None),
        }
    }

    fn forget_unused(&self, next: &RuleSet) {
        let used: Vec<_> = next
            .incarnations
            .values()
            .flat_map(|it| {
                let present = it.mapper.as_ref().ok().into_iter();
                present.chain(&it.fallback).chain(&it.earlier)
            })
            .map(|loaded| (loaded.digest, Arc::as_ptr(&loaded.mapper)))
            .collect();
        self.mappers
            .lock()
            .retain(|_, kept| used.iter().any(|(_, it)| *it == Arc::as_ptr(&kept.mapper)));
        self.compiled
            .lock()
            .retain(|digest, _| used.iter().any(|(it, _)| it == digest));
    }
}
