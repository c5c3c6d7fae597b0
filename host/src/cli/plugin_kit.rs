//! `rulemill plugin new|build|check|test|bench|watch`: everything that happens in a plugin's own folder.
//!
//! Plugins are tried on the host's own engine with the host's own default limits, in this process:
//! what passes here passes there.

mod bench;
mod build;
mod bundle;
mod cases;
mod check;
mod engine;
mod guest_log;
mod manifest;
mod new;
mod test;
mod watch;

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde::Deserialize;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{printable, talk};

pub(super) use manifest::{Manifest, read_component};

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    /// 3 µs a call; needs rustup.
    Rust,
    /// 35 µs a call; needs Python 3.10 or newer.
    Python,
    /// 60 µs a call; needs Node 18 or newer.
    Javascript,
}

#[derive(Debug, Subcommand)]
pub(super) enum KitCommand {
    /// Make a folder with a new plugin that builds, passes its tests and can be pushed.
    #[command(after_help = "Examples:
  rulemill plugin new my-mapping
  rulemill plugin new my-mapping --lang python")]
    New {
        /// 1 to 64 of a-z 0-9 -; also the folder's name.
        name: String,
        #[arg(long = "lang", value_enum, default_value = "rust")]
        language: Language,
    },
    /// Build the component and put the cases of tests/*.toml into it.
    #[command(after_help = "Example, in the plugin's folder:
  rulemill plugin build")]
    Build,
    /// Say what a component is and whether a host would take it; changes nothing.
    #[command(after_help = "Examples:
  rulemill plugin check                   in the plugin's folder, after a build
  rulemill plugin check mapping.wasm")]
    Check {
        /// The component; by default the one that plugin.toml in this folder names.
        file: Option<PathBuf>,
        /// Linear memory of an instance, as a rule may ask for; by default 64MiB for Python, else 16MiB.
        #[arg(long, value_name = "SIZE")]
        memory: Option<bytesize::ByteSize>,
    },
    /// Build, then run the cases of tests/*.toml on the host's own engine.
    #[command(after_help = "Examples, in the plugin's folder:
  rulemill plugin test
  rulemill plugin test connect            only the cases whose name contains it
  rulemill plugin test --update           write what the plugin does into the cases that fail")]
    Test {
        /// Run only the cases whose name contains it.
        filter: Option<String>,
        /// Test the component as it is.
        #[arg(long)]
        no_build: bool,
        /// Rewrite the expectations of failing cases; look at the difference before you commit it.
        #[arg(long)]
        update: bool,
    },
    /// Measure the component: time of a call and of a start, fuel, memory.
    #[command(
        after_help = "Times are of this machine, with the host's own part of a call. Fuel is the number of WebAssembly instructions: it does \
not depend on the machine, so it shows whether a change made the plugin slower. Allocations are not counted: the allocator is the plugin's own code, \
of which a host sees only how its memory grows; that is shown, and how often a host would renew the instance.

Examples:
  rulemill plugin bench                   in the plugin's folder, after a build
  rulemill plugin bench mapping.wasm --config '{\"region\":\"eu\"}' --calls 500000"
    )]
    Bench {
        /// The component; by default the one that plugin.toml in this folder names.
        file: Option<PathBuf>,
        /// What `init` gets; by default that of the first case, else {}.
        #[arg(long, value_name = "JSON")]
        config: Option<String>,
        /// Linear memory of an instance, as a rule may ask for; by default 64MiB for Python, else 16MiB.
        #[arg(long, value_name = "SIZE")]
        memory: Option<bytesize::ByteSize>,
        /// Calls to measure.
        #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(100..=50_000_000))]
        calls: u32,
    },
    /// On each save: build, test, and push to the running host. Ends with Ctrl-C.
    #[command(after_help = "Examples, in the plugin's folder:
  rulemill plugin watch
  rulemill plugin watch --no-push         build and test only")]
    Watch {
        /// Do not push.
        #[arg(long)]
        no_push: bool,
    },
}

impl KitCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        guest_log::catch();
        match self {
            Self::New { name, language } => new::run(&name, language),
            Self::Build => build::run(&Manifest::here()?),
            Self::Check { file, memory } => told(check::run(connection, file, memory)),
            Self::Test {
                filter,
                no_build,
                update,
            } => test::run(
                connection,
                &test::Plan {
                    filter,
                    no_build,
                    update,
                },
            ),
            Self::Bench {
                file,
                config,
                memory,
                calls,
            } => {
                let plan = bench::Plan {
                    file,
                    config,
                    memory,
                    calls,
                };
                told(bench::run(connection, plan))
            }
            Self::Watch { no_push } => watch::run(connection, no_push),
        }
    }
}

/// A failure comes with what the plugin said before it: its traceback, as a rule.
fn told(result: Result<(), Failure>) -> Result<(), Failure> {
    let lines = guest_log::take();
    if result.is_err() {
        for line in lines {
            let text = printable(&line.text);
            talk(format_args!("log {:<5} {text}", line.level));
        }
    }
    result
}
