//! How rules, incarnations, plugins and groups look on disk: own mirror types as JSON.
//!
//! New fields need a default, so that older records still read.

use domain::{
    Actor, AnyRule, DataRule, DataRuleDraft, Destination, Direction, GroupId, IncarnationId,
    InstanceId, Mapped, MappingLimits, MqttTopic, OnActivate, OnFault, OnReject, Ordering,
    PluginDigest, PluginName, Rule, RuleDraft, RuleId, RuleType, TopicName, VersionSelector,
};
use serde::{Deserialize, Serialize};

use crate::mirror::mirror;

use super::{GroupRecord, IncarnationRecord, MetaStoreError, PluginRecord};

mirror!(StoredRuleType of RuleType { ClientStatusNotification, DataOutbound, DataInbound });
mirror!(StoredOnFault of OnFault { DeadLetter, Retry, Skip, Default });
mirror!(StoredOnReject of OnReject { DeadLetter, Skip });
mirror!(StoredOnActivate of OnActivate { None, Snapshot });
mirror!(StoredOrdering of Ordering { Strict, Available });

/// What records from before this field mean.
fn strict() -> StoredOrdering {
    StoredOrdering::Strict
}

/// Who uploaded what is from before this field.
fn unknown() -> String {
    "unknown".to_owned()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredDestination {
    instance_id: String,
    topic: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredMapping {
    plugin: String,
    version: String,
    config: String,
    memory_bytes_max: Option<u64>,
    call_deadline_ms: Option<u64>,
    on_fault: StoredOnFault,
    on_reject: StoredOnReject,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredRule {
    description: String,
    enabled: bool,
    rule_type: StoredRuleType,
    group_id: String,
    destination: StoredDestination,
    #[serde(default = "strict")]
    ordering: StoredOrdering,
    mapping: StoredMapping,
    on_activate: StoredOnActivate,
    revision: u64,
    incarnation: u32,
    created_at_ms: u64,
    updated_at_ms: u64,
}

/// What is the same in the records of all rules: by it a record is told from one of another kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredKind {
    rule_type: StoredRuleType,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredDataRule {
    description: String,
    rule_type: StoredRuleType,
    mqtt_topic: String,
    rocketmq: StoredDestination,
    ordering: StoredOrdering,
    revision: u64,
    created_at_ms: u64,
    updated_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredIncarnation {
    rule_id: String,
    group_id: String,
    destination: StoredDestination,
    #[serde(default = "strict")]
    ordering: StoredOrdering,
    revision: u64,
    mapping: StoredMapping,
    is_retired: bool,
    is_discarding: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredPlugin {
    pub(super) digest: String,
    size_bytes: u64,
    exports: Vec<String>,
    imports: Vec<String>,
    created_at_ms: u64,
    #[serde(default = "unknown")]
    created_by: String,
    is_built_in: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredGroup {
    created_at_ms: u64,
    is_deleted: bool,
}

impl StoredDestination {
    fn of(destination: &Destination) -> Self {
        Self {
            instance_id: destination.instance_id.as_str().to_owned(),
            topic: destination.topic.as_str().to_owned(),
        }
    }

    fn restore(&self) -> Result<Destination, domain::ParseNameError> {
        Ok(Destination {
            instance_id: InstanceId::parse(&self.instance_id)?,
            topic: TopicName::parse(&self.topic)?,
        })
    }
}

impl StoredMapping {
    fn of(mapping: &Mapped) -> Self {
        Self {
            plugin: mapping.plugin.as_str().to_owned(),
            version: mapping.version.to_string(),
            config: mapping.config.clone(),
            memory_bytes_max: mapping.limits.memory_bytes_max,
            call_deadline_ms: mapping.limits.call_deadline_ms,
            on_fault: mapping.on_fault.into(),
            on_reject: mapping.on_reject.into(),
        }
    }

    fn restore(self) -> Result<Mapped, domain::ParseNameError> {
        Ok(Mapped {
            plugin: PluginName::parse(&self.plugin)?,
            version: VersionSelector::parse(&self.version)?,
            config: self.config,
            limits: MappingLimits {
                memory_bytes_max: self.memory_bytes_max,
                call_deadline_ms: self.call_deadline_ms,
            },
            on_fault: self.on_fault.into(),
            on_reject: self.on_reject.into(),
        })
    }
}

impl StoredRule {
    pub(super) fn of(rule: &Rule) -> Self {
        let draft = &rule.draft;
        Self {
            description: draft.description.clone(),
            enabled: draft.enabled,
            rule_type: StoredRuleType::ClientStatusNotification,
            group_id: draft.group_id.as_str().to_owned(),
            destination: StoredDestination::of(&draft.destination),
            ordering: draft.ordering.into(),
            mapping: StoredMapping::of(&draft.mapping),
            on_activate: draft.on_activate.into(),
            revision: rule.revision,
            incarnation: rule.incarnation.0,
            created_at_ms: rule.created_at_ms,
            updated_at_ms: rule.updated_at_ms,
        }
    }

    fn restore(self, rule_id: &str) -> Result<Rule, domain::ParseNameError> {
        Ok(Rule {
            draft: RuleDraft {
                rule_id: RuleId::parse(rule_id)?,
                description: self.description,
                enabled: self.enabled,
                group_id: GroupId::parse(&self.group_id)?,
                destination: self.destination.restore()?,
                ordering: self.ordering.into(),
                mapping: self.mapping.restore()?,
                on_activate: self.on_activate.into(),
            },
            revision: self.revision,
            incarnation: IncarnationId(self.incarnation),
            created_at_ms: self.created_at_ms,
            updated_at_ms: self.updated_at_ms,
        })
    }
}

impl StoredDataRule {
    fn of(rule: &DataRule) -> Self {
        let draft = &rule.draft;
        Self {
            description: draft.description.clone(),
            rule_type: draft.direction.rule_type().into(),
            mqtt_topic: draft.mqtt_topic.as_str().to_owned(),
            rocketmq: StoredDestination::of(&draft.rocketmq),
            ordering: draft.ordering.into(),
            revision: rule.revision,
            created_at_ms: rule.created_at_ms,
            updated_at_ms: rule.updated_at_ms,
        }
    }

    fn restore(self, rule_id: &str) -> Result<DataRule, domain::ParseNameError> {
        Ok(DataRule {
            draft: DataRuleDraft {
                rule_id: RuleId::parse(rule_id)?,
                description: self.description,
                direction: match self.rule_type {
                    StoredRuleType::DataInbound => Direction::Inbound,
                    StoredRuleType::DataOutbound | StoredRuleType::ClientStatusNotification => {
                        Direction::Outbound
                    }
                },
                mqtt_topic: MqttTopic::parse(&self.mqtt_topic)?,
                rocketmq: self.rocketmq.restore()?,
                ordering: self.ordering.into(),
            },
            revision: self.revision,
            created_at_ms: self.created_at_ms,
            updated_at_ms: self.updated_at_ms,
        })
    }
}

impl StoredIncarnation {
    pub(super) fn of(record: &IncarnationRecord) -> Self {
        Self {
            rule_id: record.rule_id.as_str().to_owned(),
            group_id: record.group_id.as_str().to_owned(),
            destination: StoredDestination::of(&record.destination),
            ordering: record.ordering.into(),
            revision: record.revision,
            mapping: StoredMapping::of(&record.mapping),
            is_retired: record.is_retired,
            is_discarding: record.is_discarding,
        }
    }

    fn restore(self, id: u32) -> Result<IncarnationRecord, domain::ParseNameError> {
        Ok(IncarnationRecord {
            id: IncarnationId(id),
            rule_id: RuleId::parse(&self.rule_id)?,
            group_id: GroupId::parse(&self.group_id)?,
            destination: self.destination.restore()?,
            ordering: self.ordering.into(),
            revision: self.revision,
            mapping: self.mapping.restore()?,
            is_retired: self.is_retired,
            is_discarding: self.is_discarding,
        })
    }
}

impl StoredPlugin {
    pub(super) fn of(record: &PluginRecord) -> Self {
        Self {
            digest: record.digest.to_string(),
            size_bytes: record.size_bytes,
            exports: record.exports.clone(),
            imports: record.imports.clone(),
            created_at_ms: record.created_at_ms,
            created_by: record.created_by.as_str().to_owned(),
            is_built_in: record.is_built_in,
        }
    }

    fn restore(self, name: &str, version: u32) -> Result<PluginRecord, domain::ParseNameError> {
        Ok(PluginRecord {
            name: PluginName::parse(name)?,
            version,
            digest: PluginDigest::parse(&self.digest)?,
            size_bytes: self.size_bytes,
            exports: self.exports,
            imports: self.imports,
            created_at_ms: self.created_at_ms,
            created_by: Actor::stored(&self.created_by),
            is_built_in: self.is_built_in,
        })
    }
}

impl StoredGroup {
    pub(super) fn of(record: &GroupRecord) -> Self {
        Self {
            created_at_ms: record.created_at_ms,
            is_deleted: record.is_deleted,
        }
    }

    fn restore(&self, group_id: &str) -> Result<GroupRecord, domain::ParseNameError> {
        Ok(GroupRecord {
            group_id: GroupId::parse(group_id)?,
            created_at_ms: self.created_at_ms,
            is_deleted: self.is_deleted,
        })
    }
}

/// The JSON of a rule of any type.
pub(super) fn rule_json(rule: &AnyRule) -> Result<Vec<u8>, serde_json::Error> {
    match rule {
        AnyRule::Status(rule) => serde_json::to_vec(&StoredRule::of(rule)),
        AnyRule::Data(rule) => serde_json::to_vec(&StoredDataRule::of(rule)),
    }
}

pub(super) fn rule(key: &str, json: &[u8]) -> Result<AnyRule, MetaStoreError> {
    match read("rule", key, json, |kind: StoredKind| Ok(kind.rule_type))? {
        StoredRuleType::ClientStatusNotification => {
            let restore = |stored: StoredRule| stored.restore(key);
            read("rule", key, json, restore).map(AnyRule::Status)
        }
        StoredRuleType::DataOutbound | StoredRuleType::DataInbound => {
            let restore = |stored: StoredDataRule| stored.restore(key);
            read("rule", key, json, restore).map(AnyRule::Data)
        }
    }
}

pub(super) fn incarnation(key: u32, json: &[u8]) -> Result<IncarnationRecord, MetaStoreError> {
    read(
        "incarnation",
        &key.to_string(),
        json,
        |stored: StoredIncarnation| stored.restore(key),
    )
}

pub(super) fn plugin(
    name: &str,
    version: u32,
    json: &[u8],
) -> Result<PluginRecord, MetaStoreError> {
    let key = format!("{name} {version}");
    read("plugin", &key, json, |stored: StoredPlugin| {
        stored.restore(name, version)
    })
}

pub(super) fn group(key: &str, json: &[u8]) -> Result<GroupRecord, MetaStoreError> {
    read("group", key, json, |stored: StoredGroup| {
        stored.restore(key)
    })
}

pub(super) fn read<S: for<'de> Deserialize<'de>, T>(
    what: &'static str,
    key: &str,
    json: &[u8],
    restore: impl FnOnce(S) -> Result<T, domain::ParseNameError>,
) -> Result<T, MetaStoreError> {
    let damaged = |detail: String| MetaStoreError::Damaged {
        what,
        key: key.to_owned(),
        detail,
    };
    let stored = serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
    restore(stored).map_err(|error| damaged(error.to_string()))
}
