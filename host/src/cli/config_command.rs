//! `rulemill config`, and the layers that `serve` shares with it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{print_line, talk};
use crate::config::{self, Config};

/// Where the configuration comes from, beside the environment.
#[derive(Debug, Args)]
pub(super) struct Layers {
    /// A TOML file; without one everything has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, above file and environment; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show every problem of the configuration at once; exit 64 if there is one.
    #[command(after_help = "Examples:
  rulemill config check --config rulemill.toml
  rulemill config check --set mqtt.max-packet=1MiB")]
    Check {
        #[command(flatten)]
        layers: Layers,
    },
    /// Print the configuration that takes effect, as TOML. Secrets are shown as the files that hold them.
    #[command(after_help = "Examples:
  rulemill config print                               all keys with their defaults
  rulemill config print --config rulemill.toml")]
    Print {
        #[command(flatten)]
        layers: Layers,
    },
}

impl Layers {
    /// Loads the layers.
    pub(super) fn load(mut self, connection: &Connection) -> Result<Config, Failure> {
        if let Some(data_dir) = connection.given_data_dir() {
            self.settings
                .push(format!("node.data-dir={}", data_dir.display()));
        }
        // A variable that is not Unicode cannot be one of ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        config::load(self.config.as_deref(), environment, &self.settings).map_err(|problems| {
            let messages = problems.iter().map(ToString::to_string).collect();
            Failure::several(Exit::BadConfiguration, messages)
        })
    }
}

impl ConfigCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Check { layers } => {
                layers.load(connection)?;
                talk(format_args!("the configuration is right"));
                Ok(())
            }
            Self::Print { layers } => {
                let config = layers.load(connection)?;
                print_line(config::print(&config).trim_end())
            }
        }
    }
}
