//! Stored intent → snapshot. Start and change are the same code: a complete [`RuleSet`] is built,
//! then swapped in. What cannot be loaded leaves its rule without a mapper: it records and waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::{
    IncarnationId, Mapped, MappingLimits, OnFault, PluginDigest, PluginName, RuleId, StatusEvent,
    VersionSelector,
};
use parking_lot::Mutex;
use plugin_runtime::{CompiledPlugin, Mapper, MapperSpec, PluginRuntime, digest_of};
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

impl MapperKey {
    fn new(rule_id: Option<&RuleId>, record: &PluginRecord, mapping: &Mapped) -> Self {
        Self {
            rule_id: rule_id.cloned(),
            digest: record.digest,
            config: mapping.config.clone(),
            limits: mapping.limits,
        }
    }
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
    /// Not yet, they are awaited: at the start only what is needed for the first event is loaded.
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

    /// Compiles bytes, unless the present snapshot has them. What is new is the caller's alone, see
    /// [`Reloader::keep`]. Blocks for as long as the compiler takes.
    pub(crate) fn compile(
        &self,
        digest: PluginDigest,
        bytes: &[u8],
    ) -> Result<Arc<CompiledPlugin>, ControlError> {
        if let Some(compiled) = self.compiled.lock().get(&digest) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = self.runtime.compile(bytes);
        compiled.map_err(|error| control_errors::compile(&error))
    }

    /// Keeps a plugin until the end of the change under way, and for longer if the snapshot then has it.
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

    /// The same for a version that the rule went back from: what was known of it, and that another one maps in its place,
    /// is over. Blocks.
    pub(crate) fn load_anew(
        &self,
        rule_id: &RuleId,
        record: &PluginRecord,
        mapping: &Mapped,
    ) -> Result<LoadedMapper, ControlError> {
        let key = MapperKey::new(Some(rule_id), record, mapping);
        let before = self.mappers.lock().remove(&key);
        let loaded = self.load(Some(rule_id), record, mapping);
        if let (Err(_), Some(before)) = (&loaded, before) {
            // What still drains goes on with it.
            self.mappers.lock().insert(key, before);
        }
        loaded
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
        let key = MapperKey::new(rule_id, record, mapping);
        let loaded = |kept: Kept| LoadedMapper {
            mapper: kept.mapper,
            track: kept.track,
            version: record.version,
            digest: record.digest,
        };
        if let Some(kept) = self.mappers.lock().get(&key) {
            return Ok(loaded(kept.clone()));
        }
        let compiled = self.compiled_of(record)?;
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

    /// The compiled code of a stored version, kept for the present snapshot.
    fn compiled_of(&self, record: &PluginRecord) -> Result<Arc<CompiledPlugin>, ControlError> {
        let compiled = self.stored(record)?;
        self.keep(Arc::clone(&compiled));
        Ok(compiled)
    }

    /// The compiled code of a stored version, or of one that is kept. Blocks for as long as the compiler takes.
    pub(crate) fn stored(
        &self,
        record: &PluginRecord,
    ) -> Result<Arc<CompiledPlugin>, ControlError> {
        if let Some(compiled) = self.compiled.lock().get(&record.digest) {
            return Ok(Arc::clone(compiled));
        }
        let read = self.meta.plugin_bytes(&record.digest);
        let bytes = read.map_err(|error| control_errors::store(&error))?;
        let lost = |what: &str| {
            let remedy = if record.is_built_in {
                "start the host again, which stores anew what comes with it, or let the rule have the version that this host brings"
            } else {
                "push the same file under a name that no plugin has, which stores it anew for all that have it: rulemill plugin \
                 push FILE --name OTHER"
            };
            let message = format!(
                "the stored component of plugin {} version {} is {what}; {remedy}",
                record.name, record.version
            );
            ControlError::new(ControlCode::StoreFailed, message)
        };
        let bytes = bytes.ok_or_else(|| lost("not there"))?;
        // Before anything else can be said of it.
        if digest_of(&bytes) != record.digest {
            return Err(lost("damaged"));
        }
        self.compile(record.digest, &bytes)
    }

    /// Builds the snapshot of `intent`. Blocks while plugins that are new in it are compiled.
    pub(crate) fn build(&self, intent: &Intent, previous: &RuleSet, earlier: Earlier) -> RuleSet {
        let mut next = RuleSet::default();
        let mut before: HashMap<&RuleId, Vec<IncarnationId>> = HashMap::new();
        // In ascending order: what comes first is the predecessor of what comes later.
        for record in intent.incarnations.values() {
            let mut active = self.active(intent, record, previous);
            let predecessors = before.entry(&record.rule_id).or_default();
            active.predecessors = Arc::from(predecessors.as_slice());
            predecessors.push(record.id);
            self.add_earlier(intent, &mut active, earlier);
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
        let mut awaited = Vec::new();
        let version = intent.version(&record.rule_id, &mapping, resolved);
        let mapper = version
            .ok_or_else(|| missing(&mapping))
            .and_then(|version| {
                self.ready_or_awaited(&record.rule_id, version, &mapping, &mut awaited)
            });
        let mapper = mapper.map_err(|error| error.message);
        let fallback = (mapping.on_fault == OnFault::Default)
            .then(|| self.built_in(intent, &record.rule_id, &mut awaited).ok())
            .flatten();
        let before = previous.incarnations.get(&record.id);
        let is_same = before.is_some_and(|before| match (&before.mapper, &mapper) {
            (Ok(old), Ok(new)) => Arc::ptr_eq(&old.mapper, &new.mapper),
            (Err(_), Err(_)) => true,
            _ => false,
        });
        if let (false, Some(_), Some(rule), Ok(next)) = (is_same, before, rule, &mapper)
            && rule.draft.enabled
        {
            // A swap: its first events come at once.
            self.runtime.warm_up(&next.mapper);
        }
        let generation = before.map_or(0, |it| it.generation) + u64::from(!is_same);
        ActiveIncarnation {
            rule_id: record.rule_id.clone(),
            revision,
            mapping,
            ordering,
            mapper,
            earlier: Vec::new(),
            awaited,
            fallback,
            generation,
            is_retired: record.is_retired,
            is_discarding: record.is_discarding,
            predecessors: Arc::default(),
        }
    }

    /// As [`Reloader::ready`]; a version that only the host keeps away is noted in `awaited`: it is too busy, or could
    /// not run its compiler.
    fn ready_or_awaited(
        &self,
        rule_id: &RuleId,
        record: &PluginRecord,
        mapping: &Mapped,
        awaited: &mut Vec<PluginDigest>,
    ) -> Result<LoadedMapper, ControlError> {
        let loaded = self.ready(rule_id, record, mapping);
        if matches!(&loaded, Err(error) if error.is_of_host()) {
            awaited.push(record.digest);
        }
        loaded
    }

    /// Adds the earlier versions that still take the rule's mapping.
    fn add_earlier(&self, intent: &Intent, active: &mut ActiveIncarnation, when: Earlier) {
        let (rule_id, mapping) = (active.rule_id.clone(), active.mapping.clone());
        for version in self.candidates(intent, active) {
            match when {
                Earlier::Later => active.awaited.push(version.digest),
                Earlier::Ready => {
                    let loaded = self.usable(&rule_id, version, &mapping, &mut active.awaited);
                    active.earlier.extend(loaded);
                }
            }
        }
    }

    /// The earlier versions that may still take the rule's mapping; for what drains with a version that the rule has
    /// left, also the one that the rule has.
    fn candidates<'a>(
        &self,
        intent: &'a Intent,
        active: &ActiveIncarnation,
    ) -> Vec<&'a PluginRecord> {
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
        let unusable = self.unusable.lock();
        let ways = generations::ready(record)
            .into_iter()
            .chain([record.active]);
        let others = ways.filter(|it| it.digest != present.digest);
        let records = others.filter_map(|it| intent.version_with(&record.plugin, it.digest));
        records
            .filter(|version| !unusable.contains(&MapperKey::new(Some(rule_id), version, mapping)))
            .collect()
    }

