//! `rulemill rule`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::api::{Api, encode};
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{Cell, Consent, Table, field, items, print_json, talk};

#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand {
    /// Create a rule: the status events of a group go to a RocketMQ topic.
    #[command(after_help = "Examples:
  rulemill rule create devices --group GID_Devices --topic ClientStatus
  rulemill rule create devices --group GID_Devices --instance embedded --topic ClientStatus --plugin cloudevents
  rulemill rule create devices --group GID_Devices --topic ClientStatus --config '{\"remark\": true}'")]
    Create(CreateArgs),
    /// List all rules.
    #[command(after_help = "Example:
  rulemill rule list --output json")]
    List,
    /// Show one rule with everything.
    #[command(after_help = "Example:
  rulemill rule show devices")]
    Show { rule_id: String },
    /// Change parts of a rule while it runs.
    #[command(after_help = "Examples:
  rulemill rule edit devices --plugin cloudevents
  rulemill rule edit devices --topic OtherTopic --description 'moved'")]
    Edit(EditArgs),
    /// Let a rule match again.
    #[command(after_help = "Example:
  rulemill rule enable devices")]
    Enable { rule_id: String },
    /// Stop a rule from matching; what is queued is still delivered.
    #[command(after_help = "Example:
  rulemill rule disable devices")]
    Disable { rule_id: String },
    /// Delete a rule.
    #[command(after_help = "Examples:
  rulemill rule delete devices --yes
  rulemill rule delete devices --pending discard --yes")]
    Delete {
        rule_id: String,
        /// What happens to its queued events.
        #[arg(long, value_enum, default_value_t = Pending::Deliver)]
        pending: Pending,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Pending {
    Deliver,
    Discard,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// 3 to 64 letters, digits, `-` and `_`.
    rule_id: String,
    /// Whose events, such as `GID_Devices`.
    #[arg(long, value_name = "GROUP")]
    group: String,
    /// The RocketMQ topic.
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// Create it without letting it match.
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    parts: Parts,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    rule_id: String,
    /// Whose events.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The RocketMQ topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    parts: Parts,
}

#[derive(Debug, Args)]
struct Parts {
    /// The RocketMQ instance, by its name in the configuration; for a new rule the only one by default.
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// When a queue cannot store: its clients wait for it (`strict`), or move to another one and may
    /// lose their order then (`available`); strict by default.
    #[arg(long, value_parser = ["strict", "available"])]
    ordering: Option<String>,
    /// The plugin that maps events to messages; apsaramq-status by default.
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<String>,
    /// `latest`, a number, or a sha256: digest.
    #[arg(long, value_name = "VERSION")]
    plugin_version: Option<String>,
    /// The plugin's configuration, a JSON object.
    #[arg(long, value_name = "JSON", value_parser = parse_object)]
    config: Option<Map<String, Value>>,
    /// Linear memory of one instance of the plugin, such as 64MiB for one in Python; by default
    /// plugins.memory of the host.
    #[arg(long, value_name = "SIZE")]
    memory: Option<bytesize::ByteSize>,
    /// Free text.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What happens to an event on which the plugin faults.
    #[arg(long, value_parser = ["deadLetter", "retry", "skip", "default"])]
    on_fault: Option<String>,
    /// What happens to an event that the plugin rejects.
    #[arg(long, value_parser = ["deadLetter", "skip"])]
    on_reject: Option<String>,
    /// Save it even if the topic is missing or RocketMQ cannot be reached.
    #[arg(long)]
    force: bool,
}

fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("must be a JSON object such as {{\"remark\": true}}: {error}"))
}

impl RuleCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        let api = || connection.api();
        match self {
            Self::Create(arguments) => create(connection, &api()?, arguments),
            Self::List => {
                let rules = api()?.list("/v1/rules")?;
                if connection.is_json() {
                    print_json(&Value::Array(rules))
                } else {
                    table(&rules)
                }
            }
            Self::Show { rule_id } => {
                let rule = api()?.get(&path(&rule_id))?;
                if connection.is_json() {
                    print_json(&rule)
                } else {
                    details(&rule)
                }
            }
            Self::Edit(arguments) => edit(connection, &api()?, arguments),
            Self::Enable { rule_id } => {
                let rule = api()?.post(&format!("{}/enable", path(&rule_id)), None)?;
                show_changed(connection, rule)
            }
            Self::Disable { rule_id } => {
                let rule = api()?.post(&format!("{}/disable", path(&rule_id)), None)?;
                show_changed(connection, rule)
            }
            Self::Delete {
                rule_id,
                pending,
                consent,
            } => {
                let (pending, what) = match pending {
                    Pending::Deliver => ("deliver", "deliver"),
                    Pending::Discard => ("discard", "DISCARD"),
                };
                consent.ask(&format!(
                    "Delete rule {rule_id} and {what} its queued events?"
                ))?;
                api()?.delete(&format!("{}?pending={pending}", path(&rule_id)))?;
                talk(format_args!("rule {rule_id} deleted"));
                Ok(())
            }
        }
    }
}

fn path(rule_id: &str) -> String {
    format!("/v1/rules/{}", encode(rule_id))
}

