//! `plugin bench`: what a call and a start of a component cost on this machine.
//!
//! Allocations inside of the plugin cannot be counted from outside: its allocator is its own code. What
//! the host sees is how often the plugin asks for more pages, and that is shown; fuel says whether a
//! change made the plugin do more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use domain::MappingLimits;
use plugin_runtime::{Case, EventIn, FuelUsed, Mapper, MapperInstance, MapperSpec, measure_fuel};
use serde_json::json;
use tokio::time::Instant;

use super::check::first_config;
use super::engine;
use super::manifest::{component_file, read_component};
use crate::cli::connection::Connection;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{print_json, print_line, talk};

/// Starts of an instance that are measured.
const STARTS: usize = 50;
/// Calls whose times are kept, to tell a median from a tail.
const SAMPLES_MAX: usize = 1_000_000;

/// What was measured.
struct Figures {
    starts: Vec<Duration>,
    calls: Vec<Duration>,
    all_calls: Duration,
    count: u32,
    memory: Memory,
}

/// Linear memory of the instances that were measured.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// After `init`, bytes.
    fresh_bytes: u64,
    /// The high water, bytes.
    most_bytes: u64,
    /// By all calls together, bytes.
    grown_bytes: u64,
    /// Calls that asked for more.
    growths: u32,
    /// Instances that the host would have renewed.
    renewals: u32,
}

impl Memory {
    fn note(&mut self, before: u64, after: u64) {
        self.most_bytes = self.most_bytes.max(after);
        self.grown_bytes += after.saturating_sub(before);
        self.growths += u32::from(after > before);
    }
}

/// What is to be measured, and how.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) file: Option<PathBuf>,
    /// What `init` gets.
    pub(super) config: Option<String>,
    pub(super) memory: Option<ByteSize>,
    pub(super) calls: u32,
}

pub(super) fn run(connection: &Connection, plan: Plan) -> Result<(), Failure> {
    let Plan {
        file,
        config,
        memory,
        calls,
    } = plan;
    let memory = engine::memory_of(memory);
    let file = component_file(file)?;
    let runtime = engine::start(memory)?;
    let bytes = read_component(&file)?;
    let plugin = engine::compile(&runtime, &bytes)?;
    let config = config.unwrap_or_else(|| first_config(&plugin));
    let event = event(plugin.cases())?;
    let spec = MapperSpec {
        config: config.clone(),
        limits: MappingLimits::default(),
        samples: vec![Arc::new(event.clone())],
    };
    let mapper = runtime
        .prepare(&plugin, spec)
        .map_err(|error| Failure::new(Exit::Failed, domain::ErrorChain(&error).to_string()))?;
    if cfg!(debug_assertions) {
        talk(format_args!(
            "this program is a development build: the host's part is several times slower"
        ));
    }
    let figures = measure(&mapper, &event, calls)
        .map_err(|fault| Failure::new(Exit::Failed, fault.to_string()))?;
    let fuel = measure_fuel(
        engine::config(memory),
        engine::code_that_counts_fuel(),
        &bytes,
        &config,
        &event,
    )
    .map_err(|error| Failure::new(Exit::Failed, domain::ErrorChain(&error).to_string()))?;
    show(connection, figures, fuel)
}

/// The event of the first case that expects messages, else the default one.
fn event(cases: &[Case]) -> Result<domain::StatusEvent, Failure> {
    let event = cases
        .iter()
        .find(|case| !case.message.is_empty())
        .map_or_else(EventIn::default, |case| case.event.clone());
    event
        .read()
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn measure(
    mapper: &Arc<Mapper>,
    event: &domain::StatusEvent,
    count: u32,
) -> Result<Figures, plugin_runtime::MapperFault> {
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let started = Instant::now();
        let mut instance = MapperInstance::new(mapper)?;
        instance.map(event)?;
        starts.push(started.elapsed());
    }
    let mut instance = MapperInstance::new(mapper)?;
    let mut held = instance.memory_bytes();
    let mut memory = Memory {
        fresh_bytes: held,
        most_bytes: held,
        ..Memory::default()
    };
    let mut calls = Vec::with_capacity(SAMPLES_MAX.min(usize::try_from(count).unwrap_or(0)));
    let all = Instant::now();
    for _ in 0..count {
        // As a mapper thread does it.
        if instance.is_worn() {
            instance = MapperInstance::new(mapper)?;
            held = instance.memory_bytes();
            memory.renewals += 1;
        }
        let started = Instant::now();
        instance.map(event)?;
        if calls.len() < SAMPLES_MAX {
            calls.push(started.elapsed());
        }
        let now = instance.memory_bytes();
        memory.note(held, now);
        held = now;
    }
    Ok(Figures {
        starts,
        calls,
        all_calls: all.elapsed(),
        count,
        memory,
    })
}

/// The value below which `percent` of `sorted` are, nanoseconds.
fn percentile(sorted: &[Duration], percent: usize) -> u64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    let nanos = sorted.get(index).map_or(0, Duration::as_nanos);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

fn show(connection: &Connection, mut figures: Figures, fuel: FuelUsed) -> Result<(), Failure> {
    figures.calls.sort_unstable();
    figures.starts.sort_unstable();
    let at = |percent| percentile(&figures.calls, percent);
    let start = percentile(&figures.starts, 50);
    let count = u64::from(figures.count).max(1);
    let nanos = u64::try_from(figures.all_calls.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1);
    let (mean, per_second) = (nanos / count, count.saturating_mul(1_000_000_000) / nanos);
    let memory = figures.memory;
    let per_call = memory.grown_bytes / count;
    if connection.is_json() {
        return print_json(&json!({
            "calls": figures.count,
            "callNs": { "mean": mean, "p50": at(50), "p90": at(90), "p99": at(99) },
            "callsPerSecond": per_second,
            "startNs": { "p50": start },
            "fuel": { "call": fuel.call, "start": fuel.start },
            "memoryBytes": {
                "fresh": memory.fresh_bytes,
                "most": memory.most_bytes,
                "grown": memory.grown_bytes,
                "grownPerCall": per_call,
            },
            "memoryGrowths": memory.growths,
            "renewals": memory.renewals,
        }));
    }
    let lines = [
        format!(
            "a call      {mean} ns on average; p50 {} ns, p90 {} ns, p99 {} ns; {per_second} calls/s on one core",
            at(50),
            at(90),
            at(99)
        ),
        format!("a start     p50 {start} ns with init and one call"),
        format!(
            "fuel        {} a call, {} a start: WebAssembly instructions, the same on every machine",
            fuel.call, fuel.start
        ),
        format!(
            "memory      {} KiB fresh, {} KiB at most in {} calls",
            memory.fresh_bytes >> 10,
            memory.most_bytes >> 10,
            figures.count
        ),
        format!(
            "growth      {per_call} bytes a call, in {} steps; the host renewed the instance {} times",
            memory.growths, memory.renewals
        ),
    ];
    lines.iter().try_for_each(|line| print_line(line))
}
