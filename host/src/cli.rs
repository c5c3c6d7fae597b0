//! The command line: what can be typed, and everything but the host itself.
//!
//! Management commands are clients of the HTTP API; only `outbox` touches the store. `serve` only
//! loads the configuration: `main` starts the host.

mod api;
mod client;
mod config_command;
mod connection;
mod dead_letter;
mod failure;
mod group;
mod message;
mod outbox;
mod output;
mod plugin;
mod plugin_kit;
mod rule;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use config_command::{ConfigCommand, Layers};
use connection::Connection;
use failure::Failure;

/// An MQTT broker that sends each change of a client's connection through a rule to RocketMQ.
#[derive(Debug, Parser)]
#[command(
    name = "rulemill",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 not reachable, 6 not allowed, 64 bad configuration."
)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, for as long as the command line is read"
)]
enum Command {
    /// Run the host.
    #[command(after_help = "Examples:
  rulemill serve                                      everything by default, RocketMQ included
  rulemill serve --config rulemill.toml
  rulemill serve --set mqtt.tcp=0.0.0.0:1883 --set access.anonymous=always
  RULEMILL__TELEMETRY__LOG=debug rulemill serve       the same keys in the environment")]
    Serve {
        #[command(flatten)]
        layers: Layers,
    },
    /// Check or print the configuration without running the host.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Rules: whose events go where, and as what.
    #[command(subcommand)]
    Rule(rule::RuleCommand),
    /// Plugins: the WebAssembly components that map events to messages.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Groups of clients, such as `GID_Devices`.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Clients and their connections.
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Events that could not be mapped or sent: look at them, send them again, delete them.
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// The files of a stopped host: are they sound, and mend them.
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Read a RocketMQ topic back through the host. Commits no offsets.
    #[command(after_help = "Examples:
  rulemill messages --topic ClientStatus --from-start            what is there
  rulemill messages --topic ClientStatus --count 3 --timeout 30  the next three; exit 1 if fewer came
  rulemill messages --instance embedded --topic ClientStatus --from-start --json")]
    Messages(message::MessagesArgs),
    /// Compile a component from stdin to stdout; the host runs this for each upload.
    #[command(hide = true, name = crate::compiled_code::COMMAND)]
    CompilePlugin,
    /// Show how the host and its rules are.
    #[command(after_help = "Examples:
  rulemill status
  rulemill status --json")]
    Status {
        /// The same as --output json.
        #[arg(long)]
        json: bool,
    },
}

/// What is left to do after the command line was understood.
#[derive(Debug)]
pub(crate) enum Action {
    /// Run the host.
    Serve(Box<Config>),
    /// The command is done.
    Done(ExitCode),
}

/// Understands the arguments of the process and does what they say; `serve` is left to do.
pub(crate) fn parse() -> Action {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to do if even the help cannot be shown.
            drop(error.print());
            return Action::Done(exit_code(error.exit_code()));
        }
    };
    match carry_out(cli) {
        Ok(action) => action,
        Err(failure) => {
            failure.show();
            Action::Done(exit_code(failure.exit_code()))
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn carry_out(cli: Cli) -> Result<Action, Failure> {
    let Cli {
        mut connection,
        command,
    } = cli;
    match command {
        Command::Serve { layers } => {
            return Ok(Action::Serve(Box::new(layers.load(&connection)?)));
        }
        Command::Config(command) => command.run(&connection)?,
        Command::Rule(command) => command.run(&connection)?,
        Command::Plugin(command) => command.run(&connection)?,
        Command::Group(command) => command.run(&connection)?,
        Command::Client(command) => command.run(&connection)?,
        Command::DeadLetter(command) => command.run(&connection)?,
        Command::Outbox(command) => command.run(&connection)?,
        Command::Messages(arguments) => arguments.run(&connection)?,
        Command::CompilePlugin => {
            let code = plugin_runtime::compile_stdin(crate::compiled_code::LIMITS);
            return Ok(Action::Done(ExitCode::from(code)));
        }
        Command::Status { json } => {
            if json {
                connection.prefer_json();
            }
            status::show(&connection)?;
        }
    }
    Ok(Action::Done(ExitCode::SUCCESS))
}

#[cfg(test)]
mod tests;