fn create(connection: &Connection, api: &Api, arguments: CreateArgs) -> Result<(), Failure> {
    let CreateArgs {
        rule_id,
        group,
        topic,
        disabled,
        mut parts,
    } = arguments;
    let instance = match parts.instance.take() {
        Some(instance) => instance,
        None => only_instance(api)?,
    };
    let mut rule = json!({
        "ruleId": rule_id,
        "status": if disabled { "disabled" } else { "enabled" },
        "type": "clientStatusNotification",
        "source": { "groupId": group },
        "destination": { "service": "rocketmq", "instanceId": instance, "topic": topic },
        "mapping": {},
    });
    let force = parts.force;
    parts.write_into(&mut rule);
    let rule = api.post(&format!("/v1/rules?force={force}"), Some(&rule))?;
    show_changed(connection, rule)
}

fn edit(connection: &Connection, api: &Api, arguments: EditArgs) -> Result<(), Failure> {
    let EditArgs {
        rule_id,
        group,
        topic,
        mut parts,
    } = arguments;
    let mut current = api.get_tagged(&path(&rule_id))?;
    let before = current.value.clone();
    put(
        &mut current.value,
        "/source",
        "groupId",
        group.map(Value::from),
    );
    put(
        &mut current.value,
        "/destination",
        "topic",
        topic.map(Value::from),
    );
    put(
        &mut current.value,
        "/destination",
        "instanceId",
        parts.instance.take().map(Value::from),
    );
    let force = parts.force;
    parts.write_into(&mut current.value);
    if current.value == before && !force {
        return Err(Failure::usage(format!(
            "nothing to change in rule {rule_id}; see `rulemill rule edit --help`"
        )));
    }
    // The id of the answer: the one that was typed may have been cut.
    let path = path(&field(&before, "/ruleId"));
    let rule = api.put(
        &format!("{path}?force={force}"),
        &current.value,
        current.etag.as_deref(),
    )?;
    show_changed(connection, rule)
}

impl Parts {
    /// Writes what was given into a rule.
    fn write_into(self, rule: &mut Value) {
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

fn put(rule: &mut Value, place: &str, name: &str, value: Option<Value>) {
    if let Some(value) = value
        && let Some(Value::Object(object)) = rule.pointer_mut(place)
    {
        object.insert(name.to_owned(), value);
    }
}

/// The RocketMQ instance of a command that names none.
pub(super) fn only_instance(api: &Api) -> Result<String, Failure> {
    let instances = api.list("/v1/rocketmq-instances")?;
    match instances.as_slice() {
        [instance] => Ok(field(instance, "/instanceId")),
        [] => Err(Failure::new(
            Exit::NotFound,
            "the host has no RocketMQ instance; add one to its configuration as [rocketmq.instances.NAME]",
        )),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|instance| field(instance, "/instanceId"))
                .collect();
            Err(Failure::usage(format!(
                "the host has several RocketMQ instances; say --instance {}",
                names.join(" or ")
            )))
        }
    }
}

/// Shows a rule after a change; its warnings are talk.
fn show_changed(connection: &Connection, rule: Value) -> Result<(), Failure> {
    let warnings = items(&rule, "warnings").iter();
    for warning in warnings.filter_map(Value::as_str) {
        talk(format_args!("warning: {warning}"));
    }
    if connection.is_json() {
        print_json(&rule)
    } else {
        table(&[rule])
    }
}

fn table(rules: &[Value]) -> Result<(), Failure> {
    let columns = [
        ("RULE", Cell::At("/ruleId")),
        ("STATUS", Cell::At("/status")),
        ("HEALTH", Cell::At("/state/health")),
        ("GROUP", Cell::At("/source/groupId")),
        ("DESTINATION", Cell::Of(destination)),
        ("PLUGIN", Cell::Of(plugin)),
        ("REASON", Cell::At("/state/reason")),
    ];
    Table::of(&columns, rules).print()
}

fn destination(rule: &Value) -> String {
    let instance = field(rule, "/destination/instanceId");
    format!("{instance}/{}", field(rule, "/destination/topic"))
}

fn plugin(rule: &Value) -> String {
    let name = field(rule, "/mapping/plugin");
    format!("{name} {}", field(rule, "/state/pluginVersion"))
}

fn details(rule: &Value) -> Result<(), Failure> {
    let lines = [
        ("RULE", Cell::At("/ruleId")),
        ("description", Cell::At("/description")),
        ("status", Cell::At("/status")),
        ("health", Cell::At("/state/health")),
        ("reason", Cell::At("/state/reason")),
        ("type", Cell::At("/type")),
        ("group", Cell::At("/source/groupId")),
        ("instance", Cell::At("/destination/instanceId")),
        ("topic", Cell::At("/destination/topic")),
        ("ordering", Cell::At("/destination/ordering")),
        ("plugin", Cell::At("/mapping/plugin")),
        ("version", Cell::At("/mapping/version")),
        ("version in use", Cell::At("/state/pluginVersion")),
        ("digest in use", Cell::At("/state/pluginDigest")),
        ("config", Cell::At("/mapping/config")),
        ("on fault", Cell::At("/mapping/onFault")),
        ("on reject", Cell::At("/mapping/onReject")),
        ("revision", Cell::At("/revision")),
    ];
    Table::details(&lines, rule).print()
}

#[cfg(test)]
mod tests;
