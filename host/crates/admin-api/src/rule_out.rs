//! A rule as the API shows it.

use std::collections::BTreeMap;

use domain::{AnyRuleDraft, Destination, Direction, Mapped, Ordering, VersionSelector};
use pipeline::control::{MapperView, RuleState, RuleView};
use serde::Serialize;
use serde_json::Value;

use crate::openapi::words;

/// What a user says of a rule: the part that can be sent back, that `export` prints and that the
/// history compares.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleBody)]
pub(crate) struct RuleBody {
    #[schema(value_type = words::RuleIdText)]
    rule_id: String,
    description: String,
    #[schema(value_type = words::RuleStatusWord)]
    status: &'static str,
    #[schema(value_type = words::RuleTypeWord)]
    r#type: &'static str,
    source: EndOut,
    destination: EndOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<MappingOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnActivateWord>)]
    on_activate: Option<&'static str>,
}

/// A rule with what the host says of it. See `RuleIn` for what may be sent back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Rule)]
pub(crate) struct RuleOut {
    #[serde(flatten)]
    body: RuleBody,
    /// Grows by one with each change.
    revision: u64,
    #[schema(value_type = words::TimeMs)]
    created_at: u64,
    #[schema(value_type = words::TimeMs)]
    updated_at: u64,
    /// The file of the folder of rules that it comes from.
    managed_by: Option<String>,
    /// What whoever changed it should know.
    warnings: Vec<String>,
    state: StateOut,
}

/// A source or a destination; its fields depend on the rule's type.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleEnd)]
struct EndOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::GroupIdText>)]
    group_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::MqttTopicText>)]
    mqtt_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::ServiceWord>)]
    service: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::InstanceIdText>)]
    instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::TopicText>)]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OrderingWord>)]
    ordering: Option<&'static str>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Mapping)]
struct MappingOut {
    #[schema(value_type = words::PluginNameText)]
    plugin: String,
    #[schema(value_type = words::VersionChoice)]
    version: Value,
    #[schema(value_type = words::ConfigChoice)]
    config: Value,
    limits: LimitsOut,
    #[schema(value_type = words::OnFaultWord)]
    on_fault: &'static str,
    #[schema(value_type = words::OnRejectWord)]
    on_reject: &'static str,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MappingLimits)]
struct LimitsOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_deadline_ms: Option<u64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleState)]
struct StateOut {
    #[schema(value_type = words::HealthWord)]
    health: &'static str,
    /// When it became so.
    #[schema(value_type = words::TimeMs)]
    since: u64,
    /// Why, if it is not as it should be.
    reason: Option<String>,
    /// Of the plugin that maps now.
    plugin_version: Option<u32>,
    #[schema(value_type = Option<words::PluginDigestText>)]
    plugin_digest: Option<String>,
    /// Grows with each plugin or configuration that is loaded.
    generation: u64,
    mapper: Option<MapperOut>,
}

/// What the plugin's present generation did since it was loaded.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MapperState)]
struct MapperOut {
    calls: u64,
    faults: u64,
    /// In calls, nanoseconds.
    busy_ns: u64,
    /// Warm ones, now.
    instances: u64,
    /// The plugin's own counters.
    counters: BTreeMap<String, u64>,
    /// Additions to counters beyond those that are kept.
    counters_dropped: u64,
}

impl From<MapperView> for MapperOut {
    fn from(view: MapperView) -> Self {
        Self {
            calls: view.calls,
            faults: view.faults,
            busy_ns: view.busy_ns,
            instances: view.instances,
            counters: view.counters.into_iter().collect(),
            counters_dropped: view.counters_dropped,
        }
    }
}

impl RuleOut {
    pub(crate) fn rule_id(&self) -> &str {
        &self.body.rule_id
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Puts warnings of the request before those of the change.
    pub(crate) fn warn_first(&mut self, warnings: Vec<String>) {
        self.warnings.splice(0..0, warnings);
    }
}

impl From<RuleView> for RuleOut {
    fn from(view: RuleView) -> Self {
        let rule = &view.rule;
        Self {
            body: rule.draft().into(),
            revision: rule.revision(),
            created_at: rule.created_at_ms(),
            updated_at: rule.updated_at_ms(),
            managed_by: view.managed_by,
            warnings: view.warnings,
            state: view.state.into(),
        }
    }
}

impl From<AnyRuleDraft> for RuleBody {
    fn from(draft: AnyRuleDraft) -> Self {
        let r#type = draft.rule_type().as_str();
        let status = if draft.is_enabled() {
            "enabled"
        } else {
            "disabled"
        };
        let (rule_id, description) = (draft.rule_id().to_string(), draft.description().to_owned());
        let (source, destination, mapping, on_activate) = match draft {
            AnyRuleDraft::Status(draft) => (
                EndOut::group(draft.group_id.to_string()),
                EndOut::rocketmq(&draft.destination, Some(draft.ordering)),
                Some(MappingOut::from(draft.mapping)),
                Some(draft.on_activate.as_str()),
            ),
            AnyRuleDraft::Data(draft) => {
                let mqtt = EndOut::mqtt(draft.mqtt_topic.to_string());
                match draft.direction {
                    Direction::Outbound => {
                        let rocketmq = EndOut::rocketmq(&draft.rocketmq, Some(draft.ordering));
                        (mqtt, rocketmq, None, None)
                    }
                    Direction::Inbound => {
                        (EndOut::rocketmq(&draft.rocketmq, None), mqtt, None, None)
                    }
                }
            }
        };
        Self {
            rule_id,
            description,
            status,
            r#type,
            source,
            destination,
            mapping,
            on_activate,
        }
    }
}

impl EndOut {
    fn group(group_id: String) -> Self {
        Self {
            group_id: Some(group_id),
            ..Self::default()
        }
    }

