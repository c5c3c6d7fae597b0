//! Runs random schedules of faults and judges them; `cargo xtask chaos` builds and starts it.
//!
//! The host's binary is `RULEMILL_BIN`, else the one beside this one.

#![expect(clippy::print_stdout, reason = "this is the command's output")]
#![expect(
    clippy::disallowed_methods,
    reason = "the time limit is one of real time"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use acceptance::chaos::{self, Backend, Kind};
use acceptance::{eventually, host};
use anyhow::{Context, Result, bail, ensure};
use xtask::requirements::Requirement;

const HELP: &str = "\
usage: cargo xtask chaos [--minutes N] [--seed S] [--from-seed S] [--count N] [--instance embedded|java|both]

  --minutes N     schedules of random seeds for so long; 2 unless another option says how many
  --seed S        the schedule of this seed; with --count as often
  --from-seed S   the seeds from S on; with --count so many, else for --minutes
  --count N       so many schedules on each instance
  --instance I    what is the RocketMQ; both by default, embedded where there is no Java

It prints every seed with its result. Exit code 1: a promise was broken.
";
/// An embedded RocketMQ is replaced after so many schedules, so that its files do not fill the disk.
const SCHEDULES_PER_BACKEND: u64 = 25;

struct Options {
    minutes: u64,
    count: Option<u64>,
    seeds: Seeds,
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy)]
enum Seeds {
    One(u64),
    From(u64),
}

impl Seeds {
    fn at(self, index: u64) -> u64 {
        match self {
            Self::One(seed) => seed,
            Self::From(seed) => seed + index,
        }
    }
}

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = read_options(&args).with_context(|| HELP)?;
    let failed = run(&options)?;
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for (seed, kind) in failed {
        let kind = kind.name();
        println!("repeat: cargo xtask chaos --seed {seed} --instance {kind} --count 20");
    }
    Ok(ExitCode::FAILURE)
}

fn read_options(args: &[String]) -> Result<Options> {
    let (mut minutes, mut count) = (2, None);
    // Seeds that a person can type.
    let mut seeds = Seeds::From(eventually::now_ms() % 1_000_000_000);
    let mut kinds = vec![Kind::Embedded];
    if Requirement::JavaRocketmq.probe() {
        kinds.push(Kind::Java);
    }
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            bail!("{} needs a value", pair.concat())
        };
        let number = || {
            value
                .parse::<u64>()
                .with_context(|| format!("{name} {value}: no number"))
        };
        match name.as_str() {
            "--minutes" => minutes = number()?,
            "--seed" => {
                seeds = Seeds::One(number()?);
                count = count.or(Some(1));
            }
            "--from-seed" => seeds = Seeds::From(number()?),
            "--count" => count = Some(number()?),
            "--instance" => {
                kinds = match value.as_str() {
                    "embedded" => vec![Kind::Embedded],
                    "java" => vec![Kind::Java],
                    "both" => vec![Kind::Embedded, Kind::Java],
                    other => bail!("no instance {other}"),
                };
            }
            other => bail!("does not know {other}"),
        }
    }
    ensure!(minutes > 0 && count != Some(0), "nothing to do");
    Ok(Options {
        minutes,
        count,
        seeds,
        kinds,
    })
}

/// Seeds whose schedules failed.
fn run(options: &Options) -> Result<Vec<(u64, Kind)>> {
    let start = Instant::now();
    let limit = Duration::from_secs(options.minutes * 60);
    let mut backends = Vec::new();
    let (mut done, mut failed, mut events, mut repeated) = (0_u64, Vec::new(), 0, 0);
    let mut slowest = Duration::ZERO;
    for index in 0.. {
        let is_over = match options.count {
            Some(count) => index >= count,
            None => start.elapsed() >= limit,
        };
        if is_over {
            break;
        }
        if index % SCHEDULES_PER_BACKEND == 0 {
            backends.clear();
            for kind in &options.kinds {
                backends.push((*kind, Backend::start(*kind)?));
            }
        }
        let seed = options.seeds.at(index);
        for (kind, backend) in &mut backends {
            done += 1;
            // What a schedule before it left is not about this one.
            drop(host::take_logs());
            println!("{}: {}", kind.name(), chaos::describe(seed));
            match chaos::run(seed, backend) {
                Ok(report) => {
                    events += report.events;
                    repeated += report.repeated;
                    slowest = slowest.max(report.elapsed);
                    println!(
                        "seed {seed} {}: kept in {:.1} s; {} connections, {} events, {} repeated, {} lost before their commit",
                        kind.name(),
                        report.elapsed.as_secs_f64(),
                        report.connections,
                        report.events,
                        report.repeated,
                        report.lost_uncommitted,
                    );
                }
                Err(error) => {
                    failed.push((seed, *kind));
                    println!("seed {seed} {}: BROKEN: {error:#}", kind.name());
                    println!("{}", host::take_logs().join("\n"));
                }
            }
        }
    }
    println!(
        "{done} schedules, {} broken; {events} events, {repeated} repeated; the slowest took {:.1} s, all {} s",
        failed.len(),
        slowest.as_secs_f64(),
        start.elapsed().as_secs()
    );
    Ok(failed)
}
