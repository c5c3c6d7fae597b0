//! A rule as a request gives it, and what is wrong with it.
//!
//! Unknown fields are refused: a misspelt `mappping` must not silently give the default. What the
//! server makes itself is ignored, so that what GET answers can be changed and sent back.

mod mapping;

use std::borrow::Cow;

use domain::{
    AnyRuleDraft, DataRuleDraft, Destination, Direction, GroupId, InstanceId, MqttTopic,
    OnActivate, Ordering, RuleDraft, RuleId, RuleType, TopicName,
};
use pipeline::control::{ControlCode, data_rule_held};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use self::mapping::MappingIn;
use crate::api_error::ApiError;
use crate::extract::make_whole;
use crate::openapi::words;
use crate::strict_json;

/// Longer rule ids are cut to it, as ApsaraMQ for MQTT does.
const RULE_ID_CHARS_MAX: usize = 64;
/// A description is for people.
const DESCRIPTION_BYTES_MAX: usize = 1024;
/// How the RocketMQ side of a rule may look.
const ROCKETMQ_EXAMPLE: &str =
    "{\"service\": \"rocketmq\", \"instanceId\": \"embedded\", \"topic\": \"TopicB\"}";
/// How the MQTT side of a data rule may look.
const MQTT_EXAMPLE: &str = "{\"mqttTopic\": \"ParentTopic\"}";
const STATUSES: [(&str, bool); 2] = [("enabled", true), ("disabled", false)];

/// The body of POST and PUT.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RuleRequest)]
pub(crate) struct RuleIn {
    /// The rule; must be given to create one, and cannot be changed.
    #[schema(value_type = words::RuleIdText, required = false)]
    rule_id: Option<String>,
    /// For people; at most 1,024 bytes.
    #[serde(default)]
    #[schema(max_length = 1024, required = false)]
    description: String,
    /// `enabled` by default, `disabled` for data rules.
    #[schema(value_type = words::RuleStatusWord, required = false)]
    status: Option<String>,
    /// What the rule is for.
    #[schema(value_type = words::RuleTypeWord, required = true)]
    r#type: Option<String>,
    /// Where the events or messages come from.
    #[schema(value_type = EndIn, required = true)]
    source: Option<EndIn>,
    /// Where they go.
    #[schema(value_type = EndIn, required = true)]
    destination: Option<EndIn>,
    /// How events become messages; for client status rules only.
    #[schema(value_type = MappingIn, required = false)]
    mapping: Option<MappingIn>,
    /// For client status rules only; `none` by default.
    #[schema(value_type = words::OnActivateWord, required = false)]
    on_activate: Option<String>,
    /// What the host said; ignored, so that a rule can be sent back.
    #[serde(rename = "revision")]
    #[schema(value_type = serde_json::Value, required = false)]
    _revision: Option<IgnoredAny>,
    /// What the host said; ignored, so that a rule can be sent back.
    #[serde(rename = "createdAt")]
    #[schema(value_type = serde_json::Value, required = false)]
    _created_at: Option<IgnoredAny>,
    /// What the host said; ignored, so that a rule can be sent back.
    #[serde(rename = "updatedAt")]
    #[schema(value_type = serde_json::Value, required = false)]
    _updated_at: Option<IgnoredAny>,
    /// What the host said; ignored, so that a rule can be sent back.
    #[serde(rename = "warnings")]
    #[schema(value_type = serde_json::Value, required = false)]
    _warnings: Option<IgnoredAny>,
    /// What the host said; ignored, so that a rule can be sent back.
    #[serde(rename = "state")]
    #[schema(value_type = serde_json::Value, required = false)]
    _state: Option<IgnoredAny>,
    /// What the host said; ignored, so that a rule can be sent back.
    #[serde(rename = "managedBy")]
    #[schema(value_type = serde_json::Value, required = false)]
    _managed_by: Option<IgnoredAny>,
}

/// A source or a destination; which fields it has depends on the rule's type.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RuleEndRequest)]
struct EndIn {
    /// Of the source of a client status rule.
    #[schema(value_type = words::GroupIdText, required = false)]
    group_id: Option<String>,
    /// Of the MQTT end of a data rule.
    #[schema(value_type = words::MqttTopicText, required = false)]
    mqtt_topic: Option<String>,
    /// Of the RocketMQ end.
    #[schema(value_type = words::ServiceWord, required = false)]
    service: Option<String>,
    /// Of the RocketMQ end: a configured instance.
    #[schema(value_type = words::InstanceIdText, required = false)]
    instance_id: Option<String>,
    /// Of the RocketMQ end.
    #[schema(value_type = words::TopicText, required = false)]
    topic: Option<String>,
    /// Of a RocketMQ destination; `strict` by default.
    #[schema(value_type = words::OrderingWord, required = false)]
    ordering: Option<String>,
}

/// A checked rule and what the user should know of the check.
#[derive(Debug)]
pub(crate) struct CheckedRule {
    pub(crate) draft: AnyRuleDraft,
    pub(crate) warnings: Vec<String>,
}

