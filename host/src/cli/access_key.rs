//! `rulemill access-key`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::encode;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Cell, Column, Consent, Table, date_time, print_json, talk};
use super::secret_input::SecretInput;

/// What an access key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Use {
    /// MQTT connections of devices, by signature.
    Mqtt,
    /// The compatible `ApsaraMQ` actions.
    Api,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccessKeyCommand {
    /// Add an access key.
    #[command(after_help = "Examples:
  rulemill access-key add LTAI5tDevices --use mqtt --secret-stdin < devices.secret
  rulemill access-key add LTAI5tProgram --use api --secret-stdin < program.secret")]
    Add {
        /// 1 to 128 letters, digits, `-`, `_` and `.`.
        access_key_id: String,
        /// What it opens; nothing else.
        #[arg(long = "use", value_enum, value_name = "USE", default_value_t = Use::Mqtt)]
        opens: Use,
        #[command(flatten)]
        secret: SecretInput,
    },
    /// List all access keys.
    #[command(after_help = "Example:
  rulemill access-key list --output json")]
    List,
    /// Delete an access key. Connections that are there stay.
    #[command(after_help = "Example:
  rulemill access-key delete LTAI5tDevices --yes")]
    Delete {
        access_key_id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

const COLUMNS: &[Column] = &[
    ("ACCESS KEY", Cell::At("/accessKeyId")),
    ("USE", Cell::At("/use")),
    ("CREATED", Cell::Of(|key| date_time(key, "/createdAt"))),
];

impl AccessKeyCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Add {
                access_key_id,
                opens,
                secret,
            } => {
                let opens = match opens {
                    Use::Mqtt => "mqtt",
                    Use::Api => "api",
                };
                let body = json!({
                    "accessKeyId": access_key_id, "use": opens, "secret": secret.read()?,
                });
                let key = connection.api()?.post("/v1/access-keys", Some(&body))?;
                show(connection, &[key])
            }
            Self::List => {
                let keys = connection.api()?.list("/v1/access-keys")?;
                show(connection, &keys)
            }
            Self::Delete {
                access_key_id,
                consent,
            } => {
                consent.ask(&format!("Delete access key {access_key_id}?"))?;
                connection
                    .api()?
                    .delete(&format!("/v1/access-keys/{}", encode(&access_key_id)))?;
                talk(format_args!("access key {access_key_id} deleted"));
                Ok(())
            }
        }
    }
}

fn show(connection: &Connection, keys: &[Value]) -> Result<(), Failure> {
    if connection.is_json() {
        return print_json(&Value::Array(keys.to_vec()));
    }
    Table::of(COLUMNS, keys).print()
}
