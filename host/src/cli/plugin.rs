//! `rulemill plugin`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::encode;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{
    Cell, Consent, Table, date_time, field, items, print_json, print_line, printable, talk,
};
use super::plugin_kit::{KitCommand, Manifest, read_component};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    #[command(flatten)]
    Kit(KitCommand),
    /// Upload a component as a new version of a plugin. Rules that follow `latest` switch to it.
    #[command(after_help = "Examples:
  rulemill plugin push target/wasm32-wasip2/release/my_mapping.wasm    the name is my-mapping
  rulemill plugin push mapping.wasm --name my-mapping
  rulemill plugin push                    in a plugin's folder: plugin.toml says name and component
  rulemill plugin push --again            a version that a rule went back from gets another chance")]
    Push {
        /// The component; by default the one that plugin.toml in this folder names.
        file: Option<PathBuf>,
        /// The plugin's name: 1 to 64 of a-z 0-9 -; by default that of plugin.toml or of the file.
        #[arg(long)]
        name: Option<String>,
        /// Also if these bytes are a version already: rules that follow `latest`, have an older version or
        /// went back from this one try it once more.
        #[arg(long)]
        again: bool,
    },
    /// List all plugins with their newest version.
    #[command(after_help = "Example:
  rulemill plugin list")]
    List,
    /// Show the versions of one plugin: who uploaded each and when, for which rules it maps, and what
    /// became of it.
    #[command(after_help = "Examples:
  rulemill plugin show apsaramq-status
  rulemill plugin show my-mapping --plugin-version 3")]
    Show {
        name: String,
        /// Only this version.
        #[arg(long)]
        plugin_version: Option<u32>,
    },
    /// Go back to the version that mapped before, for one rule or for all that follow the plugin's latest
    /// version. The version gone back from is withdrawn for these rules: `latest` does not mean it any
    /// more, until it is pushed with --again.
    #[command(after_help = "Examples:
  rulemill plugin rollback my-mapping
  rulemill plugin rollback my-mapping --rule devices")]
    Rollback {
        name: String,
        /// Only this rule.
        #[arg(long)]
        rule: Option<String>,
    },
    /// Delete a plugin with all its versions, or one version. Refused while a rule uses it or would go
    /// back to it.
    #[command(after_help = "Examples:
  rulemill plugin delete my-mapping --yes
  rulemill plugin delete my-mapping --plugin-version 3 --yes")]
    Delete {
        name: String,
        /// Only this version.
        #[arg(long)]
        plugin_version: Option<u32>,
        #[command(flatten)]
        consent: Consent,
    },
}

impl PluginCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Kit(command) => command.run(connection),
            Self::Push { file, name, again } => push(connection, file, name, again),
            Self::List => {
                let plugins = connection.api()?.list("/v1/plugins")?;
                if connection.is_json() {
                    return print_json(&Value::Array(plugins));
                }
                let columns = [
                    ("PLUGIN", Cell::At("/name")),
                    ("LATEST", Cell::At("/latest/version")),
                    ("VERSIONS", Cell::At("/versions")),
                    ("SIZE", Cell::At("/latest/size")),
                    ("DIGEST", Cell::At("/latest/digest")),
                ];
                Table::of(&columns, &plugins).print()
            }
            Self::Show {
                name,
                plugin_version,
            } => show_plugin(connection, &name, plugin_version),
            Self::Rollback { name, rule } => roll_back(connection, &name, rule.as_deref()),
            Self::Delete {
                name,
                plugin_version,
                consent,
            } => {
                let (what, path) = match plugin_version {
                    Some(version) => (
                        format!("version {version} of plugin {name}"),
                        version_path(&name, version),
                    ),
                    None => (
                        format!("plugin {name} with all its versions"),
                        format!("/v1/plugins/{}", encode(&name)),
                    ),
                };
                consent.ask(&format!("Delete {what}?"))?;
                connection.api()?.delete(&path)?;
                talk(format_args!("{what} deleted"));
                Ok(())
            }
        }
    }
}

fn version_path(name: &str, version: u32) -> String {
    format!("/v1/plugins/{}/versions/{version}", encode(name))
}

