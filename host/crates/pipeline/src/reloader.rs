//! Stored intent → snapshot. Start and change are the same code: a complete [`RuleSet`] is built,
//! then swapped in. What cannot be loaded leaves its rule without a mapper: it records and waits.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Mapped, MappingLimits, OnFault, PluginDigest, PluginName, RuleId, VersionSelector};
use parking_lot::Mutex;
use plugin_runtime::{CompiledPlugin, Mapper, MapperSpec, PluginRuntime};
use store::{IncarnationRecord, MetaStore, PluginRecord};

use crate::control_error::{ControlCode, ControlError};
use crate::control_errors;
use crate::intent::Intent;
use crate::rule_set::{ActiveIncarnation, LoadedMapper, RuleSet};

/// The plugin of [`OnFault::Default`].
const BUILT_IN_MAPPING: &str = "apsaramq-status";

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
    compiled: Mutex<HashMap<PluginDigest, Arc<CompiledPlugin>>>,
    mappers: Mutex<HashMap<MapperKey, Arc<Mapper>>>,
}

impl Reloader {
    pub(crate) fn new(meta: Arc<MetaStore>, runtime: Arc<PluginRuntime>) -> Self {
        Self {
            meta,
            runtime,
            compiled: Mutex::default(),
            mappers: Mutex::default(),
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

    /// Makes the mapper of one rule's mapping: compile, link, try out. Blocks.
    pub(crate) fn load(
        &self,
        rule_id: Option<&RuleId>,
        record: &PluginRecord,
        mapping: &Mapped,
    ) -> Result<LoadedMapper, ControlError> {
        let key = MapperKey {
            rule_id: rule_id.cloned(),
            digest: record.digest,
            config: mapping.config.clone(),
            limits: mapping.limits,
        };
        let loaded = |mapper| LoadedMapper {
            mapper,
            version: record.version,
            digest: record.digest,
        };
        if let Some(mapper) = self.mappers.lock().get(&key) {
            return Ok(loaded(Arc::clone(mapper)));
        }
        let missing = || {
            let message = format!(
                "the bytes of plugin {} version {} are not in the store",
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
            samples: Vec::new(),
        };
        let prepared = self.runtime.prepare(&compiled, spec);
        let mapper = prepared.map_err(|error| control_errors::prepare(&record.name, &error))?;
        self.mappers.lock().insert(key, Arc::clone(&mapper));
        Ok(loaded(mapper))
    }

    /// Builds the snapshot of `intent`. Blocks while plugins that are new in it are compiled.
    pub(crate) fn build(&self, intent: &Intent, previous: &RuleSet) -> RuleSet {
        let mut next = RuleSet::default();
        for record in intent.incarnations.values() {
            let active = self.active(intent, record, previous);
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
        let record = intent.version(mapping, resolved).ok_or_else(|| {
            let message = format!(
                "there is no plugin {} version {}",
                mapping.plugin, mapping.version
            );
            ControlError::new(ControlCode::UnknownPlugin, message)
        })?;
        self.load(Some(rule_id), record, mapping)
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
            Some(record) => self.load(Some(rule_id), record, &mapping),
            None => self.find(intent, rule_id, &mapping, None),
        }
    }

    fn forget_unused(&self, next: &RuleSet) {
        let used: Vec<_> = next
            .incarnations
            .values()
            .flat_map(|it| it.mapper.as_ref().ok().into_iter().chain(&it.fallback))
            .map(|loaded| (loaded.digest, Arc::as_ptr(&loaded.mapper)))
            .collect();
        self.mappers
            .lock()
            .retain(|_, mapper| used.iter().any(|(_, it)| *it == Arc::as_ptr(mapper)));
        self.compiled
            .lock()
            .retain(|digest, _| used.iter().any(|(it, _)| it == digest));
    }
}
