//! `rulemill token`.

use std::time::Duration;

use clap::Subcommand;
use domain::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::api::encode;
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{Cell, Column, Consent, Table, date_time, field, print_json, print_line, talk};

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// Reads everything but what is about access.
    Viewer,
    /// Changes rules, plugins, groups, clients and dead letters, too.
    Operator,
    /// Everything, tokens and users included.
    Admin,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it. It is shown this once: only its hash is kept.
    #[command(after_help = "Examples:
  rulemill token create grafana --role viewer
  rulemill token create deploy --role operator --expires-in 30d > deploy.token")]
    Create {
        /// 1 to 64 letters, digits, `-`, `_` and `.`.
        name: String,
        /// What its holder may do.
        #[arg(long, value_enum, value_name = "ROLE")]
        role: Role,
        /// From when on it opens nothing, such as `12h` or `30d`; without it: never.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List all tokens. What they open with is not kept, so it cannot be shown.
    #[command(after_help = "Example:
  rulemill token list --output json")]
    List,
    /// Revoke a token. It opens nothing from then on, and what goes on in its name ends.
    #[command(after_help = "Example:
  rulemill token revoke deploy --yes")]
    Revoke {
        name: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Print a link that signs a browser in, once, within ten minutes.
    #[command(after_help = "Example:
  rulemill token sign-in")]
    SignIn,
}

const COLUMNS: &[Column] = &[
    ("TOKEN", Cell::At("/name")),
    ("ROLE", Cell::At("/role")),
    ("CREATED", Cell::Of(|token| date_time(token, "/createdAt"))),
    ("BY", Cell::At("/createdBy")),
    ("EXPIRES", Cell::Of(|token| date_time(token, "/expiresAt"))),
    (
        "LAST USED",
        Cell::Of(|token| date_time(token, "/lastUsedAt")),
    ),
];

impl TokenCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Create {
                name,
                role,
                expires_in,
            } => create(connection, &name, role, expires_in),
            Self::List => {
                let tokens = connection.api()?.list("/v1/tokens")?;
                if connection.is_json() {
                    return print_json(&Value::Array(tokens));
                }
                Table::of(COLUMNS, &tokens).print()
            }
            Self::Revoke { name, consent } => {
                consent.ask(&format!("Revoke token {name}?"))?;
                connection
                    .api()?
                    .delete(&format!("/v1/tokens/{}", encode(&name)))?;
                talk(format_args!("token {name} revoked"));
                Ok(())
            }
            Self::SignIn => {
                let code = connection.api()?.post("/v1/sign-in-codes", None)?;
                if connection.is_json() {
                    return print_json(&code);
                }
                print_line(&field(&code, "/link"))?;
                talk(format_args!("the link works once, within ten minutes"));
                Ok(())
            }
        }
    }
}

fn create(
    connection: &Connection,
    name: &str,
    role: Role,
    expires_in: Option<Duration>,
) -> Result<(), Failure> {
    let role = match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    let mut body = json!({ "name": name, "role": role });
    if let Some(life) = expires_in {
        let ends = u64::try_from(life.as_millis())
            .ok()
            .and_then(|life| SystemClock.now_ms().checked_add(life));
        let ends = ends.ok_or_else(|| Failure::usage("--expires-in is too long"))?;
        if let Some(fields) = body.as_object_mut() {
            fields.insert("expiresAt".to_owned(), ends.into());
        }
    }
    let token = connection.api()?.post("/v1/tokens", Some(&body))?;
    if connection.is_json() {
        return print_json(&token);
    }
    match token.get("token").and_then(Value::as_str) {
        Some(text) => print_line(text)?,
        None => {
            let message = "the host's answer has no token; check --server";
            return Err(Failure::new(Exit::Failed, message));
        }
    }
    talk(format_args!(
        "token {name} made, with the role {role}; keep it now: it is not shown again"
    ));
    Ok(())
}
