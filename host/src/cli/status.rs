//! `rulemill status`.

use serde_json::Value;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{Cell, Table, field, items, print_json, print_line};

/// Shows the host at a glance.
pub(super) fn show(connection: &Connection) -> Result<(), Failure> {
    let status = connection.api()?.get("/v1/status")?;
    if connection.is_json() {
        return print_json(&status);
    }
    let uptime_s = status.get("uptimeMs").and_then(Value::as_u64).unwrap_or(0) / 1000;
    print_line(&format!(
        "node         {} (rulemill {})",
        field(&status, "/node"),
        field(&status, "/version")
    ))?;
    print_line(&format!("up for       {uptime_s} s"))?;
    print_line(&format!("connections  {}", field(&status, "/connections")))?;
    print_line(&format!(
        "outbox       {} of {} bytes, oldest event {} ms",
        field(&status, "/outbox/bytes"),
        field(&status, "/outbox/bytesMax"),
        field(&status, "/outbox/oldestMs")
    ))?;
    print_line(&format!(
        "             {} dead letters, {} of {} bytes",
        field(&status, "/outbox/deadLetters"),
        field(&status, "/outbox/deadLetterBytes"),
        field(&status, "/outbox/deadLetterBytesMax")
    ))?;
    let names = [
        "observed",
        "matched",
        "unmatched",
        "recorded",
        "refused",
        "replayed",
    ];
    print_line(&format!("events       {}", counts(&status, &names)))?;
    let names = [
        "delivered",
        "skipped",
        "buried",
        "expired",
        "discarded",
        "pending",
    ];
    print_line(&format!("             {}", counts(&status, &names)))?;
    print_line("")?;
    let columns = [
        ("RULE", Cell::At("/ruleId")),
        ("HEALTH", Cell::At("/health")),
        ("RECORDED", Cell::At("/events/recorded")),
        ("DELIVERED", Cell::At("/events/delivered")),
        ("PENDING", Cell::At("/events/pending")),
        ("REFUSED", Cell::At("/events/refused")),
        ("REASON", Cell::At("/reason")),
    ];
    Table::of(&columns, items(&status, "rules")).print()?;
    let draining = items(&status, "draining");
    if draining.is_empty() {
        return Ok(());
    }
    print_line("")?;
    print_line("pending of deleted rules:")?;
    let columns = [
        ("RULE", Cell::At("/ruleId")),
        ("HEALTH", Cell::At("/health")),
        ("PENDING", Cell::At("/pending")),
        ("REASON", Cell::At("/reason")),
    ];
    Table::of(&columns, draining).print()
}

fn counts(status: &Value, names: &[&str]) -> String {
    let count = |name: &&str| format!("{name} {}", field(status, &format!("/events/{name}")));
    names.iter().map(count).collect::<Vec<_>>().join(", ")
}
