//! `rulemill rule`.

mod history;
mod parts;
mod shown;
mod trial;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::api::{Api, encode};
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{Consent, field, items, print_json, talk};
use parts::{Parts, parse_object, put};
use shown::{details, table};

#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand {
    /// Create a rule: the status events of a group go to a RocketMQ topic.
    ///
    /// Rules of the two data types are kept disabled: this version carries no messages for them.
    #[command(after_help = "Examples:
  rulemill rule create devices --group GID_Devices --topic ClientStatus
  rulemill rule create devices --group GID_Devices --instance embedded --topic ClientStatus --plugin cloudevents
  rulemill rule create devices --group GID_Devices --topic ClientStatus --config '{\"remark\": true}'
  rulemill rule create telemetry --type dataOutbound --mqtt-topic Telemetry --topic TopicT")]
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
  rulemill rule edit devices --topic OtherTopic --description 'moved'
  rulemill rule edit telemetry --type dataInbound --mqtt-topic Commands")]
    Edit(EditArgs),
    /// Let a rule match again.
    #[command(after_help = "Example:
  rulemill rule enable devices")]
    Enable { rule_id: String },
    /// Stop a rule from matching; what is queued is still delivered.
    #[command(after_help = "Example:
  rulemill rule disable devices")]
    Disable { rule_id: String },
    /// Show who changed a rule, when and what; the last 100 revisions are kept.
    #[command(after_help = "Example:
  rulemill rule history devices")]
    History { rule_id: String },
    /// Make a rule what it was at an earlier revision, as a new revision.
    #[command(after_help = "Example:
  rulemill rule rollback devices --revision 7")]
    Rollback {
        rule_id: String,
        /// As `rule history` shows it.
        #[arg(long, value_name = "N")]
        revision: u64,
        /// Do it even if its topic is missing or RocketMQ cannot be reached.
        #[arg(long)]
        force: bool,
    },
    /// Show a rule's last events with what became of them.
    #[command(after_help = "Example:
  rulemill rule sample devices")]
    Sample { rule_id: String },
    /// Show what a rule makes of an event. Nothing is sent.
    #[command(after_help = "Examples:
  rulemill rule test devices                                            a made-up connect
  rulemill rule test devices --sample 1                                 the rule's last event
  rulemill rule test devices --event '{\"eventType\": \"tcpclean\", \"clientId\": \"GID_Devices@@@d1\"}'")]
    Test {
        rule_id: String,
        /// The event as the API shows it; what is left out gets a fixed value.
        #[arg(long, value_name = "JSON", value_parser = parse_object, conflicts_with = "sample")]
        event: Option<Map<String, Value>>,
        /// One of its last events: 1 is the last.
        #[arg(long, value_name = "N")]
        sample: Option<usize>,
    },
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

/// The types of rules.
const RULE_TYPES: [&str; 3] = ["clientStatusNotification", "dataOutbound", "dataInbound"];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Pending {
    Deliver,
    Discard,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// 3 to 64 letters, digits, `-` and `_`.
    rule_id: String,
    /// What kind of rule.
    #[arg(long = "type", value_name = "TYPE", default_value = RULE_TYPES[0])]
    rule_type: String,
    /// Whose events, such as `GID_Devices`; for a status rule.
    #[arg(
        long,
        value_name = "GROUP",
        required_if_eq("rule_type", "clientStatusNotification")
    )]
    group: Option<String>,
    /// The MQTT parent topic; for a data rule.
    #[arg(long, value_name = "TOPIC", required_if_eq_any([("rule_type", "dataOutbound"), ("rule_type", "dataInbound")]))]
    mqtt_topic: Option<String>,
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
    /// Make it a rule of another type. Its RocketMQ end stays; its mapping goes if the new type has none.
    #[arg(long = "type", value_name = "TYPE", value_parser = RULE_TYPES)]
    rule_type: Option<String>,
    /// Whose events.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The MQTT parent topic of a data rule.
    #[arg(long, value_name = "TOPIC")]
    mqtt_topic: Option<String>,
    /// The RocketMQ topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    parts: Parts,
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
            Self::History { rule_id } => history::show(connection, &api()?, &rule_id),
            Self::Rollback {
                rule_id,
                revision,
                force,
            } => {
                let path = format!("{}/rollback?force={force}", path(&rule_id));
                let rule = api()?.post(&path, Some(&json!({ "revision": revision })))?;
                show_changed(connection, rule)
            }
            Self::Sample { rule_id } => trial::sample(connection, &api()?, &rule_id),
            Self::Test {
                rule_id,
                event,
                sample,
            } => trial::test(connection, &api()?, &rule_id, event, sample),
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

