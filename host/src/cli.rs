//! The command line: what can be typed, and everything but the host itself.
//!
//! Management commands are clients of the HTTP API; only `outbox` touches the store. `serve` only
//! loads the configuration: `main` starts the host.

mod access_key;
mod api;
mod apply;
mod audit;
mod client;
mod completions;
mod config_command;
mod connection;
mod dead_letter;
mod events;
mod failure;
mod group;
mod message;
mod outbox;
mod output;
mod plugin;
mod plugin_kit;
mod rule;
mod secret_input;
mod status;
mod tls;
mod token;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use config_command::{ConfigCommand, Layers};
use connection::Connection;
use failure::Failure;

/// The exit code of a dry run that would change something.
const WOULD_CHANGE: u8 = 10;

/// An MQTT broker that sends each change of a client's connection through a rule to RocketMQ.
#[derive(Debug, Parser)]
#[command(
    name = "rulemill",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 not reachable, 6 not allowed, 10 a dry run that would change something, 64 bad configuration."
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
    /// Make files of groups, plugins and rules true, all of it or nothing. Shows what changes first.
    #[command(after_help = "Examples:
  rulemill apply -f rules.toml --dry-run     exit 10 if something would change
  rulemill apply -f rules/ --prune           and delete rules that no file names")]
    Apply(apply::ApplyArgs),
    /// Print the host's groups, plugins and rules as `apply` reads them.
    #[command(after_help = "Examples:
  rulemill export > rules.toml
  rulemill export --format json")]
    Export(apply::ExportArgs),
    /// Plugins: the WebAssembly components that map events to messages.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Groups of clients, such as `GID_Devices`.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Clients and their connections.
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Users, who connect over MQTT with a name and a password.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Tokens of the API: who may do what with this host.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Access keys, for MQTT signatures or the compatible `ApsaraMQ` actions.
    #[command(subcommand)]
    AccessKey(access_key::AccessKeyCommand),
    /// Who changed what, when.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Events that could not be mapped or sent: look at them, send them again, delete them.
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// The files of a stopped host: are they sound, and mend them.
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Show status events as they happen, until Ctrl-C.
    #[command(after_help = "Examples:
  rulemill events --group GID_Devices
  rulemill events --client GID_Devices@@@d1 --json")]
    Events(events::EventsArgs),
    /// Print the script that makes a shell complete commands.
    #[command(after_help = "Examples:
  rulemill completions bash > ~/.local/share/bash-completion/completions/rulemill
  rulemill completions fish > ~/.config/fish/completions/rulemill.fish")]
    Completions {
        #[arg(value_enum)]
        shell: completions::Shell,
    },
    /// Read a RocketMQ topic back through the host. Commits no offsets.
    #[command(after_help = "Examples:
  rulemill messages --topic ClientStatus --from-start            what is there
  rulemill messages --topic ClientStatus --count 3 --timeout 30  the next three; exit 1 if fewer came
  rulemill messages --instance embedded --topic ClientStatus --from-start --json")]
    Messages(message::MessagesArgs),
    /// Compile a component from stdin to stdout; the host runs this for each upload.
    #[command(hide = true, name = crate::compiled_code::COMMAND)]
    CompilePlugin {
        #[command(flatten)]
        limits: crate::compiled_code::ChildArgs,
    },
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
        Command::Apply(arguments) => {
            if arguments.run(&connection)? {
                return Ok(Action::Done(ExitCode::from(WOULD_CHANGE)));
            }
        }
        Command::Export(arguments) => arguments.run(&connection)?,
        Command::Plugin(command) => command.run(&connection)?,
        Command::Group(command) => command.run(&connection)?,
        Command::Client(command) => command.run(&connection)?,
        Command::User(command) => command.run(&connection)?,
        Command::Token(command) => command.run(&connection)?,
        Command::AccessKey(command) => command.run(&connection)?,
        Command::Audit(command) => command.run(&connection)?,
        Command::DeadLetter(command) => command.run(&connection)?,
        Command::Outbox(command) => command.run(&connection)?,
        Command::Events(arguments) => arguments.run(&connection)?,
        Command::Completions { shell } => completions::print(shell)?,
        Command::Messages(arguments) => arguments.run(&connection)?,
        Command::CompilePlugin { limits } => {
            let code = plugin_runtime::compile_stdin(limits.limits());
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
