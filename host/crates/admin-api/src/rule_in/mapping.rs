//! The mapping of a rule as a request gives it.

use std::borrow::Cow;

use domain::{Mapped, MappingLimits, OnFault, OnReject, PluginName, VersionSelector};
use pipeline::control::ControlCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{choose, invalid};
use crate::api_error::ApiError;
use crate::openapi::words;

/// The plugin of a rule that names none.
const DEFAULT_PLUGIN: &str = "apsaramq-status";

#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = MappingRequest)]
pub(super) struct MappingIn {
    /// `apsaramq-status` by default.
    #[schema(value_type = words::PluginNameText, required = false)]
    plugin: Option<String>,
    /// `latest` by default.
    #[schema(value_type = words::VersionChoice, required = false)]
    version: Option<Value>,
    /// Nothing by default.
    #[schema(value_type = words::ConfigChoice, required = false)]
    config: Option<Value>,
    /// Where they differ from the host's.
    #[serde(default)]
    #[schema(required = false)]
    limits: LimitsIn,
    /// `deadLetter` by default.
    #[schema(value_type = words::OnFaultWord, required = false)]
    on_fault: Option<String>,
    /// `deadLetter` by default.
    #[schema(value_type = words::OnRejectWord, required = false)]
    on_reject: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = MappingLimitsRequest)]
struct LimitsIn {
    /// Linear memory of an instance, bytes; at most 256 MiB, or `plugins.memory` if that is more.
    #[schema(minimum = 1)]
    memory_bytes_max: Option<u64>,
    /// CPU time of one call, milliseconds; at most 100, or `plugins.call-deadline` if that is more.
    #[schema(minimum = 1)]
    call_deadline_ms: Option<u64>,
}

impl MappingIn {
    pub(super) fn check(self) -> Result<Mapped, ApiError> {
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
            config: config(self.config)?,
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

/// An object, or the JSON text of one: TOML cannot say everything that JSON can.
fn config(value: Option<Value>) -> Result<String, ApiError> {
    let object = match value {
        None => Value::Object(Map::new()),
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(|error| {
            invalid(format!("mapping.config is text that is not JSON: {error}"))
        })?,
        Some(other) => other,
    };
    if object.is_object() {
        Ok(sorted(object).to_string())
    } else {
        Err(invalid(
            "mapping.config must be an object: a map of names to values",
        ))
    }
}

/// The same with the names of each object in order, so that equal configurations are equal texts.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<_> = object.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            let fields = fields.into_iter();
            Value::Object(fields.map(|(name, value)| (name, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
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