/// The versions, and below them what became of them, newest first.
fn show_plugin(connection: &Connection, name: &str, version: Option<u32>) -> Result<(), Failure> {
    let api = connection.api()?;
    let (versions, plugin) = match version {
        Some(version) => {
            let version = api.get(&version_path(name, version))?;
            (vec![version.clone()], version)
        }
        None => {
            let path = format!("/v1/plugins/{}", encode(name));
            (api.list(&format!("{path}/versions"))?, api.get(&path)?)
        }
    };
    show(connection, &versions)?;
    let activations = items(&plugin, "activations");
    if connection.is_json() || activations.is_empty() {
        return Ok(());
    }
    print_line("")?;
    let columns = [
        ("WHEN", Cell::Of(|it| date_time(it, "/at"))),
        ("RULE", Cell::At("/ruleId")),
        ("VERSION", Cell::At("/version")),
        ("OUTCOME", Cell::At("/outcome")),
        ("BY", Cell::At("/by")),
        ("REASON", Cell::At("/reason")),
    ];
    Table::of(&columns, activations).print()
}

fn roll_back(connection: &Connection, name: &str, rule: Option<&str>) -> Result<(), Failure> {
    let path = format!("/v1/plugins/{}/rollback", encode(name));
    let body = match rule {
        Some(rule) => json!({ "ruleId": rule }),
        None => json!({}),
    };
    let answer = connection.api()?.post(&path, Some(&body))?;
    if connection.is_json() {
        return print_json(&answer);
    }
    let columns = [
        ("RULE", Cell::At("/ruleId")),
        ("FROM", Cell::At("/from")),
        ("TO", Cell::At("/to")),
    ];
    Table::of(&columns, items(&answer, "rolledBack")).print()?;
    for kept in items(&answer, "kept") {
        talk(format_args!(
            "rule {} keeps its version: {}",
            field(kept, "/ruleId"),
            field(kept, "/reason")
        ));
    }
    Ok(())
}

/// The rules of a list of rules, or of objects that name one.
fn rules(version: &Value, name: &str) -> String {
    let rules = items(version, name).iter();
    let names: Vec<String> = rules
        .map(|it| match it {
            Value::String(rule) => printable(rule),
            other => field(other, "/ruleId"),
        })
        .collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(",")
    }
}

fn show(connection: &Connection, versions: &[Value]) -> Result<(), Failure> {
    if connection.is_json() {
        return print_json(&Value::Array(versions.to_vec()));
    }
    let columns = [
        ("PLUGIN", Cell::At("/name")),
        ("VERSION", Cell::At("/version")),
        ("UPLOADED", Cell::Of(|it| date_time(it, "/createdAt"))),
        ("BY", Cell::At("/createdBy")),
        ("SIZE", Cell::At("/size")),
        ("BUILT-IN", Cell::At("/builtIn")),
        ("ACTIVE FOR", Cell::Of(|it| rules(it, "activeFor"))),
        ("WITHDRAWN FOR", Cell::Of(|it| rules(it, "withdrawnFor"))),
        ("DIGEST", Cell::At("/digest")),
    ];
    Table::of(&columns, versions).print()
}

fn push(
    connection: &Connection,
    file: Option<PathBuf>,
    name: Option<String>,
    again: bool,
) -> Result<(), Failure> {
    let (file, name) = match (file, name) {
        (Some(file), Some(name)) => (file, name),
        (Some(file), None) => {
            let name = name_of(&file)?;
            (file, name)
        }
        (None, name) => {
            let manifest = Manifest::here()?;
            (manifest.component, name.unwrap_or(manifest.name))
        }
    };
    let bytes = read_component(&file)?;
    let query = if again { "?again=true" } else { "" };
    let path = format!("/v1/plugins/{}/versions{query}", encode(&name));
    let version = connection.api()?.push(&path, &bytes)?;
    for warning in items(&version, "warnings") {
        talk(format_args!(
            "warning: {}",
            warning.as_str().map(printable).unwrap_or_default()
        ));
    }
    show(connection, &[version])
}

/// The file's name without its ending, with `-` for `_`: cargo writes `my_mapping.wasm`.
fn name_of(file: &Path) -> Result<String, Failure> {
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some(stem) => Ok(stem.replace('_', "-")),
        None => Err(Failure::usage(format!(
            "{} has no name to take for the plugin; say --name",
            file.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::name_of;

    #[test]
    fn a_plugin_is_named_by_its_file() {
        assert_eq!(
            name_of(Path::new("target/release/my_mapping.wasm")).unwrap(),
            "my-mapping"
        );
    }
}
