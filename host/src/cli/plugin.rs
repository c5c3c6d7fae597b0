//! `rulemill plugin`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::Value;

use super::api::encode;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{Cell, Consent, Table, print_json, talk};
use super::plugin_kit::{KitCommand, Manifest, read_component};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    #[command(flatten)]
    Kit(KitCommand),
    /// Upload a component as a new version of a plugin. Rules that follow `latest` switch to it.
    #[command(after_help = "Examples:
  rulemill plugin push target/wasm32-wasip2/release/my_mapping.wasm    the name is my-mapping
  rulemill plugin push mapping.wasm --name my-mapping
  rulemill plugin push                    in a plugin's folder: plugin.toml says name and component")]
    Push {
        /// The component; by default the one that plugin.toml in this folder names.
        file: Option<PathBuf>,
        /// The plugin's name: 1 to 64 of a-z 0-9 -; by default that of plugin.toml or of the file.
        #[arg(long)]
        name: Option<String>,
    },
    /// List all plugins with their newest version.
    #[command(after_help = "Example:
  rulemill plugin list")]
    List,
    /// Show the versions of one plugin.
    #[command(after_help = "Example:
  rulemill plugin show apsaramq-status")]
    Show { name: String },
    /// Delete a plugin with all its versions. Refused while a rule uses it.
    #[command(after_help = "Example:
  rulemill plugin delete my-mapping --yes")]
    Delete {
        name: String,
        #[command(flatten)]
        consent: Consent,
    },
}

impl PluginCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Kit(command) => command.run(connection),
            Self::Push { file, name } => push(connection, file, name),
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
            Self::Show { name } => {
                let versions = connection
                    .api()?
                    .list(&format!("/v1/plugins/{}/versions", encode(&name)))?;
                show(connection, &versions)
            }
            Self::Delete { name, consent } => {
                consent.ask(&format!("Delete plugin {name} with all its versions?"))?;
                connection
                    .api()?
                    .delete(&format!("/v1/plugins/{}", encode(&name)))?;
                talk(format_args!("plugin {name} deleted"));
                Ok(())
            }
        }
    }
}

fn show(connection: &Connection, versions: &[Value]) -> Result<(), Failure> {
    if connection.is_json() {
        return print_json(&Value::Array(versions.to_vec()));
    }
    let columns = [
        ("PLUGIN", Cell::At("/name")),
        ("VERSION", Cell::At("/version")),
        ("SIZE", Cell::At("/size")),
        ("BUILT-IN", Cell::At("/builtIn")),
        ("DIGEST", Cell::At("/digest")),
    ];
    Table::of(&columns, versions).print()
}

fn push(
    connection: &Connection,
    file: Option<PathBuf>,
    name: Option<String>,
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
    let version = connection
        .api()?
        .push(&format!("/v1/plugins/{}/versions", encode(&name)), &bytes)?;
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
