//! What all workers of one courier share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use domain::{Clock, Destination, GroupId, IncarnationId, Ordering, QueueName, RuleId};
use plugin_runtime::PluginRuntime;
use store::{MetaStore, Outbox, PendingEvent};
use tokio::sync::mpsc;

use crate::clock_watch::ClockWatch;
use crate::config::{DeliveryConfig, InstanceConfig};
use crate::feed::Feed;
use crate::health::HealthCell;
use crate::metrics::Metrics;
use crate::rollback::RollbackRequest;
use crate::rule_set::RuleSetCell;
use crate::samples::Samples;

/// How long couriers wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timings {
    /// After the first failed send; grows from there.
    pub(crate) send_pause_first: Duration,
    /// The longest pause between two tries: half of what a recovery may take.
    pub(crate) send_pause: Duration,
    /// A send without an answer for so long is a reason to ask for the route.
    pub(crate) send_slow: Duration,
    /// Sends that fail for so long make a queue failed.
    pub(crate) failing_max: Duration,
    /// Between two questions for the route.
    pub(crate) route_every: Duration,
    /// The same while something is wrong, and between two probes of a failed queue.
    pub(crate) route_every_failing: Duration,
    /// How often events are asked about that wait for those of an earlier incarnation.
    pub(crate) gate_every: Duration,
    /// How often it is asked whether there is room for dead letters.
    pub(crate) burial_every: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            send_pause_first: Duration::from_millis(50),
            send_pause: Duration::from_secs(2),
            send_slow: Duration::from_secs(1),
            failing_max: Duration::from_millis(1500),
            route_every: Duration::from_secs(5),
            route_every_failing: Duration::from_secs(1),
            gate_every: Duration::from_millis(20),
            burial_every: Duration::from_millis(500),
        }
    }
}

/// One incarnation's courier, as its workers see it.
#[derive(Debug)]
pub(crate) struct CourierContext {
    pub(crate) incarnation: IncarnationId,
    pub(crate) rule_id: RuleId,
    pub(crate) group_id: GroupId,
    pub(crate) destination: Destination,
    /// `None`: the configuration does not name the instance any more; events wait.
    pub(crate) instance: Option<InstanceConfig>,
    /// Earlier incarnations of the rule: their events go first, per client.
    pub(crate) predecessors: Vec<IncarnationId>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) meta: Arc<MetaStore>,
    pub(crate) runtime: Arc<PluginRuntime>,
    pub(crate) rules: Arc<RuleSetCell>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) clock_watch: Arc<ClockWatch>,
    pub(crate) health: Arc<HealthCell>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) rollbacks: mpsc::Sender<RollbackRequest>,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) timings: Timings,
    /// The server refused a batch as such: messages go one by one.
    pub(crate) is_single: AtomicBool,
    /// Events in a row that faulted on every try.
    pub(crate) faults_in_a_row: AtomicU32,
}

impl CourierContext {
    /// Whether what is queued is to be dropped.
    pub(crate) fn is_discarding(&self) -> bool {
        self.rules
            .incarnation(self.incarnation)
            .is_some_and(|active| active.is_discarding)
    }

    pub(crate) fn ordering(&self) -> Ordering {
        self.rules
            .incarnation(self.incarnation)
            .map_or(Ordering::Strict, |active| active.ordering)
    }

    /// Whether `event` has waited for longer than an event may.
    pub(crate) fn is_expired(&self, event: &PendingEvent) -> bool {
        event.entered_ms < self.clock_watch.before_ms(self.delivery.age_max)
    }

    /// Why the clients of `queue` wait, and what can be done about it.
    pub(crate) fn waiting_reason(&self, queue: &QueueName, problem: &str) -> String {
        let topic = &self.destination.topic;
        match self.ordering() {
            Ordering::Strict => format!(
                "queue {queue} of topic {topic}: {problem}; its clients wait for it, since the rule's ordering \
                 is strict; if the queue does not come back: rulemill outbox retire-queue {} {queue}",
                self.rule_id
            ),
            Ordering::Available => format!(
                "queue {queue} of topic {topic}: {problem}; its clients move as soon as another queue can store"
            ),
        }
    }

    /// Why nothing can be sent as long as the instance is not configured.
    pub(crate) fn missing_instance(&self) -> String {
        format!(
            "the configuration has no rocketmq.instances.{}",
            self.destination.instance_id
        )
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
