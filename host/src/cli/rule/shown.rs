//! Rules as tables.

use serde_json::Value;

use super::super::failure::Failure;
use super::super::output::{Cell, Table, field};

pub(super) fn table(rules: &[Value]) -> Result<(), Failure> {
    let columns = [
        ("RULE", Cell::At("/ruleId")),
        ("STATUS", Cell::At("/status")),
        ("HEALTH", Cell::At("/state/health")),
        ("SOURCE", Cell::Of(source)),
        ("DESTINATION", Cell::Of(destination)),
        ("PLUGIN", Cell::Of(plugin)),
        ("REASON", Cell::At("/state/reason")),
    ];
    Table::of(&columns, rules).print()
}

fn source(rule: &Value) -> String {
    end(rule, "/source")
}

fn destination(rule: &Value) -> String {
    end(rule, "/destination")
}

/// A group, an MQTT topic, or instance and topic of RocketMQ.
fn end(rule: &Value, place: &str) -> String {
    let part = |name: &str| field(rule, &format!("{place}/{name}"));
    match (part("groupId"), part("mqttTopic")) {
        (group, _) if group != "-" => group,
        (_, mqtt) if mqtt != "-" => format!("mqtt:{mqtt}"),
        _ => format!("{}/{}", part("instanceId"), part("topic")),
    }
}

fn plugin(rule: &Value) -> String {
    match field(rule, "/mapping/plugin") {
        none if none == "-" => none,
        name => format!("{name} {}", field(rule, "/state/pluginVersion")),
    }
}

pub(super) fn details(rule: &Value) -> Result<(), Failure> {
    let lines = [
        ("RULE", Cell::At("/ruleId")),
        ("description", Cell::At("/description")),
        ("status", Cell::At("/status")),
        ("health", Cell::At("/state/health")),
        ("reason", Cell::At("/state/reason")),
        ("type", Cell::At("/type")),
        ("source", Cell::Of(source)),
        ("destination", Cell::Of(destination)),
        ("ordering", Cell::At("/destination/ordering")),
        ("plugin", Cell::At("/mapping/plugin")),
        ("version", Cell::At("/mapping/version")),
        ("version in use", Cell::At("/state/pluginVersion")),
        ("digest in use", Cell::At("/state/pluginDigest")),
        ("config", Cell::At("/mapping/config")),
        ("on fault", Cell::At("/mapping/onFault")),
        ("on reject", Cell::At("/mapping/onReject")),
        ("managed by", Cell::At("/managedBy")),
        ("revision", Cell::At("/revision")),
    ];
    Table::details(&lines, rule).print()
}
