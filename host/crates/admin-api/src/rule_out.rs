//! A rule as the API shows it.

use domain::VersionSelector;
use pipeline::control::{RuleState, RuleView};
use serde::Serialize;
use serde_json::Value;

/// See `RuleIn` for what may be sent back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleOut {
    rule_id: String,
    description: String,
    status: &'static str,
    r#type: &'static str,
    source: SourceOut,
    destination: DestinationOut,
    mapping: MappingOut,
    on_activate: &'static str,
    revision: u64,
    created_at: u64,
    updated_at: u64,
    warnings: Vec<String>,
    state: StateOut,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceOut {
    group_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DestinationOut {
    service: &'static str,
    instance_id: String,
    topic: String,
    ordering: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MappingOut {
    plugin: String,
    version: Value,
    config: Value,
    limits: LimitsOut,
    on_fault: &'static str,
    on_reject: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitsOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_deadline_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StateOut {
    health: &'static str,
    since: u64,
    reason: Option<String>,
    plugin_version: Option<u32>,
    plugin_digest: Option<String>,
    generation: u64,
}

impl RuleOut {
    pub(crate) fn rule_id(&self) -> &str {
        &self.rule_id
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
        let draft = view.rule.draft;
        let mapping = draft.mapping;
        Self {
            rule_id: draft.rule_id.to_string(),
            description: draft.description,
            status: if draft.enabled { "enabled" } else { "disabled" },
            r#type: draft.rule_type.as_str(),
            source: SourceOut {
                group_id: draft.group_id.to_string(),
            },
            destination: DestinationOut {
                service: "rocketmq",
                instance_id: draft.destination.instance_id.to_string(),
                topic: draft.destination.topic.to_string(),
                ordering: draft.ordering.as_str(),
            },
            mapping: MappingOut {
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
            },
            on_activate: draft.on_activate.as_str(),
            revision: view.rule.revision,
            created_at: view.rule.created_at_ms,
            updated_at: view.rule.updated_at_ms,
            warnings: view.warnings,
            state: view.state.into(),
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
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{IncarnationId, Rule};
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
        let rule = Rule {
            draft: draft.clone(),
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
        };
        let shown = serde_json::to_value(RuleOut::from(RuleView {
            rule,
            state,
            warnings: vec!["w".to_owned()],
        }))
        .unwrap();
        let mut expected = body;
        expected.as_object_mut().unwrap().extend(
            json!({
                "revision": 3, "createdAt": 4, "updatedAt": 5, "warnings": ["w"],
                "state": { "health": "disabled", "since": 6, "reason": null, "pluginVersion": 2,
                           "pluginDigest": null, "generation": 7 },
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
