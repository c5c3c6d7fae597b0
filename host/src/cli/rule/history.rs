//! `rulemill rule history`.

use serde_json::Value;

use super::super::api::Api;
use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::output::{Cell, Table, date_time, field, items, print_json};
use super::path;

pub(super) fn show(connection: &Connection, api: &Api, rule_id: &str) -> Result<(), Failure> {
    let revisions = api.list(&format!("{}/history", path(rule_id)))?;
    if connection.is_json() {
        return print_json(&Value::Array(revisions));
    }
    let columns = [
        ("REVISION", Cell::At("/revision")),
        ("WHEN", Cell::Of(|it| date_time(it, "/at"))),
        ("BY", Cell::At("/by")),
        ("CHANGE", Cell::At("/change")),
        ("DIFFERENCE", Cell::Of(difference)),
    ];
    Table::of(&columns, &revisions).print()
}

fn difference(revision: &Value) -> String {
    let one = |it: &Value| {
        format!(
            "{}: {} -> {}",
            field(it, "/field"),
            field(it, "/from"),
            field(it, "/to")
        )
    };
    let all: Vec<_> = items(revision, "difference").iter().map(one).collect();
    if all.is_empty() {
        "-".to_owned()
    } else {
        all.join("; ")
    }
}
