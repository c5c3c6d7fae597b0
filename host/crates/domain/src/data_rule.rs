//! Data rules, which carry messages between one MQTT topic and one RocketMQ topic, and what they have
//! in common with status rules.

use crate::{Destination, MqttTopic, Ordering, Rule, RuleDraft, RuleId, RuleType};

/// Which way the messages of a data rule go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// MQTT to RocketMQ.
    Outbound,
    /// RocketMQ to MQTT.
    Inbound,
}

impl Direction {
    /// The rule type with this direction.
    #[must_use]
    pub fn rule_type(self) -> RuleType {
        match self {
            Self::Outbound => RuleType::DataOutbound,
            Self::Inbound => RuleType::DataInbound,
        }
    }
}

/// What a user says of a data rule. It is held and not carried out, so there is no "enabled" in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRuleDraft {
    /// Its name; never changes.
    pub rule_id: RuleId,
    /// Free text.
    pub description: String,
    /// Which way.
    pub direction: Direction,
    /// The MQTT side: the parent topic with everything below it.
    pub mqtt_topic: MqttTopic,
    /// The RocketMQ side: destination of an outbound rule, source of an inbound one.
    pub rocketmq: Destination,
    /// When a queue of an outbound rule's destination cannot store.
    pub ordering: Ordering,
}

/// Stored intent of a data rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRule {
    /// What the user said.
    pub draft: DataRuleDraft,
    /// Number of the change that made it; never reused.
    pub revision: u64,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// UNIX milliseconds.
    pub updated_at_ms: u64,
}

/// What a user says of a rule of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyRuleDraft {
    /// A status rule.
    Status(RuleDraft),
    /// A data rule.
    Data(DataRuleDraft),
}

/// A stored rule of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyRule {
    /// A status rule.
    Status(Rule),
    /// A data rule.
    Data(DataRule),
}

impl AnyRuleDraft {
    /// Its name.
    #[must_use]
    pub fn rule_id(&self) -> &RuleId {
        match self {
            Self::Status(draft) => &draft.rule_id,
            Self::Data(draft) => &draft.rule_id,
        }
    }

    /// Its type.
    #[must_use]
    pub fn rule_type(&self) -> RuleType {
        match self {
            Self::Status(_) => RuleType::ClientStatusNotification,
            Self::Data(draft) => draft.direction.rule_type(),
        }
    }

    /// Whether it matches; a data rule never does.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        match self {
            Self::Status(draft) => draft.enabled,
            Self::Data(_) => false,
        }
    }

    /// Free text.
    #[must_use]
    pub fn description(&self) -> &str {
        match self {
            Self::Status(draft) => &draft.description,
            Self::Data(draft) => &draft.description,
        }
    }

    /// The RocketMQ topic that it writes or reads.
    #[must_use]
    pub fn rocketmq(&self) -> &Destination {
        match self {
            Self::Status(draft) => &draft.destination,
            Self::Data(draft) => &draft.rocketmq,
        }
    }
}

impl AnyRule {
    /// What the user said.
    #[must_use]
    pub fn draft(&self) -> AnyRuleDraft {
        match self {
            Self::Status(rule) => AnyRuleDraft::Status(rule.draft.clone()),
            Self::Data(rule) => AnyRuleDraft::Data(rule.draft.clone()),
        }
    }

    /// Its name.
    #[must_use]
    pub fn rule_id(&self) -> &RuleId {
        match self {
            Self::Status(rule) => &rule.draft.rule_id,
            Self::Data(rule) => &rule.draft.rule_id,
        }
    }

    /// Number of the change that made it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        match self {
            Self::Status(rule) => rule.revision,
            Self::Data(rule) => rule.revision,
        }
    }

    /// UNIX milliseconds.
    #[must_use]
    pub fn created_at_ms(&self) -> u64 {
        match self {
            Self::Status(rule) => rule.created_at_ms,
            Self::Data(rule) => rule.created_at_ms,
        }
    }

    /// UNIX milliseconds.
    #[must_use]
    pub fn updated_at_ms(&self) -> u64 {
        match self {
            Self::Status(rule) => rule.updated_at_ms,
            Self::Data(rule) => rule.updated_at_ms,
        }
    }
}
