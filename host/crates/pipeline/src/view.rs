//! What the control side shows: rules with their state, plugins, groups, the whole host.

use domain::{Actor, AnyRule, GroupId, PluginDigest, PluginName, RuleId};
use plugin_runtime::MapperUsage;
use store::WithdrawnVersion;

use crate::health::Health;

/// What the present generation of a rule's plugin did since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapperView {
    /// Events that the plugin was called for; each try counts.
    pub calls: u64,
    /// Calls that ended in a fault.
    pub faults: u64,
    /// Time on mapper threads, nanoseconds, starts of instances included.
    pub busy_ns: u64,
    /// Instances that were started.
    pub instances: u64,
    /// The plugin's own counters, by name; at most 32.
    pub counters: Vec<(String, u64)>,
    /// Additions to counters beyond the limit of names.
    pub counters_dropped: u64,
}

impl From<MapperUsage> for MapperView {
    fn from(usage: MapperUsage) -> Self {
        Self {
            calls: usage.calls,
            faults: usage.faults,
            busy_ns: usage.busy_ns,
            instances: usage.instances,
            counters: usage.counters,
            counters_dropped: usage.counters_dropped,
        }
    }
}

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
    /// What the mapper did, if the plugin is loaded.
    pub mapper: Option<MapperView>,
}

/// A rule and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleView {
    /// Stored intent.
    pub rule: AnyRule,
    /// What is true now.
    pub state: RuleState,
    /// What the user should know of the last change, such as a missing topic that was forced.
    pub warnings: Vec<String>,
    /// The file of the folder of rules that it comes from, if it comes from one.
    pub managed_by: Option<String>,
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
    /// Who uploaded it.
    pub created_by: Actor,
    /// The rules that it maps for, sorted.
    pub active_for: Vec<RuleId>,
    /// The rules that went back from it, sorted, and how.
    pub withdrawn_for: Vec<(RuleId, WithdrawnVersion)>,
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

/// Event counts. At any moment:
///
/// * observed = matched + unmatched,
/// * matched = `recorded_since_start` + refused,
/// * recorded + replayed = delivered + skipped + buried + expired + discarded + pending.
///
/// All of them are as of the last commit: an observed event that waits for its commit is in none.
/// A refused CONNECT is an event that was observed, matched a rule and was not recorded; one that is
/// refused for another reason than its event (no such group, not allowed, too many connections)
/// is no event. `tcpclean`s that were made up for channels which an earlier run left open are recorded
/// before the start, and nobody observed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Since start.
    pub observed: u64,
    /// Since start.
    pub matched: u64,
    /// Since start; of one rule always 0.
    pub unmatched: u64,
    /// For ever.
    pub recorded: u64,
    /// The part of `recorded` since start.
    pub recorded_since_start: u64,
    /// CONNECTs refused since start, since their events could not be kept.
    pub refused: u64,
    /// Dead letters that were recorded again; for ever.
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
    /// What its pending events take of its share of the outbox, bytes.
    pub pending_bytes: u64,
}

/// Pending events that no rule of today has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainingStatus {
    /// The deleted rule; `None` of rules that the store does not know, since it is older than the outbox.
    pub rule_id: Option<RuleId>,
    /// How the delivery is.
    pub health: Health,
    /// Why, if it is not well.
    pub reason: Option<String>,
    /// Pending events, at least one.
    pub pending: u64,
    /// What they take, bytes.
    pub pending_bytes: u64,
}

/// The outbox as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxView {
    /// What pending events take, bytes.
    pub bytes: u64,
    /// The limit of events and of what open channels owe, bytes.
    pub bytes_max: u64,
    /// The same of one rule.
    pub share_bytes_max: u64,
    /// Age of the oldest pending event, milliseconds.
    pub oldest_ms: u64,
    /// Events that wait for their commit; not in any count yet.
    pub uncommitted: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// What they take, bytes.
    pub dead_letter_bytes: u64,
    /// At this many bytes a rule with one more dead letter pauses.
    pub dead_letter_bytes_max: u64,
}

/// The pipeline's part of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineStatus {
    /// All rules together, deleted ones too, and events that no rule matched.
    pub events: EventCounts,
    /// The outbox.
    pub outbox: OutboxView,
    /// One line per rule, sorted by id.
    pub rules: Vec<RuleStatus>,
    /// What is pending of rules that are no more; with those of `rules`, all that is pending.
    pub draining: Vec<DrainingStatus>,
}

/// Whether the host takes events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it takes none at all; `None` when it takes some.
    pub not_ready: Option<String>,
    /// Rules that do not work as they should, and why; sorted by id. Then, in the same order, deleted
    /// rules whose events are not delivered; without an id those of unknown rules.
    pub degraded: Vec<(Option<RuleId>, Health, String)>,
}
