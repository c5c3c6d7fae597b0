//! `rulemill audit`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::api::encode;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Cell, Column, Table, date_time, items, print_json, talk};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List who changed what, newest first.
    #[command(after_help = "Examples:
  rulemill audit list
  rulemill audit list --actor token:deploy --resource /v1/rules --limit 1000
  rulemill audit list --outcome refused --output json")]
    List(Filter),
}

/// Which entries.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Who, such as `token:admin`.
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// What: this resource, or one below it, such as `/v1/rules`.
    #[arg(long, value_name = "PATH")]
    resource: Option<String>,
    /// What became of it: `done`, `refused` or `failed`.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

const COLUMNS: &[Column] = &[
    ("AT", Cell::Of(|entry| date_time(entry, "/at"))),
    ("ACTOR", Cell::At("/actor")),
    ("FROM", Cell::At("/peer")),
    ("METHOD", Cell::At("/method")),
    ("RESOURCE", Cell::At("/resource")),
    ("OUTCOME", Cell::At("/outcome")),
    ("REVISION", Cell::At("/revision")),
];

impl AuditCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        let Self::List(filter) = self;
        let mut path = format!("/v1/audit?limit={}", filter.limit);
        for (name, value) in [
            ("actor", &filter.actor),
            ("resource", &filter.resource),
            ("outcome", &filter.outcome),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        let page = connection.api()?.get(&path)?;
        let entries = items(&page, "items");
        if connection.is_json() {
            return print_json(&Value::Array(entries.to_vec()));
        }
        Table::of(COLUMNS, entries).print()?;
        let total = page.get("total").and_then(Value::as_u64).unwrap_or(0);
        if total > entries.len() as u64 {
            talk(format_args!(
                "the newest {} of {total}; --limit shows more",
                entries.len()
            ));
        }
        Ok(())
    }
}
