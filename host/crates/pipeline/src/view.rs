//! What the control side shows: rules with their state, plugins, groups, the whole host.

use domain::{GroupId, PluginDigest, PluginName, Rule, RuleId};

use crate::health::Health;

/// The live state of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleState {
    /// How it is.
    pub health: Health,
    /// Since when, UNIX milliseconds.
    pub since_ms: u64,
    /// Why, if it is not running.
    pub reason: Option<String>,
    /// The version that maps, if the plugin is loaded.
    pub plugin_version: Option<u32>,
    /// Its digest.
    pub plugin_digest: Option<PluginDigest>,
    /// Counts the swaps of the rule's mapper since start.
    pub generation: u64,
}

/// A rule and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleView {
    /// Stored intent.
    pub rule: Rule,
    /// What is true now.
    pub state: RuleState,
    /// What the user should know of the last change, such as a missing topic that was forced.
    pub warnings: Vec<String>,
}

/// One version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginVersionView {
    /// The plugin.
    pub name: PluginName,
    /// From 1.
    pub version: u32,
    /// SHA-256 of the bytes.
    pub digest: PluginDigest,
    /// Size of the component, bytes.
    pub size_bytes: u64,
    /// Interfaces that it exports.
    pub exports: Vec<String>,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// When it was uploaded, UNIX milliseconds.
    pub created_at_ms: u64,
    /// Whether it came with the host.
    pub is_built_in: bool,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its id.
    pub group_id: GroupId,
    /// When it was made, UNIX milliseconds.
    pub created_at_ms: u64,
}

/// Event counts; see the sums in the README, section Architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Since start.
    pub observed: u64,
    /// Since start.
    pub matched: u64,
    /// Since start.
    pub unmatched: u64,
    /// For ever.
    pub recorded: u64,
    /// CONNECTs refused since start.
    pub refused: u64,
    /// For ever.
    pub replayed: u64,
    /// For ever.
    pub delivered: u64,
    /// For ever.
    pub skipped: u64,
    /// For ever.
    pub buried: u64,
    /// For ever.
    pub expired: u64,
    /// For ever.
    pub discarded: u64,
    /// Now.
    pub pending: u64,
}

/// A rule's line in the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleStatus {
    /// The rule.
    pub rule_id: RuleId,
    /// How it is.
    pub health: Health,
    /// Why.
    pub reason: Option<String>,
    /// Its events.
    pub events: EventCounts,
}

/// The pipeline's part of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineStatus {
    /// All rules together, and events that no rule matched.
    pub events: EventCounts,
    /// What the outbox holds, bytes.
    pub outbox_bytes: u64,
    /// Age of its oldest event, milliseconds.
    pub outbox_oldest_ms: u64,
    /// One line per rule, sorted by id.
    pub rules: Vec<RuleStatus>,
}
