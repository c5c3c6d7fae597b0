//! What the pipeline counts and times, rendered as OpenMetrics text.

mod exposition;

use std::sync::Arc;
use std::time::Duration;

use domain::{InstanceId, RuleId};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use store::PendingEvent;
use tokio::time::Instant;

pub(crate) use exposition::{Snapshot, TypeCounts};

use crate::plugin_folder::FolderOutcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    rule_id: String,
    fault: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SendLabels {
    instance: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabel {
    instance: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The pipeline's live metrics. Label values are bounded by the limits on rules and instances.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    calls: Family<RuleLabel, Histogram, fn() -> Histogram>,
    faults: Family<FaultLabels, Counter>,
    stand_ins: Family<RuleLabel, Counter>,
    deliveries: Family<RuleLabel, Histogram, fn() -> Histogram>,
    commits: Histogram,
    sends: Family<SendLabels, Counter>,
    send_times: Family<InstanceLabel, Histogram, fn() -> Histogram>,
    swaps: Family<OutcomeLabel, Counter>,
    watched_files: Family<OutcomeLabel, Counter>,
    pub(crate) clock_steps: Counter,
    pub(crate) courier_restarts: Counter,
}

fn call_buckets() -> Histogram {
    // A warm call takes microseconds, a deadline is 10 ms by default; on a busy machine most of what is between is waiting,
    // and a percentile there is only as good as the buckets are fine.
    Histogram::new([
        1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 7.5e-4, 1e-3, 1.5e-3, 2e-3,
        3e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1,
    ])
}

/// For what takes less than a millisecond unloaded and minutes in an outage.
fn delivery_buckets() -> Histogram {
    Histogram::new([
        0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
        300.0, 3600.0,
    ])
}

/// For one flush of the disk, or one answer of a broker.
fn stage_buckets() -> Histogram {
    Histogram::new([
        0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01,
        0.02, 0.05, 0.1, 0.5, 1.0, 5.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("rulemill")),
            calls: Family::new_with_constructor(call_buckets as fn() -> Histogram),
            faults: Family::default(),
            stand_ins: Family::default(),
            deliveries: Family::new_with_constructor(delivery_buckets as fn() -> Histogram),
            commits: stage_buckets(),
            sends: Family::default(),
            send_times: Family::new_with_constructor(stage_buckets as fn() -> Histogram),
            swaps: Family::default(),
            watched_files: Family::default(),
            clock_steps: Counter::default(),
            courier_restarts: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock();
        registry.register(
            "mapper_call_seconds",
            "Time of one mapping, averaged over the batch it was in",
            self.calls.clone(),
        );
        registry.register("mapper_faults", "Faults of plugins", self.faults.clone());
        registry.register(
            "mapper_stand_ins",
            "Events that an earlier plugin version mapped, since the present one failed on them",
            self.stand_ins.clone(),
        );
        registry.register(
            "event_delivery_seconds",
            "From the event to its storage by RocketMQ",
            self.deliveries.clone(),
        );
        registry.register(
            "rocketmq_sends",
            "Batches offered to RocketMQ",
            self.sends.clone(),
        );
        registry.register(
            "rocketmq_send_seconds",
            "Time of one batch from its offer to the answer, failed ones too",
            self.send_times.clone(),
        );
        registry.register(
            "event_commit_seconds",
            "From the event to its durable commit",
            self.commits.clone(),
        );
        registry.register(
            "clock_steps",
            "Steps of the wall clock by more than a second",
            self.clock_steps.clone(),
        );
        registry.register("plugin_swaps", "Mappers that took over", self.swaps.clone());
        registry.register(
            "plugin_watch_files",
            "What became of files in the watched plugin folder",
            self.watched_files.clone(),
        );
        registry.register(
            "courier_restarts",
            "Couriers that were restarted after a panic",
            self.courier_restarts.clone(),
        );
    }

    pub(crate) fn mapped(&self, rule_id: &RuleId, elapsed: Duration, events: usize) {
        let events = u32::try_from(events.max(1)).unwrap_or(u32::MAX);
        let label = RuleLabel {
            rule_id: rule_id.to_string(),
        };
        self.calls
            .get_or_create(&label)
            .observe(elapsed.as_secs_f64() / f64::from(events));
    }

    pub(crate) fn faulted(&self, rule_id: &RuleId, fault: &'static str) {
        self.faults
            .get_or_create(&FaultLabels {
                rule_id: rule_id.to_string(),
                fault,
            })
            .inc();
    }

    /// An earlier version of the plugin mapped an event.
    pub(crate) fn stood_in(&self, rule_id: &RuleId) {
        let rule_id = rule_id.to_string();
        self.stand_ins.get_or_create(&RuleLabel { rule_id }).inc();
    }

    /// The ages of the events of one batch: the rule is looked up once for all of them.
    pub(crate) fn delivered_after(&self, rule_id: &RuleId, ages: &[Duration]) {
        let label = RuleLabel {
            rule_id: rule_id.to_string(),
        };
        let deliveries = self.deliveries.get_or_create(&label);
        for age in ages {
            deliveries.observe(age.as_secs_f64());
        }
    }

    /// Times the commit of freshly committed events.
    pub(crate) fn committed(&self, events: &[Arc<PendingEvent>]) {
        let now = Instant::now();
        for appended in events.iter().filter_map(|event| event.appended) {
            let age = now.saturating_duration_since(appended);
            self.commits.observe(age.as_secs_f64());
        }
    }

    /// One batch was offered to an instance and answered, or given up, after `elapsed`.
    pub(crate) fn send_timed(&self, instance: &InstanceId, elapsed: Duration) {
        let label = InstanceLabel {
            instance: instance.to_string(),
        };
        let times = self.send_times.get_or_create(&label);
        times.observe(elapsed.as_secs_f64());
    }

    pub(crate) fn sent(&self, instance: &InstanceId, outcome: &'static str) {
        self.sends
            .get_or_create(&SendLabels {
                instance: instance.to_string(),
                outcome,
            })
            .inc();
    }

    pub(crate) fn swapped(&self, outcome: &'static str) {
        self.swaps.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Something became of a file in the watched plugin folder.
    pub(crate) fn watched(&self, outcome: FolderOutcome) {
        self.watched_outcome(outcome).inc();
    }

    /// That such files are counted, even if there is none yet.
    pub(crate) fn watched_outcome(&self, outcome: FolderOutcome) -> Counter {
        let outcome = outcome.as_str();
        let label = OutcomeLabel { outcome };
        self.watched_files.get_or_create(&label).clone()
    }

    /// Everything as OpenMetrics text without its last line `# EOF`, since others add theirs;
    /// `snapshot` holds what is counted elsewhere.
    pub(crate) fn render(&self, snapshot: &Snapshot) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; the encoder's signature is about other writers.
        let _: std::fmt::Result = encode(&mut text, &self.registry.lock());
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        exposition::write(&mut text, snapshot);
        text
    }
}

#[cfg(test)]
mod tests;
