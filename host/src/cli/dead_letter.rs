//! `rulemill dead-letter`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, encode};
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{Cell, Column, Consent, Table, field, items, print_json, talk};

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
    /// List dead letters, newest first: events that a plugin rejected or failed on, or that RocketMQ refused.
    #[command(after_help = "Examples:
  rulemill dead-letter list
  rulemill dead-letter list --rule devices --reason refused --limit 1000 --output json")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many at most, up to 1000.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one dead letter with its event.
    #[command(after_help = "Example:
  rulemill dead-letter show 17")]
    Show { id: u64 },
    /// Send dead letters again, through their rules as they are today; exit 4 if some were skipped.
    #[command(after_help = "Examples:
  rulemill dead-letter replay 17 18
  rulemill dead-letter replay --rule devices
  rulemill dead-letter replay 17 --force        also the connect of a channel that is closed by now")]
    Replay {
        #[command(flatten)]
        chosen: Chosen,
        /// Also a connect whose channel is closed by now: its consumer will take the client for online.
        #[arg(long)]
        force: bool,
    },
    /// Delete dead letters for good.
    #[command(after_help = "Examples:
  rulemill dead-letter delete 17 --yes
  rulemill dead-letter delete --rule devices --yes")]
    Delete {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Of this rule only.
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Of this client only.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Only those that died of this.
    #[arg(long, value_parser = ["rejected", "fault", "refused"])]
    reason: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Chosen {
    /// These dead letters.
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
    /// All of this rule.
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
}

const PATH: &str = "/v1/dead-letters";

impl DeadLetterCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::List { filter, limit } => {
                let path = format!("{PATH}?limit={limit}{}", filter.query());
                list(connection, &connection.api()?.get(&path)?)
            }
            Self::Show { id } => {
                let letter = connection.api()?.get(&format!("{PATH}/{id}"))?;
                if connection.is_json() {
                    print_json(&letter)
                } else {
                    details(&letter)
                }
            }
            Self::Replay { chosen, force } => replay(connection, &connection.api()?, chosen, force),
            Self::Delete { chosen, consent } => delete(connection, &chosen, &consent),
        }
    }
}

impl Filter {
    fn query(&self) -> String {
        let parts = [
            ("ruleId", &self.rule),
            ("clientId", &self.client),
            ("reason", &self.reason),
        ];
        let given = parts.iter().filter_map(|(name, value)| {
            let value = value.as_deref()?;
            Some(format!("&{name}={}", encode(value)))
        });
        given.collect()
    }
}

fn list(connection: &Connection, page: &Value) -> Result<(), Failure> {
    let letters = items(page, "items");
    if connection.is_json() {
        print_json(&Value::Array(letters.to_vec()))?;
    } else {
        let columns = [
            ("ID", Cell::At("/id")),
            ("RULE", Cell::At("/ruleId")),
            ("REASON", Cell::At("/reason")),
            ("EVENT", Cell::At("/event/eventType")),
            ("CLIENT", Cell::At("/event/clientId")),
            ("SEQUENCE", Cell::At("/event/sequence")),
            ("DETAIL", Cell::At("/detail")),
        ];
        Table::of(&columns, letters).print()?;
    }
    if page.get("nextPageToken").is_some_and(Value::is_string) {
        talk(format_args!(
            "{} of {} dead letters; see --limit",
            letters.len(),
            field(page, "/total")
        ));
    }
    Ok(())
}

fn details(letter: &Value) -> Result<(), Failure> {
    let lines: [Column; 14] = [
        ("ID", Cell::At("/id")),
        ("rule", Cell::At("/ruleId")),
        ("revision", Cell::At("/revision")),
        ("plugin digest", Cell::At("/pluginDigest")),
        ("reason", Cell::At("/reason")),
        ("detail", Cell::At("/detail")),
        ("buried at", Cell::At("/at")),
        ("event", Cell::At("/event/eventType")),
        ("event id", Cell::At("/event/eventId")),
        ("client", Cell::At("/event/clientId")),
        ("channel", Cell::At("/event/channelId")),
        ("sequence", Cell::At("/event/sequence")),
        ("time", Cell::At("/event/time")),
        ("attributes", Cell::At("/event/attributes")),
    ];
    Table::details(&lines, letter).print()
}

fn replay(connection: &Connection, api: &Api, chosen: Chosen, force: bool) -> Result<(), Failure> {
    let answer = match (chosen.ids.as_slice(), chosen.rule) {
        // One letter has an answer of its own when it or its rule is not there.
        ([id], None) => api.post(
            &format!("{PATH}/{id}/replay"),
            Some(&json!({ "force": force })),
        )?,
        (_, Some(rule)) => api.post(
            &format!("{PATH}:replay"),
            Some(&json!({ "ruleId": rule, "force": force })),
        )?,
        (ids, None) => api.post(
            &format!("{PATH}:replay"),
            Some(&json!({ "ids": ids, "force": force })),
        )?,
    };
    for skipped in items(&answer, "reasons") {
        talk(format_args!(
            "dead letter {} skipped: {}",
            field(skipped, "/id"),
            field(skipped, "/reason")
        ));
    }
    if connection.is_json() {
        print_json(&answer)?;
    } else {
        talk(format_args!(
            "{} replayed, {} skipped",
            field(&answer, "/replayed"),
            field(&answer, "/skipped")
        ));
    }
    match answer.get("skipped").and_then(Value::as_u64) {
        None | Some(0) => Ok(()),
        Some(skipped) => {
            let message = format!("not replayed: {skipped}");
            Err(Failure::new(Exit::Conflict, message))
        }
    }
}

fn delete(connection: &Connection, chosen: &Chosen, consent: &Consent) -> Result<(), Failure> {
    if let Some(rule) = &chosen.rule {
        consent.ask(&format!("Delete all dead letters of rule {rule}?"))?;
        let path = format!("{PATH}?ruleId={}", encode(rule));
        let answer = connection.api()?.delete_many(&path)?;
        talk(format_args!(
            "{} dead letters deleted",
            field(&answer, "/deleted")
        ));
        return Ok(());
    }
    let ids: Vec<String> = chosen.ids.iter().map(ToString::to_string).collect();
    consent.ask(&format!("Delete dead letter {}?", ids.join(", ")))?;
    let api = connection.api()?;
    for id in ids {
        api.delete(&format!("{PATH}/{id}"))?;
        talk(format_args!("dead letter {id} deleted"));
    }
    Ok(())
}
