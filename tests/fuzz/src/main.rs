//! `cargo xtask fuzz`: runs a target in a process of its own, so that nothing it does goes unseen.

#![expect(clippy::print_stdout, reason = "this is the command's output")]
#![expect(
    clippy::disallowed_methods,
    reason = "a seed is taken from the real time"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use fuzz::{COMPILE_LIMITS, Compiler, Kind, Plan, Until};

const HELP: &str = "\
usage: cargo xtask fuzz [upload|values] [--minutes N | --inputs N] [--seed S] [--findings FOLDER] [--replay FILE]

  upload          any bytes through inspect, compile, canary and map
  values          any values between host and guest; without a name: both targets, one after the other
  --minutes N     for so long; 2 unless another option says how many
  --inputs N      so many inputs
  --seed S        the inputs of this seed; random otherwise, and printed
  --findings F    where to write inputs that break something; <target>/fuzz unless told
  --replay FILE   tries the input in FILE once

Exit code 1: something was found.
";
/// Tells the process that it is the one that does the work.
const WORKER: &str = "--worker";

struct Options {
    kinds: Vec<Kind>,
    until: Until,
    seed: u64,
    findings: PathBuf,
    replay: Option<PathBuf>,
    is_worker: bool,
}

fn main() -> Result<ExitCode> {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    if args.first().is_some_and(|arg| arg == Compiler::COMMAND) {
        return Ok(ExitCode::from(plugin_runtime::compile_stdin(
            COMPILE_LIMITS,
        )));
    }
    let program = env::current_exe().context("this program's file is not known")?;
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    let options = read_options(&args, target).with_context(|| HELP)?;
    let compiler = Compiler {
        program: program.clone(),
        plugins: target.join("plugins"),
    };
    let mut found = 0;
    for kind in &options.kinds {
        let plan = Plan {
            name: kind.name(),
            seed: options.seed,
            until: options.until,
            findings: options.findings.clone(),
        };
        found += match &options.replay {
            Some(file) => usize::from(kind.replay(file, &compiler)?),
            None if options.is_worker => kind.run(&plan, &compiler)?,
            None => supervise(&program, *kind, &plan)?,
        };
    }
    Ok(if found == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the target in a child. One that is ended by a signal was ended by its last input.
fn supervise(program: &Path, kind: Kind, plan: &Plan) -> Result<usize> {
    let (amount, number) = match plan.until {
        Until::Elapsed(time) => ("--seconds", time.as_secs()),
        Until::Inputs(count) => ("--inputs", count),
    };
    let status = Command::new(program)
        .args([kind.name(), WORKER, amount, &number.to_string()])
        .args(["--seed", &plan.seed.to_string(), "--findings"])
        .arg(&plan.findings)
        .status()
        .context("failed to start the worker")?;
    match status.code() {
        Some(0) => Ok(0),
        Some(1) => Ok(1),
        _ => {
            let file = plan.finding(0);
            fs::copy(plan.current(), &file).context("the worker died before its first input")?;
            println!("FOUND {}: the process ended with {status}", file.display());
            Ok(1)
        }
    }
}

fn read_options(args: &[String], target: &Path) -> Result<Options> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut options = Options {
        kinds: Vec::new(),
        until: Until::Elapsed(Duration::from_secs(120)),
        // One that a person can type.
        seed: u64::try_from(now.as_millis()).unwrap_or(0) % 1_000_000_000,
        findings: target.join("fuzz"),
        replay: None,
        is_worker: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "upload" => options.kinds.push(Kind::Upload),
            "values" => options.kinds.push(Kind::Values),
            WORKER => options.is_worker = true,
            "--minutes" => {
                options.until = Until::Elapsed(Duration::from_secs(60 * number(value()?)?));
            }
            "--seconds" => options.until = Until::Elapsed(Duration::from_secs(number(value()?)?)),
            "--inputs" => options.until = Until::Inputs(number(value()?)?),
            "--seed" => options.seed = number(value()?)?,
            "--findings" => options.findings = PathBuf::from(value()?),
            "--replay" => options.replay = Some(PathBuf::from(value()?)),
            other => bail!("fuzz does not know {other}"),
        }
    }
    if options.kinds.is_empty() {
        options.kinds = vec![Kind::Upload, Kind::Values];
    }
    Ok(options)
}

fn number(text: &str) -> Result<u64> {
    text.parse()
        .with_context(|| format!("{text:?} is not a number"))
}