/// Reads a rule id; a longer one is cut and gives a warning.
pub(crate) fn parse_rule_id(text: &str) -> Result<(RuleId, Option<String>), ApiError> {
    let mut cut = Cow::Borrowed(text);
    let mut warning = None;
    if text.chars().count() > RULE_ID_CHARS_MAX {
        cut = text.chars().take(RULE_ID_CHARS_MAX).collect();
        warning = Some(format!(
            "ruleId has more than {RULE_ID_CHARS_MAX} characters and was cut to {cut}"
        ));
    }
    match RuleId::parse(&cut) {
        Ok(id) => Ok((id, warning)),
        Err(error) => Err(ApiError::name(ControlCode::InvalidRuleId, "ruleId", &error)),
    }
}

/// Parses a body. Broken JSON is `invalid_json`; JSON that is no rule is `invalid_rule`.
pub(crate) fn parse_rule(bytes: &[u8]) -> Result<RuleIn, ApiError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid_json(format!("the body is not JSON: {error}")))?;
    let rule = rule_from_value(value)?;
    // Of two fields with one name, a value silently keeps the last.
    match serde_json::from_slice::<RuleIn>(bytes) {
        Err(error) if error.to_string().starts_with("duplicate field") => {
            Err(invalid(error.to_string()))
        }
        _ => Ok(rule),
    }
}

/// Reads a rule, with the same words for whichever way it came.
pub(crate) fn rule_from_value(mut value: Value) -> Result<RuleIn, ApiError> {
    let read = strict_json::from_value(&value);
    let read = read.or_else(|error| {
        // The plugin's configuration is its own: there, 1.0 may mean something else than 1.
        let config = value.pointer_mut("/mapping/config").map(Value::take);
        let is_other = make_whole(&mut value);
        if let Some(place) = value.pointer_mut("/mapping/config") {
            *place = config.unwrap_or_default();
        }
        let again = is_other.then(|| strict_json::from_value(&value).ok());
        again.flatten().ok_or(error)
    });
    read.map_err(|error| invalid(error.to_string()))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::of(ControlCode::InvalidRule, message)
}

fn need<T>(value: Option<T>, field: &str, example: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| {
        invalid(format!(
            "{field} is missing; it must be given, such as {example}"
        ))
    })
}

/// One of `choices`; the first if nothing is given.
fn choose<T: Copy>(
    text: Option<&str>,
    field: &str,
    choices: &[(&str, T)],
    default: T,
) -> Result<T, ApiError> {
    let Some(text) = text else { return Ok(default) };
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Err(invalid(format!(
                "{field} is {text:?}; it must be {}",
                names.join(", ")
            )))
        }
    }
}

impl RuleIn {
    /// Checks everything that needs no knowledge of the host. `path_id` is the id in the path of PUT.
    pub(crate) fn check(self, path_id: Option<&RuleId>) -> Result<CheckedRule, ApiError> {
        let mut warnings = Vec::new();
        let rule_id = self.rule_id(path_id, &mut warnings)?;
        let types = RuleType::ALL.map(|it| (it.as_str(), it));
        let type_text = need(self.r#type.clone(), "type", "\"clientStatusNotification\"")?;
        let rule_type = choose(
            Some(&type_text),
            "type",
            &types,
            RuleType::ClientStatusNotification,
        )?;
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return Err(invalid(format!(
                "description has more than {DESCRIPTION_BYTES_MAX} bytes"
            )));
        }
        let draft = match rule_type {
            RuleType::ClientStatusNotification => AnyRuleDraft::Status(self.status_rule(rule_id)?),
            RuleType::DataOutbound => {
                AnyRuleDraft::Data(self.data_rule(rule_id, Direction::Outbound, &mut warnings)?)
            }
            RuleType::DataInbound => {
                AnyRuleDraft::Data(self.data_rule(rule_id, Direction::Inbound, &mut warnings)?)
            }
        };
        Ok(CheckedRule { draft, warnings })
    }

    fn status_rule(self, rule_id: RuleId) -> Result<RuleDraft, ApiError> {
        let source = need(self.source, "source", "{\"groupId\": \"GID_Example\"}")?;
        let destination = need(self.destination, "destination", ROCKETMQ_EXAMPLE)?;
        let activations = [OnActivate::None, OnActivate::Snapshot].map(|on| (on.as_str(), on));
        Ok(RuleDraft {
            rule_id,
            enabled: choose(self.status.as_deref(), "status", &STATUSES, true)?,
            group_id: source.group()?,
            ordering: destination.ordering("destination")?,
            destination: destination.rocketmq("destination")?,
            mapping: self.mapping.unwrap_or_default().check()?,
            on_activate: choose(
                self.on_activate.as_deref(),
                "onActivate",
                &activations,
                OnActivate::None,
            )?,
            description: self.description,
        })
    }