    fn usable(
        &self,
        rule_id: &RuleId,
        record: &PluginRecord,
        mapping: &Mapped,
        awaited: &mut Vec<PluginDigest>,
    ) -> Option<LoadedMapper> {
        let version = record.version;
        match self.ready_or_awaited(rule_id, record, mapping, awaited) {
            Ok(loaded) => return Some(loaded),
            Err(error) if error.is_of_host() => {
                tracing::info!(%rule_id, version, error = %error, "an earlier plugin version could not be tried, it is tried again");
            }
            Err(error) => {
                // It is not looked at again: what the store cannot read is not read at every change of a rule.
                if error.code == ControlCode::StoreFailed {
                    tracing::warn!(%rule_id, version, error = %error, "an earlier plugin version could not be loaded, it cannot stand in until that is mended and the host was started again");
                } else {
                    tracing::info!(%rule_id, version, error = %error, "an earlier plugin version does not take the rule's mapping, it cannot stand in");
                }
                let mut unusable = self.unusable.lock();
                if unusable.len() >= UNUSABLE_MAX {
                    unusable.clear();
                }
                unusable.insert(MapperKey::new(Some(rule_id), record, mapping));
            }
        }
        None
    }

    fn built_in(
        &self,
        intent: &Intent,
        rule_id: &RuleId,
        awaited: &mut Vec<PluginDigest>,
    ) -> Result<LoadedMapper, ControlError> {
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
        let record = record.or_else(|| intent.version(rule_id, &mapping, None));
        let record = record.ok_or_else(|| missing(&mapping))?;
        self.ready_or_awaited(rule_id, record, &mapping, awaited)
    }

    /// Forgets what `next` does not have. While a change is under way, that is also what it has loaded so far.
    pub(crate) fn forget_unused(&self, next: &RuleSet) {
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
        // What is tried again soon is not compiled again for it.
        let all = next.incarnations.values();
        let awaited: HashSet<_> = all.flat_map(|it| it.awaited.iter().copied()).collect();
        self.compiled.lock().retain(|digest, _| {
            used.iter().any(|(it, _)| it == digest) || awaited.contains(digest)
        });
    }

    /// How many plugins and mappers are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (usize, usize) {
        (self.compiled.lock().len(), self.mappers.lock().len())
    }
}

fn missing(mapping: &Mapped) -> ControlError {
    let message = format!(
        "there is no plugin {} version {}, or it is withdrawn for this rule; push one that works",
        mapping.plugin, mapping.version
    );
    ControlError::new(ControlCode::UnknownPlugin, message)
}
