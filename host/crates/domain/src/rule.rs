//! A status rule: where the events of a group go and what maps them.

use std::fmt;

use crate::{GroupId, InstanceId, ParseNameError, PluginDigest, PluginName, RuleId, TopicName};

/// The kind of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleType {
    /// Status events of one group go to one RocketMQ topic: a [`Rule`].
    ClientStatusNotification,
    /// Messages of one MQTT topic go to one RocketMQ topic: a [`DataRule`](crate::DataRule).
    DataOutbound,
    /// Messages of one RocketMQ topic go to one MQTT topic: a [`DataRule`](crate::DataRule).
    DataInbound,
}

impl RuleType {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::ClientStatusNotification,
        Self::DataOutbound,
        Self::DataInbound,
    ];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientStatusNotification => "clientStatusNotification",
            Self::DataOutbound => "dataOutbound",
            Self::DataInbound => "dataInbound",
        }
    }
}

/// RocketMQ instance and topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The instance, by its name in the configuration.
    pub instance_id: InstanceId,
    /// The topic.
    pub topic: TopicName,
}

/// What happens to clients whose queue cannot store now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ordering {
    /// They wait for it: the order of each client holds.
    #[default]
    Strict,
    /// They move to another queue: the order across the move does not hold.
    Available,
}

impl Ordering {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Available => "available",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance_id, self.topic)
    }
}

/// Which version of a plugin maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionSelector {
    /// The newest one.
    Latest,
    /// The version with this number.
    Number(u32),
    /// The version with these bytes.
    Digest(PluginDigest),
}

impl VersionSelector {
    /// Reads `latest`, a number from 1 or `sha256:…`.
    ///
    /// # Errors
    ///
    /// Says what would be right.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if text.starts_with("sha256:") {
            return PluginDigest::parse(text).map(Self::Digest);
        }
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self::Number(number)),
            _ => Err(ParseNameError {
                kind: "plugin version",
                value: text.chars().take(80).collect(),
                problem: "must be latest, a number from 1 or a sha256: digest",
            }),
        }
    }
}

impl fmt::Display for VersionSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

/// What happens to an event whose plugin faulted on every try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFault {
    /// It is kept as a dead letter.
    #[default]
    DeadLetter,
    /// Its client waits and it is tried again.
    Retry,
    /// It is dropped and counted.
    Skip,
    /// The built-in mapping maps it.
    Default,
}

impl OnFault {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "deadLetter",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Default => "default",
        }
    }
}

/// What happens to an event that the plugin rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnReject {
    /// It is kept as a dead letter.
    #[default]
    DeadLetter,
    /// It is dropped and counted.
    Skip,
}

impl OnReject {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "deadLetter",
            Self::Skip => "skip",
        }
    }
}

/// What a rule asks of the plugin runtime beyond the host's defaults; never more than its maxima.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MappingLimits {
    /// Linear memory of one instance, bytes.
    pub memory_bytes_max: Option<u64>,
    /// CPU time of one call, milliseconds.
    pub call_deadline_ms: Option<u64>,
}

/// How a rule's events become messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The plugin.
    pub plugin: PluginName,
    /// Its version.
    pub version: VersionSelector,
    /// What its `init` gets: a JSON object as text.
    pub config: String,
    /// Limits of its own.
    pub limits: MappingLimits,
    /// After a fault.
    pub on_fault: OnFault,
    /// After a rejection.
    pub on_reject: OnReject,
}

impl Mapped {
    /// Whether it moves with the newest version of `plugin`.
    #[must_use]
    pub fn follows(&self, plugin: &PluginName) -> bool {
        self.plugin == *plugin && self.version == VersionSelector::Latest
    }
}

/// What a new incarnation tells its consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnActivate {
    /// Nothing, as ApsaraMQ does.
    #[default]
    None,
    /// One `connect` per open channel.
    Snapshot,
}

impl OnActivate {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What a user says of a status rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleDraft {
    /// Its name; never changes.
    pub rule_id: RuleId,
    /// Free text.
    pub description: String,
    /// Whether it matches.
    pub enabled: bool,
    /// Whose events.
    pub group_id: GroupId,
    /// Where to.
    pub destination: Destination,
    /// When a queue of the destination cannot store.
    pub ordering: Ordering,
    /// As what.
    pub mapping: Mapped,
    /// What a new incarnation tells.
    pub on_activate: OnActivate,
}

/// A rule with one source and destination. An event remembers the one it was recorded for, so
/// that an edit of source or destination does not move what is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncarnationId(pub u32);

/// Stored intent of a status rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What the user said.
    pub draft: RuleDraft,
    /// Number of the change that made it; never reused.
    pub revision: u64,
    /// Its present incarnation.
    pub incarnation: IncarnationId,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// UNIX milliseconds.
    pub updated_at_ms: u64,
}
