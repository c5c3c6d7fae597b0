//! `rulemill plugin`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;

use super::api::encode;
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{Consent, Table, field, print_json, talk};

/// No component that a host takes is larger.
const COMPONENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
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

/// The part of `plugin.toml` that is needed here.
#[derive(Debug, Deserialize)]
struct PluginToml {
    name: String,
    component: PathBuf,
}

impl PluginCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Push { file, name } => push(connection, file, name),
            Self::List => {
                let plugins = connection.api()?.list("/v1/plugins")?;
                if connection.is_json() {
                    return print_json(&Value::Array(plugins));
                }
                let mut table = Table::new(&["PLUGIN", "LATEST", "VERSIONS", "SIZE", "DIGEST"]);
                for plugin in &plugins {
                    let places = [
                        "/name",
                        "/latest/version",
                        "/versions",
                        "/latest/size",
                        "/latest/digest",
                    ];
                    table.row(places.map(|place| field(plugin, place)).to_vec());
                }
                table.print()
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
    let mut table = Table::new(&["PLUGIN", "VERSION", "SIZE", "BUILT-IN", "DIGEST"]);
    for version in versions {
        let places = ["/name", "/version", "/size", "/builtIn", "/digest"];
        table.row(places.map(|place| field(version, place)).to_vec());
    }
    table.print()
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
            let described = read_plugin_toml(Path::new("plugin.toml"))?;
            (described.component, name.unwrap_or(described.name))
        }
    };
    let fail =
        |problem: String| Failure::new(Exit::Failed, format!("{} {problem}", file.display()));
    let size = std::fs::metadata(&file)
        .map_err(|error| fail(format!("cannot be read: {error}; build it first?")))?
        .len();
    if size > COMPONENT_BYTES_MAX {
        return Err(fail(format!(
            "has {size} bytes; no host takes more than {COMPONENT_BYTES_MAX}"
        )));
    }
    let bytes = std::fs::read(&file).map_err(|error| fail(format!("cannot be read: {error}")))?;
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

fn read_plugin_toml(path: &Path) -> Result<PluginToml, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!(
            "plugin.toml in this folder cannot be read: {error}; go to the plugin's folder, or name the component"
        ))
    })?;
    toml::from_str(&text).map_err(|error| {
        let message = error.message().replace('\n', ", ");
        Failure::new(
            Exit::Failed,
            format!("plugin.toml is wrong: {message}; it needs name and component"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{name_of, read_plugin_toml};

    #[test]
    fn a_plugin_is_named_by_its_file_or_its_description() {
        assert_eq!(
            name_of(Path::new("target/release/my_mapping.wasm")).unwrap(),
            "my-mapping"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.toml");
        assert_eq!(read_plugin_toml(&path).unwrap_err().exit_code(), 2);
        std::fs::write(
            &path,
            "name = \"a\"\nlanguage = \"rust\"\ncomponent = \"a.wasm\"\n",
        )
        .unwrap();
        assert_eq!(read_plugin_toml(&path).unwrap().name, "a");
        std::fs::write(&path, "name = \"a\"\n").unwrap();
        assert!(read_plugin_toml(&path).unwrap_err().messages()[0].contains("component"));
    }
}
