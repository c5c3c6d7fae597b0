//! The immutable snapshot that everyone reads: which rule matches, what maps, where to.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use domain::{GroupId, IncarnationId, Mapped, Ordering, PluginDigest, RuleId};
use plugin_runtime::Mapper;
use tokio::sync::watch;

use crate::track_record::TrackRecord;

/// One generation: a version of a plugin that is ready to map for one rule.
#[derive(Clone, Debug)]
pub(crate) struct LoadedMapper {
    pub(crate) mapper: Arc<Mapper>,
    pub(crate) version: u32,
    pub(crate) digest: PluginDigest,
    /// How it does.
    pub(crate) track: Arc<TrackRecord>,
}

/// One incarnation as couriers see it.
#[derive(Clone, Debug)]
pub(crate) struct ActiveIncarnation {
    pub(crate) rule_id: RuleId,
    pub(crate) revision: u64,
    pub(crate) mapping: Mapped,
    /// When a queue of its destination cannot store.
    pub(crate) ordering: Ordering,
    /// Why there is no mapper, if there is none: then the courier waits.
    pub(crate) mapper: Result<LoadedMapper, String>,
    /// Earlier generations, kept ready: they are asked before an event counts as one that no version
    /// can map. Two at most.
    pub(crate) earlier: Vec<LoadedMapper>,
    /// Versions that should be loaded and are not yet: at the start the earlier ones, later those that the host was too
    /// busy to try or could not compile. A later snapshot has them, so until then no fault is a reason to give an event up.
    pub(crate) awaited: Vec<PluginDigest>,
    /// The built-in mapping, if the rule wants it after a fault.
    pub(crate) fallback: Option<LoadedMapper>,
    /// Counts the mappers that it has had since start.
    pub(crate) generation: u64,
    /// It drains: what it maps with is as it was, whatever its rule became.
    pub(crate) is_retired: bool,
    /// What is queued is dropped and counted.
    pub(crate) is_discarding: bool,
    /// Earlier incarnations of the rule that may still own events: all of them have one share of the
    /// outbox. In ascending order.
    pub(crate) predecessors: Arc<[IncarnationId]>,
}

/// Rules, mappers and destinations at one moment.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    /// Enabled rules only.
    pub(crate) by_group: HashMap<GroupId, IncarnationId>,
    /// Also those of disabled and deleted rules that still drain.
    pub(crate) incarnations: HashMap<IncarnationId, Arc<ActiveIncarnation>>,
}

/// Where the current snapshot is found, and how to hear of the next one.
#[derive(Debug)]
pub(crate) struct RuleSetCell {
    current: ArcSwap<RuleSet>,
    changed: watch::Sender<u64>,
}

impl RuleSetCell {
    pub(crate) fn new() -> Self {
        Self {
            current: ArcSwap::default(),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn load(&self) -> Arc<RuleSet> {
        self.current.load_full()
    }

    /// The incarnation that records the events of `group`, and its predecessors.
    pub(crate) fn matching(
        &self,
        group: &GroupId,
    ) -> Option<(IncarnationId, Arc<[IncarnationId]>)> {
        let rules = self.current.load();
        let incarnation = *rules.by_group.get(group)?;
        let active = rules.incarnations.get(&incarnation)?;
        Some((incarnation, Arc::clone(&active.predecessors)))
    }

    pub(crate) fn incarnation(&self, id: IncarnationId) -> Option<Arc<ActiveIncarnation>> {
        self.current.load().incarnations.get(&id).cloned()
    }

    /// Makes `next` the snapshot. Couriers see it at their next batch.
    pub(crate) fn swap(&self, next: RuleSet) {
        self.current.store(Arc::new(next));
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
