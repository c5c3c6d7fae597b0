//! A rule as a request gives it, and what is wrong with it.
//!
//! Unknown fields are refused: a misspelt `mappping` must not silently give the default. What the
//! server makes itself is ignored, so that what GET answers can be changed and sent back.

use std::borrow::Cow;

use domain::{
    Destination, GroupId, InstanceId, Mapped, MappingLimits, OnActivate, OnFault, OnReject,
    Ordering, PluginName, RuleDraft, RuleId, RuleType, TopicName, VersionSelector,
};
use pipeline::control::ControlCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::api_error::ApiError;

/// Longer rule ids are cut to it, as ApsaraMQ for MQTT does.
const RULE_ID_CHARS_MAX: usize = 64;
/// A description is for people.
const DESCRIPTION_BYTES_MAX: usize = 1024;
/// The plugin of a rule that names none.
const DEFAULT_PLUGIN: &str = "apsaramq-status";

/// The body of POST and PUT.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RuleIn {
    rule_id: Option<String>,
    #[serde(default)]
    description: String,
    status: Option<String>,
    r#type: Option<String>,
    source: Option<SourceIn>,
    destination: Option<DestinationIn>,
    #[serde(default)]
    mapping: MappingIn,
    on_activate: Option<String>,
    #[serde(rename = "revision")]
    _revision: Option<IgnoredAny>,
    #[serde(rename = "createdAt")]
    _created_at: Option<IgnoredAny>,
    #[serde(rename = "updatedAt")]
    _updated_at: Option<IgnoredAny>,
    #[serde(rename = "warnings")]
    _warnings: Option<IgnoredAny>,
    #[serde(rename = "state")]
    _state: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceIn {
    group_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DestinationIn {
    service: Option<String>,
    instance_id: String,
    topic: String,
    ordering: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MappingIn {
    plugin: Option<String>,
    version: Option<Value>,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    limits: LimitsIn,
    on_fault: Option<String>,
    on_reject: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LimitsIn {
    memory_bytes_max: Option<u64>,
    call_deadline_ms: Option<u64>,
}

/// A checked rule and what the user should know of the check.
#[derive(Debug)]
pub(crate) struct CheckedRule {
    pub(crate) draft: RuleDraft,
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
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => invalid(error.to_string()),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            ApiError::invalid_json(format!("the body is not JSON: {error}"))
        }
    })
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
        let types = [(
            RuleType::ClientStatusNotification.as_str(),
            RuleType::ClientStatusNotification,
        )];
        let type_text = need(self.r#type, "type", "\"clientStatusNotification\"")?;
        let rule_type = choose(
            Some(&type_text),
            "type",
            &types,
            RuleType::ClientStatusNotification,
        )?;
        let source = need(self.source, "source", "{\"groupId\": \"GID_Example\"}")?;
        let group_id = GroupId::parse(&source.group_id).map_err(|error| {
            ApiError::name(ControlCode::InvalidGroupId, "source.groupId", &error)
        })?;
        let example =
            "{\"service\": \"rocketmq\", \"instanceId\": \"embedded\", \"topic\": \"TopicB\"}";
        let (destination, ordering) = need(self.destination, "destination", example)?.check()?;
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return Err(invalid(format!(
                "description has more than {DESCRIPTION_BYTES_MAX} bytes"
            )));
        }
        let statuses = [("enabled", true), ("disabled", false)];
        let activations = [OnActivate::None, OnActivate::Snapshot].map(|on| (on.as_str(), on));
        let draft = RuleDraft {
            rule_id,
            enabled: choose(self.status.as_deref(), "status", &statuses, true)?,
            rule_type,
            group_id,
            destination,
            ordering,
            mapping: self.mapping.check()?,
            on_activate: choose(
                self.on_activate.as_deref(),
                "onActivate",
                &activations,
                OnActivate::None,
            )?,
            description: self.description,
        };
        Ok(CheckedRule { draft, warnings })
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

impl DestinationIn {
    fn check(self) -> Result<(Destination, Ordering), ApiError> {
        let service = need(self.service, "destination.service", "\"rocketmq\"")?;
        choose(
            Some(&service),
            "destination.service",
            &[("rocketmq", ())],
            (),
        )?;
        let orderings = [Ordering::Strict, Ordering::Available].map(|it| (it.as_str(), it));
        let ordering = choose(
            self.ordering.as_deref(),
            "destination.ordering",
            &orderings,
            Ordering::default(),
        )?;
        let instance_id = InstanceId::parse(&self.instance_id).map_err(|error| {
            ApiError::name(
                ControlCode::UnknownInstance,
                "destination.instanceId",
                &error,
            )
        })?;
        let topic = TopicName::parse(&self.topic).map_err(|error| {
            ApiError::name(ControlCode::InvalidRule, "destination.topic", &error)
        })?;
        Ok((Destination { instance_id, topic }, ordering))
    }
}

impl MappingIn {
    fn check(self) -> Result<Mapped, ApiError> {
        let plugin = PluginName::parse(self.plugin.as_deref().unwrap_or(DEFAULT_PLUGIN)).map_err(
            |error| ApiError::name(ControlCode::InvalidPluginName, "mapping.plugin", &error),
        )?;
        let faults = [
            OnFault::DeadLetter,
            OnFault::Retry,
            OnFault::Skip,
            OnFault::Default,
        ];
        let faults = faults.map(|on| (on.as_str(), on));
        let rejects = [OnReject::DeadLetter, OnReject::Skip].map(|on| (on.as_str(), on));
        Ok(Mapped {
            plugin,
            version: version(self.version.as_ref())?,
            config: Value::Object(self.config).to_string(),
            limits: self.limits.check()?,
            on_fault: choose(
                self.on_fault.as_deref(),
                "mapping.onFault",
                &faults,
                OnFault::default(),
            )?,
            on_reject: choose(
                self.on_reject.as_deref(),
                "mapping.onReject",
                &rejects,
                OnReject::default(),
            )?,
        })
    }
}

/// `latest`, a number (as such or as text) or a digest.
fn version(value: Option<&Value>) -> Result<VersionSelector, ApiError> {
    let text = match value {
        None => return Ok(VersionSelector::Latest),
        Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
        Some(other) => Cow::Owned(other.to_string()),
    };
    VersionSelector::parse(&text).map_err(|error| invalid(format!("mapping.version: {error}")))
}

impl LimitsIn {
    fn check(&self) -> Result<MappingLimits, ApiError> {
        let limits = [
            ("memoryBytesMax", self.memory_bytes_max),
            ("callDeadlineMs", self.call_deadline_ms),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, value)| *value == Some(0)) {
            return Err(invalid(format!("mapping.limits.{name} must be above 0")));
        }
        Ok(MappingLimits {
            memory_bytes_max: self.memory_bytes_max,
            call_deadline_ms: self.call_deadline_ms,
        })
    }
}

#[cfg(test)]
mod tests;
