//! What the pipeline is told at start; the host's configuration makes it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use access::CredentialTable;
use domain::{InstanceId, MessageSender};
use plugin_runtime::{CodeConfig, RuntimeConfig};

/// One RocketMQ instance of the configuration.
#[derive(Clone, Debug)]
pub struct InstanceConfig {
    /// Its connections.
    pub sender: Arc<dyn MessageSender>,
    /// Whether a rule for a missing topic creates it.
    pub is_topic_created: bool,
    /// Queues of a created topic.
    pub topic_queues: u32,
    /// Messages of one batch.
    pub batch_max: usize,
    /// Bytes of one batch.
    pub batch_bytes_max: usize,
}

/// Limits of the outbox, to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxLimits {
    /// All events, bytes.
    pub(crate) bytes_max: u64,
    /// Those of one rule, bytes.
    pub(crate) share_bytes_max: u64,
    /// Dead letters, bytes.
    pub(crate) dead_letters_bytes_max: u64,
}

/// How long events are held.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryConfig {
    /// How long a plugin may ask for a retry of one event.
    pub retry_age_max: Duration,
    /// How long an event may wait in the outbox.
    pub age_max: Duration,
}

/// A plugin that comes with the host.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInPlugin {
    /// Its name.
    pub name: &'static str,
    /// Its component.
    pub bytes: &'static [u8],
}

/// Everything that the pipeline is told at start.
#[derive(Debug)]
pub struct PipelineConfig {
    /// Where `outbox.redb` and `meta.redb` are.
    pub data_dir: PathBuf,
    /// Group commit: how long the first event of a commit waits for others.
    pub commit_interval: Duration,
    /// Events that may wait for their commit before CONNECTs are refused.
    pub uncommitted_events_max: usize,
    /// All events of the outbox, bytes.
    pub outbox_bytes_max: u64,
    /// The part of the outbox that one rule may use, from 0 to 1.
    pub rule_share: f64,
    /// All dead letters, bytes.
    pub dead_letters_bytes_max: u64,
    /// How long events are held.
    pub delivery: DeliveryConfig,
    /// RocketMQ instances by name.
    pub instances: HashMap<InstanceId, InstanceConfig>,
    /// The plugin runtime.
    pub runtime: RuntimeConfig,
    /// Its compiler and where compiled code is kept.
    pub code: CodeConfig,
    /// Where MQTT authentication reads users and access keys; the stored ones are put in.
    pub credentials: Arc<CredentialTable>,
    /// Plugins that come with the host.
    pub built_in: Vec<BuiltInPlugin>,
    /// The folder whose `NAME.wasm` become versions of plugins, if there is to be one.
    pub plugin_folder: Option<PathBuf>,
    /// Whether an unknown group appears by itself.
    pub is_group_auto_create: bool,
    /// Rules of all types together.
    pub rules_max: usize,
}
