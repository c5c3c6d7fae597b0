//! `rulemill events`.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::api::encode;
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{date_time, field, print_line, talk};

/// For as long as somebody looks.
const TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Of this group only.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Of this client only.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// The same as --output json: one line of JSON per event.
    #[arg(long)]
    json: bool,
}

impl EventsArgs {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        let mut path = "/v1/events?rules=false".to_owned();
        for (name, value) in [("groupId", &self.group), ("clientId", &self.client)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        let is_json = self.json || connection.is_json();
        let mut kind = String::new();
        for line in connection.api()?.lines(&path, TIMEOUT)? {
            let line = line.map_err(|error| {
                Failure::new(Exit::Unreachable, format!("the host went away: {error}"))
            })?;
            if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data:") {
                show(&kind, data.trim_start(), is_json)?;
            }
        }
        Err(Failure::new(Exit::Unreachable, "the host ended the events"))
    }
}

fn show(kind: &str, data: &str, is_json: bool) -> Result<(), Failure> {
    let value: Value = serde_json::from_str(data).unwrap_or_default();
    if kind == "missed" {
        // Not among the events: whoever reads those would take it for one.
        talk(format_args!(
            "{} events were missed: they came faster than they were read",
            field(&value, "/missed")
        ));
        return Ok(());
    }
    if kind != "status" {
        return Ok(());
    }
    print_line(&if is_json {
        data.to_owned()
    } else {
        readable(&value)
    })
}

fn readable(event: &Value) -> String {
    let reason = match field(event, "/reason") {
        none if none == "-" => String::new(),
        reason => format!("  {reason}"),
    };
    format!(
        "{}  {:<10}  {}  {}  {}{reason}",
        date_time(event, "/time"),
        field(event, "/eventType"),
        field(event, "/clientId"),
        field(event, "/clientIp"),
        field(event, "/channelId")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::readable;

    #[test]
    fn an_event_is_one_line() {
        let event = json!({ "time": 1_795_573_125_000_u64, "eventType": "tcpclean", "clientId": "GID_A@@@d1",
            "clientIp": "192.0.2.7:50312", "channelId": "c", "reason": "kicked" });
        assert_eq!(
            readable(&event),
            "2026-11-25T02:18:45Z  tcpclean    GID_A@@@d1  192.0.2.7:50312  c  kicked"
        );
    }
}
