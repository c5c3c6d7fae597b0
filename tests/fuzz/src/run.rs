//! The loop: draw an input, write it down, try it, keep what is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::random::Random;
use crate::{corpus, gauge, panics};

/// An input that takes longer, in wall-clock time, hangs: no deadline of the product is longer than
/// a second, and the rest is a busy machine.
const HANG: Duration = Duration::from_secs(300);
/// The process stays below this, whatever the inputs: else something is kept of each of them.
const RESIDENT_BYTES_MAX: u64 = 1536 << 20;
/// The run ends after so many different findings.
const FINDINGS_MAX: usize = 10;
/// How often the run says how far it is.
const REPORT: Duration = Duration::from_secs(60);

/// What is fuzzed.
pub(crate) trait Target {
    /// An input.
    fn draw(&mut self, random: &mut Random) -> Vec<u8>;

    /// Gives it to the product: what the product said, or what is wrong with that.
    fn attempt(&mut self, input: &[u8]) -> Result<String, String>;

    /// Learns from an input that went well.
    fn learn(&mut self, input: &[u8], outcome: &str, random: &mut Random);

    /// What was done, for people.
    fn tally(&self) -> String;
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so long.
    Elapsed(Duration),
    /// After so many inputs.
    Inputs(u64),
}

/// How a target is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the files.
    pub name: &'static str,
    /// Determines the inputs, as long as the product says the same to each.
    pub seed: u64,
    /// When it ends.
    pub until: Until,
    /// The folder of what is found.
    pub findings: PathBuf,
}

impl Plan {
    /// The file of the input that is being tried: if the process dies, it was this one.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.findings.join(format!("{}.current", self.name))
    }

    /// The file of a finding.
    #[must_use]
    pub fn finding(&self, number: u64) -> PathBuf {
        self.findings
            .join(format!("{}-{}-{number}.bin", self.name, self.seed))
    }
}

/// Runs `target`; returns how many findings there are.
pub(crate) fn run(target: &mut dyn Target, plan: &Plan) -> Result<usize> {
    fs::create_dir_all(&plan.findings)
        .with_context(|| format!("failed to make {}", plan.findings.display()))?;
    panics::note();
    let name = plan.name;
    println!("{name}: seed {}", plan.seed);
    let (alive, pulse) = mpsc::channel::<()>();
    let watch = watch(plan.clone(), pulse)?;
    let mut random = Random::new(plan.seed);
    let (started, mut reported) = (Instant::now(), Instant::now());
    let (mut inputs, mut found) = (0_u64, BTreeSet::new());
    while !is_over(plan.until, started, inputs) && found.len() < FINDINGS_MAX {
        let input = target.draw(&mut random);
        fs::write(plan.current(), &input).context("failed to write the input down")?;
        inputs += 1;
        match attempt(target, &input) {
            Ok(outcome) => target.learn(&input, &outcome, &mut random),
            Err(problem) if found.insert(corpus::shape(&problem)) => {
                keep(&plan.finding(inputs), &input, &problem)?;
            }
            Err(_known) => {}
        }
        // Always taken: the watch outlives this loop.
        let _taken = alive.send(());
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            report(plan, started, inputs, target);
        }
    }
    report(plan, started, inputs, target);
    drop(alive);
    drop(watch.join());
    drop(fs::remove_file(plan.current()));
    Ok(found.len())
}

/// Tries the input in `file` once; whether something is wrong.
pub(crate) fn replay(target: &mut dyn Target, file: &Path) -> Result<bool> {
    let input = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
    panics::note();
    let verdict = attempt(target, &input);
    println!("{}: {verdict:?}", file.display());
    Ok(verdict.is_err())
}

fn attempt(target: &mut dyn Target, input: &[u8]) -> Result<String, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| target.attempt(input)));
    if let Some(panic) = panics::take() {
        return Err(panic);
    }
    let outcome = outcome.unwrap_or_else(|_| Err("a panic".to_owned()))?;
    let resident = gauge::resident();
    if resident > RESIDENT_BYTES_MAX {
        return Err(format!("the process has grown to {resident} bytes"));
    }
    Ok(outcome)
}

fn is_over(until: Until, started: Instant, inputs: u64) -> bool {
    match until {
        Until::Elapsed(time) => started.elapsed() >= time,
        Until::Inputs(count) => inputs >= count,
    }
}

fn keep(file: &Path, input: &[u8], problem: &str) -> Result<()> {
    fs::write(file, input).with_context(|| format!("failed to write {}", file.display()))?;
    println!("FOUND {}: {problem}", file.display());
    Ok(())
}

fn report(plan: &Plan, started: Instant, inputs: u64, target: &dyn Target) {
    println!(
        "{}: seed {}, {} s, {inputs} inputs, {}, {} MiB resident",
        plan.name,
        plan.seed,
        started.elapsed().as_secs(),
        target.tally(),
        gauge::resident() >> 20
    );
}

/// Ends the process when an input hangs.
fn watch(plan: Plan, pulse: mpsc::Receiver<()>) -> Result<thread::JoinHandle<()>> {
    let watch = move || {
        loop {
            match pulse.recv_timeout(HANG) {
                Ok(()) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let input = fs::read(plan.current()).unwrap_or_default();
                    let problem = format!("it hangs: no answer in {} s", HANG.as_secs());
                    if let Err(error) = keep(&plan.finding(0), &input, &problem) {
                        println!("{problem}; {error:#}");
                    }
                    std::process::exit(1);
                }
            }
        }
    };
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(watch)
        .context("failed to start a thread")
}
