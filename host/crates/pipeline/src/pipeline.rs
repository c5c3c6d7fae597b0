//! Opens the stores, loads the rules and starts the couriers; ends all of it in the order of the data.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::{Clock, ErrorChain, GroupId};
use plugin_runtime::{PluginRuntime, StartRuntimeError};
use store::{
    MetaStore, OpenOutboxError, OpenStoreError, Outbox, OutboxConfig, RecoveredOutbox,
    WriteMetaError,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock_steps;
use crate::clock_watch::ClockWatch;
use crate::components::StagedComponents;
use crate::config::{OutboxLimits, PipelineConfig};
use crate::control::{AccessControl, Baseline, Control, UNKNOWN_REMEDY};
use crate::control_error::ControlError;
use crate::control_errors;
use crate::couriers::Couriers;
use crate::feed::Feeds;
use crate::groups::Groups;
use crate::housekeeping;
use crate::intent::Intent;
use crate::live::LiveFeed;
use crate::metrics::Metrics;
use crate::plugin_folder;
use crate::recorder::{ObservedCounts, Recorder};
use crate::reloader::{Earlier, Reloader};
use crate::rollback::{self, RollbackRequest};
use crate::rule_set::RuleSetCell;
use crate::samples::Samples;

/// Why the pipeline did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenPipelineError {
    /// The outbox.
    #[error("outbox cannot be opened")]
    Outbox(#[source] OpenOutboxError),
    /// Rules, plugins, groups.
    #[error("meta store cannot be opened")]
    Meta(#[source] OpenStoreError),
    /// The plugin runtime.
    #[error("plugin runtime cannot be started")]
    Runtime(#[source] StartRuntimeError),
    /// What the store says could not be loaded.
    #[error("stored rules cannot be loaded")]
    Load(#[source] ControlError),
}

/// The running pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// For the broker.
    pub recorder: Arc<Recorder>,
    /// For the administration.
    pub control: Arc<Control>,
    /// Channels that an earlier run had left open; each got its `tcpclean`.
    pub recovered_channels: u64,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Pipeline {
    /// Opens everything. Must be called on a tokio runtime; blocks it while stores are opened and
    /// plugins are compiled, which is fine before anything else runs.
    ///
    /// # Errors
    ///
    /// Names the part that failed. A plugin that does not load is not an error: its rule records
    /// and waits.
    pub async fn open(
        mut config: PipelineConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenPipelineError> {
        let opened = OpenedOutbox::open(outbox_config(&config), &clock)?;
        let meta =
            MetaStore::open(config.data_dir.join("meta.redb")).map_err(OpenPipelineError::Meta)?;
        let meta = Arc::new(meta);
        let runtime =
            PluginRuntime::start_with(config.runtime.clone(), std::mem::take(&mut config.code))
                .map_err(OpenPipelineError::Runtime)?;
        let (groups, new_groups) =
            groups(&meta, config.is_group_auto_create).map_err(OpenPipelineError::Load)?;
        let groups = Arc::new(groups);
        let rule_set = Arc::new(RuleSetCell::new());
        let recorder = opened.recorder(&rule_set, &groups);
        let intent = Intent::read(&meta)
            .map_err(|error| OpenPipelineError::Load(control_errors::store(&error)))?;
        skip_used(&meta, &intent, &opened.outbox).map_err(OpenPipelineError::Load)?;
        let access = open_access(&config, &meta, &clock).map_err(OpenPipelineError::Load)?;
        let samples = Arc::new(Samples::default());
        let (rollbacks, rollback_requests) = mpsc::channel(rollback::REQUESTS_MAX);
        let control = Arc::new(Control {
            baseline: Baseline::new(&intent, &opened.outbox.all_counts()),
            outbox_limits: opened.limits,
            clock_watch: Arc::new(ClockWatch::new(
                Arc::clone(&clock),
                clock_steps::kept(&meta),
            )),
            reloader: Arc::new(Reloader::new(
                Arc::clone(&meta),
                Arc::clone(&runtime),
                Arc::clone(&samples),
            )),
            samples,
            rollbacks,
            components: StagedComponents::default(),
            access,
            meta,
            outbox: opened.outbox,
            runtime,
            rule_set,
            known_groups: groups,
            feeds: opened.feeds,
            live: opened.live,
            couriers: Arc::new(Couriers::new()),
            metrics: opened.metrics,
            observed: opened.observed,
            clock,
            configured: std::mem::take(&mut config.instances),
            delivery: config.delivery,
            rules_max: config.rules_max,
            intent: ArcSwap::default(),
            plugin_folder: ArcSwapOption::empty(),
            change: tokio::sync::Mutex::new(()),
        });
        load(&control, &config)
            .await
            .map_err(OpenPipelineError::Load)?;
        let (tasks, shutdown) = start_tasks(&control, config, new_groups, rollback_requests);
        let recovered_channels = opened.recovered.closed_channels;
        Ok(Self {
            recorder,
            control,
            recovered_channels,
            tasks,
            shutdown,
        })
    }

    /// Waits until everything that can be delivered is delivered, at most `grace`; then ends the
    /// couriers and closes the stores. What was not delivered stays in the outbox. All connections
    /// must be closed before. Returns how many events stay.
    pub async fn shutdown(self, grace: Duration) -> u64 {
        let deadline = tokio::time::Instant::now() + grace;
        // False means that the store failed: then waiting for deliveries is all that is left.
        let _: bool = self.control.outbox.committed().await.unwrap_or(false);
        while !self.control.is_drained() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.control.couriers.shutdown().await;
        let left = self.control.status().events.pending;
        let outbox = Arc::clone(&self.control.outbox);
        if tokio::task::spawn_blocking(move || outbox.close())
            .await
            .is_err()
        {
            tracing::error!("outbox was not closed properly");
        }
        left
    }
}

/// The outbox and everyone who hears of its commits.
struct OpenedOutbox {
    outbox: Arc<Outbox>,
    recovered: RecoveredOutbox,
    limits: OutboxLimits,
    feeds: Arc<Feeds>,
    observed: Arc<ObservedCounts>,
    metrics: Arc<Metrics>,
    live: Arc<LiveFeed>,
}

impl OpenedOutbox {
    fn recorder(&self, rule_set: &Arc<RuleSetCell>, groups: &Arc<Groups>) -> Arc<Recorder> {
        Arc::new(Recorder::new(
            Arc::clone(&self.outbox),
            Arc::clone(rule_set),
            Arc::clone(groups),
            Arc::clone(&self.observed),
        ))
    }

    fn open(config: OutboxConfig, clock: &Arc<dyn Clock>) -> Result<Self, OpenPipelineError> {
        let limits = OutboxLimits {
            bytes_max: config.bytes_max,
            share_bytes_max: config.share_bytes_max,
            dead_letters_bytes_max: config.dead_letters_bytes_max,
        };
        let feeds = Arc::new(Feeds::default());
        let observed = Arc::new(ObservedCounts::default());
        let metrics = Arc::new(Metrics::new());
        let live = Arc::new(LiveFeed::default());
        let listeners = (
            Arc::clone(&metrics),
            Arc::clone(&observed),
            Arc::clone(&feeds),
            Arc::clone(&live),
        );
        let (outbox, recovered) = Outbox::open(
            config,
            Arc::clone(clock),
            Box::new(move |events| {
                let (metrics, observed, feeds, live) = &listeners;
                metrics.committed(events);
                observed.committed(events);
                feeds.committed(events);
                live.committed(events);
            }),
        )
        .map_err(OpenPipelineError::Outbox)?;
        let unmatched = Arc::clone(&live);
        outbox.watch_unmatched(Box::new(move |event| unmatched.unmatched(event)));
        Ok(Self {
            outbox,
            recovered,
            limits,
            feeds,
            observed,
            metrics,
            live,
        })
    }
}

fn outbox_config(config: &PipelineConfig) -> OutboxConfig {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of bytes: rounding is harmless, the factor is between 0 and 1"
    )]
    let share_bytes_max =
        (config.outbox_bytes_max as f64 * config.rule_share.clamp(0.0, 1.0)) as u64;
    OutboxConfig {
        path: config.data_dir.join("outbox.redb"),
        bytes_max: config.outbox_bytes_max,
        share_bytes_max,
        commit_interval: config.commit_interval,
        uncommitted_events_max: config.uncommitted_events_max,
        dead_letters_bytes_max: config.dead_letters_bytes_max,
    }
}

/// Compares the two files, of which one may have been lost or put back from a copy. A number that the outbox
/// knows is not given again: what it has of that number would go to a new rule's topic.
fn skip_used(meta: &MetaStore, intent: &Intent, outbox: &Outbox) -> Result<(), ControlError> {
    let in_outbox = outbox.incarnations().last().copied();
    let in_meta = intent.incarnations.keys().next_back().copied();
    let Some(used) = in_outbox.max(in_meta) else {
        return Ok(());
    };
    let is_behind = meta
        .write(|tx| tx.skip_incarnations(used))
        .map_err(|error: WriteMetaError| control_errors::store(&error))?;
    if is_behind {
        tracing::warn!(
            used = used.0,
            "meta.redb is older than outbox.redb: numbers that it would give again are skipped"
        );
    }
    let counts = outbox.all_counts().incarnations.into_iter();
    let unknown = counts.filter(|(id, it)| it.pending > 0 && !intent.incarnations.contains_key(id));
    let events: u64 = unknown.map(|(_, counts)| counts.pending).sum();
    if events > 0 {
        tracing::error!(
            events,
            "events of rules that meta.redb does not know: {UNKNOWN_REMEDY}"
        );
    }
    Ok(())
}

fn open_access(
    config: &PipelineConfig,
    meta: &Arc<MetaStore>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<AccessControl>, ControlError> {
    let credentials = Arc::clone(&config.credentials);
    AccessControl::open(Arc::clone(meta), Arc::clone(clock), credentials).map(Arc::new)
}

/// Makes true what is stored.
async fn load(control: &Control, config: &PipelineConfig) -> Result<(), ControlError> {
    control.store_built_in(&config.built_in).await?;
    control.reload_with(Earlier::Later).await
}

/// Starts what runs beside the couriers.
fn start_tasks(
    control: &Arc<Control>,
    config: PipelineConfig,
    new_groups: mpsc::Receiver<GroupId>,
    rollback_requests: mpsc::Receiver<RollbackRequest>,
) -> (TaskTracker, CancellationToken) {
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(store_groups(
        Arc::clone(control),
        new_groups,
        shutdown.clone(),
    ));
    tasks.spawn(rollback::serve(
        Arc::clone(control),
        rollback_requests,
        shutdown.clone(),
    ));
    housekeeping::start(&tasks, control, &shutdown);
    if let Some(folder) = config.plugin_folder {
        let bytes_max = config.runtime.component_bytes_max;
        plugin_folder::start(&tasks, control, folder, bytes_max, &shutdown);
    }
    (tasks, shutdown)
}

fn groups(
    meta: &MetaStore,
    is_auto_create: bool,
) -> Result<(Groups, mpsc::Receiver<GroupId>), ControlError> {
    let records = meta
        .groups()
        .map_err(|error| control_errors::store(&error))?;
    let (deleted, present): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.is_deleted);
    let ids = |records: Vec<store::GroupRecord>| records.into_iter().map(|record| record.group_id);
    Ok(Groups::new(ids(present), ids(deleted), is_auto_create))
}

/// Stores groups that appeared by themselves.
async fn store_groups(
    control: Arc<Control>,
    mut new_groups: mpsc::Receiver<GroupId>,
    shutdown: CancellationToken,
) {
    loop {
        let group_id = tokio::select! {
            group_id = new_groups.recv() => group_id,
            () = shutdown.cancelled() => None,
        };
        let Some(group_id) = group_id else { return };
        if let Err(error) = control.store_new_group(group_id.clone()).await {
            // Harmless: the group appears again with its next client after a restart.
            tracing::warn!(%group_id, error = %ErrorChain(&error), "group was not stored");
        }
    }
}
