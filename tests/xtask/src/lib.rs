//! Tasks of this repository: what a developer and CI type instead of remembering cargo lines.
//!
//! It has one dependency, so that `cargo xtask` starts in seconds on a fresh machine. The acceptance
//! tests use it as a library for what both need: the Java RocketMQ and the probe for third-party
//! clients. It prints progress to stderr; stdout belongs to what it runs.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a task talks to whoever typed it"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a task is one thread that may block, and it measures real time"
)]

mod build;
mod cargo;
mod chaos_task;
mod check;
pub mod failures;
mod fuzz_task;
pub mod java_rocketmq;
pub mod places;
pub mod requirements;
mod rocketmq_task;
mod test_task;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
usage: cargo xtask TASK

  demo [--once] [--json]            build, run the main job on embedded parts, show what happened
  test [--require-all] [FILTER]     build everything, run every test (whose name contains FILTER)
  check                             format, clippy, documentation, dependency direction, licences, tidiness
  openapi                           write the API's document and the manual's list of its errors
  plugins                           build the plugins into <target>/plugins
  dist                              release binary and plugins into <target>/dist
  bench [NAME]                      run the benchmarks
  chaos [--minutes N] [--seed S] …  random schedules of faults, judged; 2 minutes unless told; chaos --help says more
  fuzz [upload|values] [--minutes N] [--seed S] …
                                    any uploads, any values between host and guest; fuzz --help says more
  rocketmq start|stop|status        a Java RocketMQ 4.9.7 for playing (needs Java 17 and Maven)
";

/// Runs the task that `args` name and says how it went.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    match dispatch(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("--help", args),
    };
    match (task, rest) {
        ("--help" | "-h" | "help", _) => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        ("demo", rest) => build::demo(rest),
        ("test", rest) => test_task::run(rest),
        ("check", []) => done(check::run()),
        ("openapi", []) => done(build::openapi()),
        ("plugins", []) => done(build::plugins().map(drop)),
        ("dist", []) => done(build::dist()),
        ("chaos", rest) => chaos_task::run(rest),
        ("fuzz", rest) => fuzz_task::run(rest),
        ("bench", rest) => done(build::bench(rest)),
        ("rocketmq", [verb]) => rocketmq_task::run(verb),
        _ => {
            eprint!("{HELP}");
            bail!("unknown task or arguments: {}", args.join(" "))
        }
    }
}

fn done(result: Result<()>) -> Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}