/// Which end of a rule is which.
struct Ends {
    mqtt: &'static str,
    rocketmq: &'static str,
}

/// RocketMQ is the source of an inbound rule.
fn ends(rule_type: &str) -> Ends {
    let (mqtt, rocketmq) = if rule_type == "dataInbound" {
        ("destination", "source")
    } else {
        ("source", "destination")
    };
    Ends { mqtt, rocketmq }
}

fn create(connection: &Connection, api: &Api, arguments: CreateArgs) -> Result<(), Failure> {
    let CreateArgs {
        rule_id,
        rule_type,
        group,
        mqtt_topic,
        topic,
        disabled,
        mut parts,
    } = arguments;
    let instance = match parts.instance.take() {
        Some(instance) => instance,
        None => only_instance(api)?,
    };
    let rocketmq = json!({ "service": "rocketmq", "instanceId": instance, "topic": topic });
    let mut rule = json!({ "ruleId": rule_id, "type": rule_type });
    // What belongs to another type is sent, too: the host says that it does not belong there.
    let mqtt = json!({ "groupId": group, "mqttTopic": mqtt_topic });
    let mqtt = mqtt.as_object().into_iter().flatten();
    let mqtt: Map<_, _> = mqtt
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let ends = ends(&rule_type);
    put(&mut rule, "", ends.mqtt, Some(mqtt.into()));
    put(&mut rule, "", ends.rocketmq, Some(rocketmq));
    if disabled {
        put(&mut rule, "", "status", Some("disabled".into()));
    }
    if rule_type == RULE_TYPES[0] || parts.names_mapping() {
        put(&mut rule, "", "mapping", Some(json!({})));
    }
    let force = parts.force;
    parts.write_into(&mut rule);
    let rule = api.post(&format!("/v1/rules?force={force}"), Some(&rule))?;
    show_changed(connection, rule)
}

fn edit(connection: &Connection, api: &Api, arguments: EditArgs) -> Result<(), Failure> {
    let EditArgs {
        rule_id,
        rule_type,
        group,
        mqtt_topic,
        topic,
        mut parts,
    } = arguments;
    let mut current = api.get_tagged(&path(&rule_id))?;
    let before = current.value.clone();
    if let Some(rule_type) = rule_type {
        change_type(&mut current.value, &rule_type);
    }
    put(
        &mut current.value,
        "/source",
        "groupId",
        group.map(Value::from),
    );
    let ends = ends(&field(&current.value, "/type"));
    let [mqtt, rocketmq] = [ends.mqtt, ends.rocketmq].map(|name| format!("/{name}"));
    let parts_of_ends = [
        (&mqtt, "mqttTopic", mqtt_topic),
        (&rocketmq, "topic", topic),
        (&rocketmq, "instanceId", parts.instance.take()),
    ];
    for (place, name, value) in parts_of_ends {
        put(&mut current.value, place, name, value.map(Value::from));
    }
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

/// Makes `rule` one of another type: the RocketMQ end moves to where that type has it, what belongs to the old type goes.
fn change_type(rule: &mut Value, rule_type: &str) {
    let before = field(rule, "/type");
    if before == rule_type {
        return;
    }
    let (from, to) = (ends(&before), ends(rule_type));
    let mut take = |name| rule.get_mut(name).map(Value::take);
    let (mut rocketmq, mut mqtt) = (take(from.rocketmq), take(from.mqtt));
    // Only a destination has it.
    if to.rocketmq == "source"
        && let Some(Value::Object(fields)) = &mut rocketmq
    {
        fields.remove("ordering");
    }
    // Both data types have a parent topic, a status rule has a group.
    if [before.as_str(), rule_type].contains(&RULE_TYPES[0]) {
        mqtt = Some(json!({}));
    }
    put(rule, "", "type", Some(rule_type.into()));
    put(rule, "", to.rocketmq, rocketmq);
    put(rule, "", to.mqtt, mqtt);
    let Some(fields) = rule.as_object_mut() else {
        return;
    };
    if rule_type == RULE_TYPES[0] {
        fields.insert("mapping".to_owned(), json!({}));
    } else {
        // Data rules are kept disabled, and say so by themselves.
        for name in ["mapping", "onActivate", "status"] {
            fields.remove(name);
        }
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

#[cfg(test)]
mod tests;
