//! The control side: changes of rules, plugins and groups, one at a time.
//!
//! A change is checked completely, then stored in one transaction, then swapped in. What fails
//! before the transaction changes nothing.

mod access;
mod apply;
mod change;
mod checking;
mod clearing;
mod dead_letters;
mod dry_run;
mod groups;
mod history;
mod instances;
mod plugin_versions;
mod plugins;
mod probing;
mod pushing;
mod queues;
mod reconciling;
mod rolling_back;
mod rules;
mod staging;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::{Clock, InstanceId, RuleId};
use plugin_runtime::PluginRuntime;
use store::{IncarnationRecord, MetaStore, Outbox};
use tokio::sync::{Mutex, mpsc};

pub use self::access::{
    AccessControl, AccessKeyView, AuditCounts, AuditEntry, AuditFilter, AuditPage, NewAuditEntry,
    NewToken, Role, TokenHash, TokenUse, TokenView, UserView,
};
pub use crate::control_error::{ControlCode, ControlError, ControlErrorKind};
pub use crate::health::Health;
pub use crate::live::{LiveEvent, LiveEvents};
pub use crate::plugin_folder::{FolderOutcome, FolderProblemView, PluginFolderView};
pub use crate::samples::{SAMPLES_MAX, Sample, SampleOutcome, SampledMessage};
pub use crate::view::{
    DrainingStatus, EventCounts, GroupView, MapperView, OutboxView, PipelineStatus,
    PluginVersionView, Readiness, RuleState, RuleStatus, RuleView,
};
pub use apply::{
    ApplyError, ApplyPlan, ApplyProblem, ApplyScope, Declaration, DeclaredRule, PlannedChange,
};
pub use dead_letters::{ChosenDeadLetters, DeadLetterPage, Replayed, SkippedDeadLetter};
pub use dry_run::{DryRun, DryRunEvent, DryRunOutcome};
pub use plugin_runtime::{EventIn, GuestLine, ReadEventError};
pub use plugin_versions::RuleActivation;
pub use probing::{ProbeStep, ProbeStepName, TopicProbe};
#[cfg(test)]
pub(crate) use pushing::VERSIONS_MAX;
pub use rolling_back::{KeptRule, PluginRollback, RolledBackRule};
pub use rules::{EditTerms, PendingEvents, data_rule_held};
pub(crate) use status::{Baseline, UNKNOWN_REMEDY};
pub use store::{AccessKeyUse, AuditOutcome};
pub use store::{
    Activation, ActivationOutcome, Burial, ChangeKind, DeadLetter, DeadLetterFilter,
    DeadLetterReason, REVISIONS_MAX, RevisionRecord, WithdrawnVersion,
};

use crate::clock_watch::ClockWatch;
use crate::components::StagedComponents;
use crate::config::{DeliveryConfig, InstanceConfig, OutboxLimits};
use crate::control_errors;
use crate::courier::{CourierContext, Timings};
use crate::couriers::Couriers;
use crate::feed::Feeds;
use crate::groups::Groups;
use crate::health::HealthCell;
use crate::intent::Intent;
use crate::live::{LiveFeed, READERS_MAX};
use crate::metrics::Metrics;
use crate::recorder::ObservedCounts;
use crate::reloader::{Earlier, Reloader};
use crate::rollback::RollbackRequest;
use crate::rule_set::RuleSetCell;
use crate::samples::Samples;

/// Changes and shows what the pipeline does.
#[derive(Debug)]
pub struct Control {
    pub(crate) meta: Arc<MetaStore>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) runtime: Arc<PluginRuntime>,
    pub(crate) rule_set: Arc<RuleSetCell>,
    pub(crate) known_groups: Arc<Groups>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) live: Arc<LiveFeed>,
    pub(crate) couriers: Arc<Couriers>,
    pub(crate) reloader: Arc<Reloader>,
    /// Uploaded for an apply that is to come.
    pub(crate) components: StagedComponents,
    pub(crate) samples: Arc<Samples>,
    /// Where couriers ask to go back to an earlier plugin version.
    pub(crate) rollbacks: mpsc::Sender<RollbackRequest>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) observed: Arc<ObservedCounts>,
    pub(crate) baseline: Baseline,
    pub(crate) outbox_limits: OutboxLimits,
    pub(crate) clock_watch: Arc<ClockWatch>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) configured: HashMap<InstanceId, InstanceConfig>,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) rules_max: usize,
    pub(crate) intent: ArcSwap<Intent>,
    /// What the watched folder is like; `None` when none is configured, or it was not looked at yet.
    pub(crate) plugin_folder: ArcSwapOption<PluginFolderView>,
    /// Users, access keys, tokens and the audit log.
    pub(crate) access: Arc<AccessControl>,
    /// One change at a time: each sees the result of the one before.
    pub(crate) change: Mutex<()>,
}

