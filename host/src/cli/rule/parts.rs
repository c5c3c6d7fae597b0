//! The parts of a rule that can be given when it is created and when it is edited.

use clap::Args;
use serde_json::{Map, Value};

#[derive(Debug, Args)]
pub(super) struct Parts {
    /// The RocketMQ instance, by its name in the configuration; for a new rule the only one by default.
    #[arg(long, value_name = "INSTANCE")]
    pub(super) instance: Option<String>,
    /// When a queue cannot store: its clients wait for it (`strict`), or move to another one and may
    /// lose their order then (`available`); strict by default.
    #[arg(long, value_parser = ["strict", "available"])]
    pub(super) ordering: Option<String>,
    /// The plugin that maps events to messages; apsaramq-status by default.
    #[arg(long, value_name = "PLUGIN")]
    pub(super) plugin: Option<String>,
    /// `latest`, a number, or a sha256: digest.
    #[arg(long, value_name = "VERSION")]
    pub(super) plugin_version: Option<String>,
    /// The plugin's configuration, a JSON object.
    #[arg(long, value_name = "JSON", value_parser = parse_object)]
    pub(super) config: Option<Map<String, Value>>,
    /// Linear memory of one instance of the plugin, such as 64MiB for one in Python; by default
    /// plugins.memory of the host.
    #[arg(long, value_name = "SIZE")]
    pub(super) memory: Option<bytesize::ByteSize>,
    /// Free text.
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// What happens to an event on which the plugin faults.
    #[arg(long, value_parser = ["deadLetter", "retry", "skip", "default"])]
    pub(super) on_fault: Option<String>,
    /// What happens to an event that the plugin rejects.
    #[arg(long, value_parser = ["deadLetter", "skip"])]
    pub(super) on_reject: Option<String>,
    /// Save it even if the topic is missing or RocketMQ cannot be reached.
    #[arg(long)]
    pub(super) force: bool,
}

pub(super) fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("must be a JSON object such as {{\"remark\": true}}: {error}"))
}

impl Parts {
    /// Whether something of the mapping was given.
    pub(super) fn names_mapping(&self) -> bool {
        self.plugin.is_some()
            || self.plugin_version.is_some()
            || self.config.is_some()
            || self.memory.is_some()
            || self.on_fault.is_some()
            || self.on_reject.is_some()
    }

    /// Writes what was given into a rule.
    pub(super) fn write_into(self, rule: &mut Value) {
        // The number of another plugin's version means nothing.
        let is_other_plugin = self
            .plugin
            .as_deref()
            .is_some_and(|plugin| rule.pointer("/mapping/plugin") != Some(&plugin.into()));
        let version = self
            .plugin_version
            .or_else(|| is_other_plugin.then(|| "latest".to_owned()));
        put(
            rule,
            "/destination",
            "ordering",
            self.ordering.map(Value::from),
        );
        put(rule, "", "description", self.description.map(Value::from));
        put(rule, "/mapping", "plugin", self.plugin.map(Value::from));
        put(
            rule,
            "/mapping",
            "version",
            version.map(|text| {
                text.parse::<u32>()
                    .map_or_else(|_| text.into(), Value::from)
            }),
        );
        put(rule, "/mapping", "config", self.config.map(Value::Object));
        if let Some(memory) = self.memory {
            let limits = serde_json::json!({ "memoryBytesMax": memory.as_u64() });
            match rule
                .pointer_mut("/mapping/limits")
                .and_then(Value::as_object_mut)
            {
                Some(all) => {
                    all.insert("memoryBytesMax".to_owned(), memory.as_u64().into());
                }
                None => put(rule, "/mapping", "limits", Some(limits)),
            }
        }
        put(rule, "/mapping", "onFault", self.on_fault.map(Value::from));
        put(
            rule,
            "/mapping",
            "onReject",
            self.on_reject.map(Value::from),
        );
    }
}

/// Puts a field into the object at `place`, a JSON pointer, if there is a value for it.
pub(super) fn put(rule: &mut Value, place: &str, name: &str, value: Option<Value>) {
    if let Some(value) = value
        && let Some(Value::Object(object)) = rule.pointer_mut(place)
    {
        object.insert(name.to_owned(), value);
    }
}
