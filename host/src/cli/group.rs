//! `rulemill group`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::encode;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Cell, Consent, Table, print_json, talk};

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// Create a group. Needed only if groups.auto-create is false or the group was deleted.
    #[command(after_help = "Example:
  rulemill group create GID_Devices")]
    Create {
        /// 7 to 64 characters, starting with `GID_` or `GID-`.
        group_id: String,
    },
    /// List all groups.
    #[command(after_help = "Example:
  rulemill group list --output json")]
    List,
    /// Delete a group. Its clients are refused until it is created again.
    #[command(after_help = "Example:
  rulemill group delete GID_Devices --yes")]
    Delete {
        group_id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

impl GroupCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Create { group_id } => {
                let group = connection
                    .api()?
                    .post("/v1/groups", Some(&json!({ "groupId": group_id })))?;
                show(connection, &[group])
            }
            Self::List => {
                let groups = connection.api()?.list("/v1/groups")?;
                show(connection, &groups)
            }
            Self::Delete { group_id, consent } => {
                consent.ask(&format!("Delete group {group_id}?"))?;
                connection
                    .api()?
                    .delete(&format!("/v1/groups/{}", encode(&group_id)))?;
                talk(format_args!("group {group_id} deleted"));
                Ok(())
            }
        }
    }
}

fn show(connection: &Connection, groups: &[Value]) -> Result<(), Failure> {
    if connection.is_json() {
        return print_json(&Value::Array(groups.to_vec()));
    }
    Table::of(&[("GROUP", Cell::At("/groupId"))], groups).print()
}
