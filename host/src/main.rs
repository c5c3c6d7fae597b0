//! Rulemill: an MQTT broker whose client status events go to RocketMQ through sandboxed plugins.
//!
//! Wiring only: the command line, the configuration, and the assembly of the crates.

#![recursion_limit = "512"]

mod assembly;
mod authentication;
mod banner;
mod built_in;
mod cli;
mod compiled_code;
mod config;
mod metrics;
mod open_files;
mod run_json;
mod senders;
mod telemetry;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        cli::Action::Serve(config) => serve(&config),
        cli::Action::Done(code) => code,
    }
}

fn serve(config: &config::Config) -> ExitCode {
    if let Err(error) = telemetry::start(&config.telemetry) {
        return failed(&error);
    }
    match assembly::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "why the host ended is for whoever started it"
)]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("rulemill: {error:#}");
    ExitCode::FAILURE
}
