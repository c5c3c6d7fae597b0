//! `rulemill client`.

use clap::Subcommand;
use serde_json::Value;

use super::api::encode;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Cell, Table, field, items, print_json, talk};

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// List clients: those that are connected and those that were, as far as they are remembered.
    #[command(after_help = "Examples:
  rulemill client list --group GID_Devices --online
  rulemill client list --limit 1000 --output json")]
    List {
        /// Of this group only.
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// Only those that are connected.
        #[arg(long, conflicts_with = "offline")]
        online: bool,
        /// Only those that are not connected.
        #[arg(long)]
        offline: bool,
        /// How many at most, up to 1000.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one client.
    #[command(after_help = "Example:
  rulemill client show GID_Devices@@@d1")]
    Show { client_id: String },
    /// Close a client's connection; it may connect again.
    #[command(after_help = "Example:
  rulemill client close GID_Devices@@@d1")]
    Close { client_id: String },
}

impl ClientCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::List {
                group,
                online,
                offline,
                limit,
            } => {
                let mut path = format!("/v1/clients?limit={limit}");
                if let Some(group) = group {
                    path.push_str(&format!("&groupId={}", encode(&group)));
                }
                if online || offline {
                    path.push_str(&format!("&online={online}"));
                }
                list(connection, &connection.api()?.get(&path)?)
            }
            Self::Show { client_id } => {
                let client = connection
                    .api()?
                    .get(&format!("/v1/clients/{}", encode(&client_id)))?;
                if connection.is_json() {
                    print_json(&client)
                } else {
                    table(&[client])
                }
            }
            Self::Close { client_id } => {
                connection
                    .api()?
                    .delete(&format!("/v1/clients/{}", encode(&client_id)))?;
                talk(format_args!("connection of {client_id} closed"));
                Ok(())
            }
        }
    }
}

fn list(connection: &Connection, page: &Value) -> Result<(), Failure> {
    let clients = items(page, "items");
    if connection.is_json() {
        print_json(&Value::Array(clients.to_vec()))?;
    } else {
        table(clients)?;
    }
    if page.get("nextPageToken").is_some_and(Value::is_string) {
        talk(format_args!(
            "{} of {} clients; see --limit",
            clients.len(),
            field(page, "/total")
        ));
    }
    Ok(())
}

fn table(clients: &[Value]) -> Result<(), Failure> {
    let columns = [
        ("CLIENT", Cell::At("/clientId")),
        ("ONLINE", Cell::At("/online")),
        ("PROTOCOL", Cell::At("/protocol")),
        ("ADDRESS", Cell::At("/clientIp")),
        ("USER", Cell::At("/username")),
        ("CHANNEL", Cell::At("/channelId")),
    ];
    Table::of(&columns, clients).print()
}