    fn data_rule(
        self,
        rule_id: RuleId,
        direction: Direction,
        warnings: &mut Vec<String>,
    ) -> Result<DataRuleDraft, ApiError> {
        match self.status.as_deref() {
            None => warnings.push(
                "a data rule is kept disabled: this version carries no messages for it".to_owned(),
            ),
            given => {
                if choose(given, "status", &STATUSES, false)? {
                    return Err(data_rule_held(&rule_id).into());
                }
            }
        }
        let only_status = |field: &str| {
            invalid(format!(
                "{field} is for rules of type clientStatusNotification only"
            ))
        };
        if self.mapping.is_some() {
            return Err(only_status("mapping"));
        }
        if self.on_activate.is_some() {
            return Err(only_status("onActivate"));
        }
        let (source, destination) = match direction {
            Direction::Outbound => (MQTT_EXAMPLE, ROCKETMQ_EXAMPLE),
            Direction::Inbound => (ROCKETMQ_EXAMPLE, MQTT_EXAMPLE),
        };
        let source = need(self.source, "source", source)?;
        let destination = need(self.destination, "destination", destination)?;
        let (mqtt_topic, rocketmq, ordering) = match direction {
            Direction::Outbound => (
                source.mqtt("source")?,
                destination.rocketmq("destination")?,
                destination.ordering("destination")?,
            ),
            Direction::Inbound => {
                if source.ordering.is_some() {
                    return Err(invalid("source.ordering is for destinations only"));
                }
                (
                    destination.mqtt("destination")?,
                    source.rocketmq("source")?,
                    Ordering::default(),
                )
            }
        };
        Ok(DataRuleDraft {
            rule_id,
            description: self.description,
            direction,
            mqtt_topic,
            rocketmq,
            ordering,
        })
    }

    fn rule_id(
        &self,
        path_id: Option<&RuleId>,
        warnings: &mut Vec<String>,
    ) -> Result<RuleId, ApiError> {
        let body_id = match &self.rule_id {
            Some(text) => {
                let (id, warning) = parse_rule_id(text)?;
                warnings.extend(warning);
                Some(id)
            }
            None => None,
        };
        match (path_id, body_id) {
            (Some(path_id), Some(body_id)) if *path_id != body_id => Err(invalid(format!(
                "ruleId is {body_id}, but the path names {path_id}; a rule's id cannot change"
            ))),
            (Some(path_id), _) => Ok(path_id.clone()),
            (None, body_id) => need(body_id, "ruleId", "\"status-to-topicb\""),
        }
    }
}

impl EndIn {
    /// The source of a status rule.
    fn group(&self) -> Result<GroupId, ApiError> {
        self.refuse_others("source", &["groupId"])?;
        let group_id = need(self.group_id.as_ref(), "source.groupId", "\"GID_Example\"")?;
        GroupId::parse(group_id)
            .map_err(|error| ApiError::name(ControlCode::InvalidGroupId, "source.groupId", &error))
    }

    /// The MQTT side of a data rule.
    fn mqtt(&self, side: &str) -> Result<MqttTopic, ApiError> {
        self.refuse_others(side, &["mqttTopic"])?;
        let field = format!("{side}.mqttTopic");
        let topic = need(self.mqtt_topic.as_ref(), &field, "\"ParentTopic\"")?;
        MqttTopic::parse(topic)
            .map_err(|error| ApiError::name(ControlCode::InvalidRule, &field, &error))
    }

    /// The RocketMQ side.
    fn rocketmq(&self, side: &str) -> Result<Destination, ApiError> {
        self.refuse_others(side, &["service", "instanceId", "topic", "ordering"])?;
        let field = |name: &str| format!("{side}.{name}");
        let service = need(self.service.as_deref(), &field("service"), "\"rocketmq\"")?;
        choose(Some(service), &field("service"), &[("rocketmq", ())], ())?;
        let id_field = field("instanceId");
        let instance_id = need(self.instance_id.as_ref(), &id_field, "\"embedded\"")?;
        let instance_id = InstanceId::parse(instance_id)
            .map_err(|error| ApiError::name(ControlCode::UnknownInstance, &id_field, &error))?;
        let topic_field = field("topic");
        let topic = need(self.topic.as_ref(), &topic_field, "\"TopicB\"")?;
        let topic = TopicName::parse(topic)
            .map_err(|error| ApiError::name(ControlCode::InvalidRule, &topic_field, &error))?;
        Ok(Destination { instance_id, topic })
    }

    fn ordering(&self, side: &str) -> Result<Ordering, ApiError> {
        let orderings = [Ordering::Strict, Ordering::Available].map(|it| (it.as_str(), it));
        choose(
            self.ordering.as_deref(),
            &format!("{side}.ordering"),
            &orderings,
            Ordering::default(),
        )
    }

    /// Refuses a field that this side of this type of rule does not have.
    fn refuse_others(&self, side: &str, allowed: &[&str]) -> Result<(), ApiError> {
        let fields = [
            ("groupId", &self.group_id),
            ("mqttTopic", &self.mqtt_topic),
            ("service", &self.service),
            ("instanceId", &self.instance_id),
            ("topic", &self.topic),
            ("ordering", &self.ordering),
        ];
        let other = fields
            .iter()
            .find(|(name, value)| value.is_some() && !allowed.contains(name));
        match other {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!(
                "{side}.{name} does not belong to a rule of this type; its {side} has {}",
                allowed.join(", ")
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
