//! `plugin bench`: what a call and a start of a component cost on this machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::MappingLimits;
use plugin_runtime::{Case, EventIn, Mapper, MapperInstance, MapperSpec};
use serde_json::json;
use tokio::time::Instant;

use super::check::first_config;
use super::manifest::{component_file, read_component};
use super::{Manifest, engine};
use crate::cli::connection::Connection;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{print_json, print_line, talk};

/// Starts of an instance that are measured.
const STARTS: usize = 50;
/// The host renews an instance after as many calls.
const CALLS_OF_AN_INSTANCE: u32 = 100_000;
/// Calls whose times are kept, to tell a median from a tail.
const SAMPLES_MAX: usize = 1_000_000;

/// What was measured.
struct Figures {
    starts: Vec<Duration>,
    calls: Vec<Duration>,
    all_calls: Duration,
    count: u32,
    memory_bytes: (u64, u64),
}

pub(super) fn run(
    connection: &Connection,
    file: Option<PathBuf>,
    config: Option<String>,
    calls: u32,
) -> Result<(), Failure> {
    let language = Manifest::here().ok().map(|manifest| manifest.language);
    let file = component_file(file)?;
    let runtime = engine::start(language)?;
    let plugin = engine::compile(&runtime, &read_component(&file)?)?;
    let config = config.unwrap_or_else(|| first_config(&plugin));
    let event = event(plugin.cases())?;
    let spec = MapperSpec {
        config,
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
    show(connection, figures)
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
    let fresh_bytes = instance.memory_bytes();
    let mut calls = Vec::with_capacity(SAMPLES_MAX.min(usize::try_from(count).unwrap_or(0)));
    let mut most_bytes = fresh_bytes;
    let all = Instant::now();
    for number in 0..count {
        if number > 0 && number % CALLS_OF_AN_INSTANCE == 0 {
            instance = MapperInstance::new(mapper)?;
        }
        let started = Instant::now();
        instance.map(event)?;
        if calls.len() < SAMPLES_MAX {
            calls.push(started.elapsed());
        }
        most_bytes = most_bytes.max(instance.memory_bytes());
    }
    Ok(Figures {
        starts,
        calls,
        all_calls: all.elapsed(),
        count,
        memory_bytes: (fresh_bytes, most_bytes),
    })
}

/// The value below which `percent` of `sorted` are, nanoseconds.
fn percentile(sorted: &[Duration], percent: usize) -> u64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    let nanos = sorted.get(index).map_or(0, Duration::as_nanos);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

fn show(connection: &Connection, mut figures: Figures) -> Result<(), Failure> {
    figures.calls.sort_unstable();
    figures.starts.sort_unstable();
    let at = |percent| percentile(&figures.calls, percent);
    let start = percentile(&figures.starts, 50);
    let nanos = u64::try_from(figures.all_calls.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1);
    let per_second = u64::from(figures.count).saturating_mul(1_000_000_000) / nanos;
    let (fresh, most) = figures.memory_bytes;
    if connection.is_json() {
        return print_json(&json!({
            "calls": figures.count,
            "callNs": { "p50": at(50), "p90": at(90), "p99": at(99) },
            "callsPerSecond": per_second,
            "startNs": { "p50": start },
            "memoryBytes": { "fresh": fresh, "most": most },
        }));
    }
    let lines = [
        format!(
            "a call      p50 {} ns, p90 {} ns, p99 {} ns; {per_second} calls/s on one core",
            at(50),
            at(90),
            at(99)
        ),
        format!("a start     p50 {start} ns with init and one call"),
        format!(
            "memory      {} KiB fresh, {} KiB at most in {} calls",
            fresh >> 10,
            most >> 10,
            figures.count
        ),
    ];
    lines.iter().try_for_each(|line| print_line(line))
}