impl Control {
    /// Runs blocking work of a change (store, compiler) off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(control_errors::store(&error)),
        }
    }

    /// Users, access keys, tokens and the audit log.
    #[must_use]
    pub fn access(&self) -> &Arc<AccessControl> {
        &self.access
    }

    /// Status events as they happen, of all clients.
    ///
    /// # Errors
    ///
    /// When there are as many readers as there may be.
    pub fn live_events(&self) -> Result<LiveEvents, ControlError> {
        self.live.subscribe().ok_or_else(|| {
            let message = format!(
                "{READERS_MAX} readers of events are connected, as many as there may be; close one"
            );
            ControlError::new(ControlCode::TooManyReaders, message)
        })
    }

    /// The last events of a rule with what became of each, newest first, [`SAMPLES_MAX`] at most.
    #[must_use]
    pub fn samples(&self, rule_id: &RuleId) -> Vec<Sample> {
        self.samples.last(rule_id, SAMPLES_MAX)
    }

    /// Makes what is stored true: reads intent, builds the snapshot, swaps it in, starts couriers.
    pub(crate) async fn reload(&self) -> Result<(), ControlError> {
        self.reload_with(Earlier::Ready).await
    }

    pub(crate) async fn reload_with(&self, earlier: Earlier) -> Result<(), ControlError> {
        let now_ms = self.clock.now_ms();
        let (meta, reloader) = (Arc::clone(&self.meta), Arc::clone(&self.reloader));
        let previous = self.rule_set.load();
        let old = Arc::clone(&previous);
        let (intent, next) = self
            .blocking(move || {
                let intent = reconciling::read(&meta, &old, now_ms)?;
                let next = reloader.build(&intent, &old, earlier);
                Ok((intent, next))
            })
            .await?;
        // In the order of the records: a hash map has none.
        for id in intent.incarnations.keys() {
            let Some(active) = next.incarnations.get(id) else {
                continue;
            };
            let before = previous.incarnations.get(id).map_or(0, |it| it.generation);
            if active.generation > before {
                let outcome = if active.mapper.is_ok() {
                    "active"
                } else {
                    "failed"
                };
                self.metrics.swapped(outcome);
            }
        }
        let intent = Arc::new(intent);
        self.intent.store(Arc::clone(&intent));
        self.rule_set.swap(next);
        for record in intent.incarnations.values() {
            self.start_courier(record, &intent);
        }
        Ok(())
    }

    fn start_courier(&self, record: &IncarnationRecord, intent: &Intent) {
        if self.couriers.is_running(record.id) {
            return;
        }
        let predecessors = intent
            .incarnations
            .values()
            .filter(|it| it.id < record.id && is_ahead(it, record))
            .map(|it| it.id)
            .collect();
        self.couriers.start(&Arc::new(CourierContext {
            incarnation: record.id,
            rule_id: record.rule_id.clone(),
            group_id: record.group_id.clone(),
            destination: record.destination.clone(),
            instance: self
                .configured
                .get(&record.destination.instance_id)
                .cloned(),
            predecessors,
            feed: self.feeds.feed(record.id, &self.outbox),
            outbox: Arc::clone(&self.outbox),
            meta: Arc::clone(&self.meta),
            runtime: Arc::clone(&self.runtime),
            rules: Arc::clone(&self.rule_set),
            clock: Arc::clone(&self.clock),
            clock_watch: Arc::clone(&self.clock_watch),
            health: Arc::new(HealthCell::new(Arc::clone(&self.clock))),
            metrics: Arc::clone(&self.metrics),
            samples: Arc::clone(&self.samples),
            rollbacks: self.rollbacks.clone(),
            delivery: self.delivery,
            timings: Timings::default(),
            is_single: AtomicBool::new(false),
            faults_in_a_row: AtomicU32::new(0),
        }));
    }
}

/// Whether the events of `earlier`, the older one, go before those of `record`: it is the same rule before an edit, or
/// another rule that sent the same clients' events to the same topic.
pub(crate) fn is_ahead(earlier: &IncarnationRecord, record: &IncarnationRecord) -> bool {
    let is_same_way =
        earlier.group_id == record.group_id && earlier.destination == record.destination;
    earlier.rule_id == record.rule_id || is_same_way
}
