//! What all workers of one courier share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use domain::{Clock, Destination, GroupId, IncarnationId, RuleId};
use plugin_runtime::PluginRuntime;
use store::Outbox;

use crate::config::{DeliveryConfig, InstanceConfig};
use crate::feed::Feed;
use crate::health::HealthCell;
use crate::metrics::Metrics;
use crate::rule_set::RuleSetCell;

/// One incarnation's courier, as its workers see it.
#[derive(Debug)]
pub(crate) struct CourierContext {
    pub(crate) incarnation: IncarnationId,
    pub(crate) rule_id: RuleId,
    pub(crate) group_id: GroupId,
    pub(crate) destination: Destination,
    /// `None`: the configuration does not name the instance any more; events wait.
    pub(crate) instance: Option<InstanceConfig>,
    /// Earlier incarnations of the rule: they drain first.
    pub(crate) predecessors: Vec<IncarnationId>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) runtime: Arc<PluginRuntime>,
    pub(crate) rules: Arc<RuleSetCell>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Arc<HealthCell>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) delivery: DeliveryConfig,
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
}