    fn mqtt(mqtt_topic: String) -> Self {
        Self {
            mqtt_topic: Some(mqtt_topic),
            ..Self::default()
        }
    }

    fn rocketmq(end: &Destination, ordering: Option<Ordering>) -> Self {
        Self {
            service: Some("rocketmq"),
            instance_id: Some(end.instance_id.to_string()),
            topic: Some(end.topic.to_string()),
            ordering: ordering.map(Ordering::as_str),
            ..Self::default()
        }
    }
}

impl From<Mapped> for MappingOut {
    fn from(mapping: Mapped) -> Self {
        Self {
            plugin: mapping.plugin.to_string(),
            version: match mapping.version {
                VersionSelector::Number(number) => number.into(),
                other @ (VersionSelector::Latest | VersionSelector::Digest(_)) => {
                    other.to_string().into()
                }
            },
            // What was stored was checked to be an object.
            config: serde_json::from_str(&mapping.config).unwrap_or(Value::Null),
            limits: LimitsOut {
                memory_bytes_max: mapping.limits.memory_bytes_max,
                call_deadline_ms: mapping.limits.call_deadline_ms,
            },
            on_fault: mapping.on_fault.as_str(),
            on_reject: mapping.on_reject.as_str(),
        }
    }
}

impl From<RuleState> for StateOut {
    fn from(state: RuleState) -> Self {
        Self {
            health: state.health.as_str(),
            since: state.since_ms,
            reason: state.reason,
            plugin_version: state.plugin_version,
            plugin_digest: state.plugin_digest.map(|digest| digest.to_string()),
            generation: state.generation,
            mapper: state.mapper.map(MapperOut::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{AnyRule, AnyRuleDraft, IncarnationId, Rule};
    use pipeline::control::{Health, RuleState, RuleView};
    use serde_json::json;

    use super::RuleOut;
    use crate::rule_in::parse_rule;

    #[test]
    fn a_rule_looks_as_documented_and_can_be_sent_back() {
        let body = json!({
            "ruleId": "status-to-topicb",
            "description": "migrated",
            "status": "disabled",
            "type": "clientStatusNotification",
            "source": { "groupId": "GID_Client_Status" },
            "destination": { "service": "rocketmq", "instanceId": "embedded", "topic": "TopicB", "ordering": "available" },
            "mapping": { "plugin": "apsaramq-status", "version": 2, "config": { "remark": true },
                         "limits": { "memoryBytesMax": 1024 }, "onFault": "skip", "onReject": "skip" },
            "onActivate": "none",
        });
        let draft = parse_rule(body.to_string().as_bytes())
            .unwrap()
            .check(None)
            .unwrap()
            .draft;
        let AnyRuleDraft::Status(status_draft) = draft.clone() else {
            panic!("another type of rule");
        };
        let rule = Rule {
            draft: status_draft,
            revision: 3,
            incarnation: IncarnationId(1),
            created_at_ms: 4,
            updated_at_ms: 5,
        };
        let state = RuleState {
            health: Health::Disabled,
            since_ms: 6,
            reason: None,
            plugin_version: Some(2),
            plugin_digest: None,
            generation: 7,
            mapper: None,
        };
        let shown = serde_json::to_value(RuleOut::from(RuleView {
            rule: AnyRule::Status(rule),
            state,
            warnings: vec!["w".to_owned()],
            managed_by: None,
        }))
        .unwrap();
        let mut expected = body;
        expected.as_object_mut().unwrap().extend(
            json!({
                "revision": 3, "createdAt": 4, "updatedAt": 5, "warnings": ["w"], "managedBy": null,
                "state": { "health": "disabled", "since": 6, "reason": null, "pluginVersion": 2,
                           "pluginDigest": null, "generation": 7, "mapper": null },
            })
            .as_object()
            .unwrap()
            .clone(),
        );
        assert_eq!(shown, expected);
        let again = parse_rule(shown.to_string().as_bytes())
            .unwrap()
            .check(None)
            .unwrap();
        assert_eq!(again.draft, draft);
    }
}
