//! `rulemill rule sample` and `rulemill rule test`.

use serde_json::{Map, Value, json};

use super::super::api::Api;
use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::output::{
    Cell, Table, date_time, field, items, print_json, print_line, printable, talk,
};
use super::path;

pub(super) fn sample(connection: &Connection, api: &Api, rule_id: &str) -> Result<(), Failure> {
    let samples = api.list(&format!("{}/sample", path(rule_id)))?;
    if connection.is_json() {
        return print_json(&Value::Array(samples));
    }
    let columns = [
        ("N", Cell::At("/number")),
        ("WHEN", Cell::Of(|it| date_time(it, "/event/time"))),
        ("CLIENT", Cell::At("/event/clientId")),
        ("EVENT", Cell::At("/event/eventType")),
        ("OUTCOME", Cell::At("/outcome")),
        ("VERSION", Cell::At("/pluginVersion")),
        ("BECAME", Cell::Of(became)),
    ];
    Table::of(&columns, &samples).print()
}

fn became(sample: &Value) -> String {
    let reason = field(sample, "/reason");
    if reason != "-" {
        return reason;
    }
    let bodies = items(sample, "messages").iter().map(body);
    bodies.collect::<Vec<_>>().join(" | ")
}

fn body(message: &Value) -> String {
    match message.get("bodyBase64") {
        Some(_) => format!("base64:{}", field(message, "/bodyBase64")),
        None => field(message, "/body"),
    }
}

pub(super) fn test(
    connection: &Connection,
    api: &Api,
    rule_id: &str,
    event: Option<Map<String, Value>>,
    sample: Option<usize>,
) -> Result<(), Failure> {
    let asked = match sample {
        Some(number) => json!({ "sample": number }),
        None => json!({ "event": event.unwrap_or_default() }),
    };
    let run = api.post(&format!("{}/test", path(rule_id)), Some(&asked))?;
    if connection.is_json() {
        return print_json(&run);
    }
    for line in items(&run, "logs") {
        let text = format!("log {}: {}", field(line, "/level"), field(line, "/text"));
        talk(format_args!("{text}"));
    }
    let lines = [
        ("outcome", Cell::At("/outcome")),
        ("reason", Cell::At("/reason")),
        ("event", Cell::At("/event/eventType")),
        ("client", Cell::At("/event/clientId")),
        ("version", Cell::At("/pluginVersion")),
        (
            "time",
            Cell::Of(|run| format!("{} us", field(run, "/timeUs"))),
        ),
        (
            "memory",
            Cell::Of(|run| format!("{} bytes", field(run, "/memoryBytes"))),
        ),
    ];
    Table::details(&lines, &run).print()?;
    for message in items(&run, "messages") {
        let keys = items(message, "keys").iter().filter_map(Value::as_str);
        let text = format!(
            "message to {} {} [{}] {} {}",
            field(message, "/topic"),
            field(message, "/tag"),
            keys.collect::<Vec<_>>().join(" "),
            field(message, "/properties"),
            body(message)
        );
        print_line(&printable(&text))?;
    }
    Ok(())
}
