//! `rulemill user`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::encode;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Cell, Column, Consent, Table, date_time, print_json, talk};
use super::secret_input::SecretInput;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user, who may connect over MQTT with the name and the secret as password.
    #[command(after_help = "Examples:
  rulemill user add ann --secret-stdin < ann.secret
  printf %s \"$SECRET\" | rulemill user add ann --secret-stdin")]
    Add {
        /// 1 to 64 letters, digits, `-`, `_`, `.`, `@`, `+` and `:`.
        name: String,
        #[command(flatten)]
        secret: SecretInput,
    },
    /// Give a user another password. Connections that are there stay.
    #[command(after_help = "Example:
  rulemill user set-secret ann --secret-stdin < ann.secret")]
    SetSecret {
        name: String,
        #[command(flatten)]
        secret: SecretInput,
    },
    /// List all users.
    #[command(after_help = "Example:
  rulemill user list --output json")]
    List,
    /// Delete a user. Connections that are there stay.
    #[command(after_help = "Example:
  rulemill user delete ann --yes")]
    Delete {
        name: String,
        #[command(flatten)]
        consent: Consent,
    },
}

const COLUMNS: &[Column] = &[
    ("USER", Cell::At("/name")),
    ("CREATED", Cell::Of(|user| date_time(user, "/createdAt"))),
    ("SECRET SET", Cell::Of(|user| date_time(user, "/updatedAt"))),
];

impl UserCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Add { name, secret } => {
                let body = json!({ "name": name, "secret": secret.read()? });
                let user = connection.api()?.post("/v1/users", Some(&body))?;
                show(connection, &[user])
            }
            Self::SetSecret { name, secret } => {
                let body = json!({ "secret": secret.read()? });
                let path = format!("/v1/users/{}", encode(&name));
                let user = connection.api()?.put(&path, &body, None)?;
                show(connection, &[user])
            }
            Self::List => {
                let users = connection.api()?.list("/v1/users")?;
                show(connection, &users)
            }
            Self::Delete { name, consent } => {
                consent.ask(&format!("Delete user {name}?"))?;
                connection
                    .api()?
                    .delete(&format!("/v1/users/{}", encode(&name)))?;
                talk(format_args!("user {name} deleted"));
                Ok(())
            }
        }
    }
}

fn show(connection: &Connection, users: &[Value]) -> Result<(), Failure> {
    if connection.is_json() {
        return print_json(&Value::Array(users.to_vec()));
    }
    Table::of(COLUMNS, users).print()
}
