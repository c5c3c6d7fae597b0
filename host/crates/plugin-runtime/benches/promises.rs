//! The figures that plugins are promised to keep: calls, starts, activation, memory. Each is the
//! median of one run, with its spread, beside the limit that it is held against.
//!
//! `RULEMILL_BENCH_COMPONENTS=a.wasm:b.wasm` reports further components, such as those in Python and
//! JavaScript, without a limit.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and prints"
)]

mod parts;
mod spread;
mod weather;

use std::env;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use apsaramq_status::ApsaramqStatus;
use domain::{MappingLimits, StatusEvent};
use parts::{component, config, event, native, read_by};
use plugin_runtime::{
    CodeCacheConfig, CodeConfig, CompiledPlugin, Mapper, MapperInstance, MapperSpec, PluginRuntime,
};
use rulemill_sdk::StatusRule;
use spread::{Measured, ROUNDS, Spread};

/// The body of `apsaramq-status`, as a template.
const TEMPLATE: &str = r#"{"body": "{\"clientId\":{{ clientId | tojson }},\"time\":{{ time }},\"eventType\":{{ eventType | tojson }},\"channelId\":{{ channelId | tojson }},\"clientIp\":{{ clientIp | tojson }}}"}"#;
const CALLS: usize = 200_000;
/// Calls without a pause, of which the rate is taken.
const SLICE: usize = 5_000;
const STARTS: usize = 500;
const ACTIVATIONS: usize = 50;
const PLUGINS: usize = 50;
const INSTANCES: usize = 500;

fn main() {
    let status = component("apsaramq-status");
    let runtime = PluginRuntime::start(config()).unwrap();
    let mapper = prepared(&runtime, &runtime.compile(&status).unwrap(), "{}");
    let event = event();

    let template = runtime.compile(&component("template")).unwrap();
    let template = prepared(&runtime, &template, TEMPLATE);

    let gaps = weather::gaps_per_second();
    calls(&mapper, &template, &event);
    println!(
        "{:<44}{gaps:>12.0} /s over 1 us, {:.0} /s afterwards (thousands: such a p99 is the machine's own)",
        "pauses of a thread that reads the clock",
        weather::gaps_per_second()
    );
    activation(&status);
    memory(&mapper, &event);
    for path in env::var("RULEMILL_BENCH_COMPONENTS")
        .unwrap_or_default()
        .split(':')
        .filter(|path| !path.is_empty())
    {
        foreign(&runtime, Path::new(path), &event);
    }
}

/// What a call takes, warm and on a fresh instance, beside the same work without a sandbox.
fn calls(mapper: &Arc<Mapper>, template: &Arc<Mapper>, event: &StatusEvent) {
    let mut instance = MapperInstance::new(mapper).unwrap();
    let mut unpaused = MapperInstance::new(mapper).unwrap();
    let mut rendering = MapperInstance::new(template).unwrap();
    let rule = ApsaramqStatus::init("{}").unwrap();
    let attributes = read_by(&rule);
    let map =
        |instance: &mut MapperInstance| drop(black_box(instance.map(black_box(event)).unwrap()));
    let [warm, native, slice, rendered, fresh] = Spread::by_turns([
        Measured::new(CALLS / ROUNDS, || map(&mut instance)),
        Measured::new(CALLS / ROUNDS, || {
            drop(black_box(native(&rule, &attributes, black_box(event))));
        }),
        Measured::new(2, || (0..SLICE).for_each(|_| map(&mut unpaused))),
        Measured::new(CALLS / 4 / ROUNDS, || map(&mut rendering)),
        Measured::new(STARTS / ROUNDS, || {
            drop(black_box(MapperInstance::new(mapper).unwrap()));
        }),
    ]);
    warm.print("apsaramq-status, warm call");
    native.print("the same work in native Rust");
    held("warm call / native", warm.times(&native), 5.0);
    held("p99 / p50 of the warm call", warm.p99 / warm.p50, 4.0);
    println!(
        "{:<44}{:>12.2}",
        "p99 / p50 in native Rust",
        native.p99 / native.p50
    );
    let rate = |nanos: f64| number(SLICE) / nanos * 1e9;
    println!(
        "{:<44}{:>12.0} calls/s on one core p50 (at least 250,000), {:.0} best, {:.0} p90",
        "apsaramq-status, without a pause",
        rate(slice.p50),
        rate(slice.least),
        rate(slice.p90)
    );
    rendered.print("template, warm call");
    held("template / apsaramq-status", rendered.times(&warm), 8.0);
    fresh.print("fresh instance with init");
    held("fresh instance / warm call", fresh.times(&warm), 15.0);
}

/// From stored bytes to a mapper that was tried, with its code in the cache: one plugin, and a whole start.
fn activation(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let versions: Vec<_> = (0..PLUGINS).map(|number| another(bytes, number)).collect();
    let activate = |runtime: &Arc<PluginRuntime>, bytes: &[u8]| {
        prepared(runtime, &runtime.compile(bytes).unwrap(), "{}")
    };
    let first = PluginRuntime::start_with(config(), cached(folder.path())).unwrap();
    for version in &versions {
        drop(activate(&first, version));
    }
    let runtime = PluginRuntime::start_with(config(), cached(folder.path())).unwrap();
    let one = Spread::of(ACTIVATIONS, || {
        drop(activate(&runtime, versions.first().unwrap()));
    });
    one.print("activation of a cached plugin");
    held("activation of a cached plugin, ms", one.p50 / 1e6, 9.9);
    let all = Spread::of(5, || {
        let runtime = PluginRuntime::start_with(config(), cached(folder.path())).unwrap();
        let mappers: Vec<_> = versions
            .iter()
            .map(|version| activate(&runtime, version))
            .collect();
        assert_eq!(mappers.len(), PLUGINS);
        assert_eq!(runtime.code_cache_stats().misses, 0);
    });
    all.print("start with 50 plugins in the cache");
    held("start with 50 plugins, s", all.p50 / 1e9, 1.0);
}

/// What a warm instance holds of the process's memory.
fn memory(mapper: &Arc<Mapper>, event: &StatusEvent) {
    let before = resident_bytes();
    let warm: Vec<_> = (0..INSTANCES)
        .map(|_| {
            let mut instance = MapperInstance::new(mapper).unwrap();
            for _ in 0..1_000 {
                drop(black_box(instance.map(black_box(event)).unwrap()));
            }
            instance
        })
        .collect();
    let each = (resident_bytes() - before) / number(INSTANCES);
    drop(warm);
    held("memory of a warm instance, KiB", each / 1024.0, 300.0);
}

fn foreign(runtime: &Arc<PluginRuntime>, path: &Path, event: &StatusEvent) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let compiled = runtime.compile(&fs::read(path).unwrap()).unwrap();
    let limits = MappingLimits {
        memory_bytes_max: Some(64 << 20),
        ..MappingLimits::default()
    };
    let spec = MapperSpec {
        config: "{}".to_owned(),
        limits,
        samples: Vec::new(),
    };
    let mapper = runtime.prepare(&compiled, spec).unwrap();
    let mut instance = MapperInstance::new(&mapper).unwrap();
    let first_bytes = instance.memory_bytes();
    let warm = Spread::of(CALLS / 4, || {
        drop(black_box(instance.map(black_box(event)).unwrap()));
    });
    warm.print(&format!("{name}, warm call"));
    let fresh = Spread::of(STARTS / 10, || {
        drop(black_box(MapperInstance::new(&mapper).unwrap()));
    });
    fresh.print(&format!("{name}, fresh instance with init"));
    println!(
        "{name}: {} KiB of memory after init, {} KiB after {} calls",
        first_bytes >> 10,
        instance.memory_bytes() >> 10,
        CALLS / 4
    );
}

fn prepared(
    runtime: &Arc<PluginRuntime>,
    plugin: &Arc<CompiledPlugin>,
    config: &str,
) -> Arc<Mapper> {
    let spec = MapperSpec {
        config: config.to_owned(),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    };
    runtime.prepare(plugin, spec).unwrap()
}

fn cached(folder: &Path) -> CodeConfig {
    CodeConfig {
        cache: Some(CodeCacheConfig {
            folder: folder.join("code"),
            key_file: folder.join("key"),
            bytes_max: 1 << 30,
        }),
        ..CodeConfig::default()
    }
}

/// The same component with another digest: a custom section more.
fn another(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut other = bytes.to_vec();
    let content = [1, b'n', u8::try_from(number).unwrap()];
    other.push(0);
    other.push(u8::try_from(content.len()).unwrap());
    other.extend_from_slice(&content);
    other
}

fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024.0
}

impl Spread {
    fn print(&self, what: &str) {
        println!(
            "{what:<44}{:>12.0} ns p50, {:.0} least, {:.0} p90, {:.0} p99",
            self.p50, self.least, self.p90, self.p99
        );
    }
}

fn held(what: &str, value: f64, limit: f64) {
    let verdict = if value <= limit { "held" } else { "NOT held" };
    println!("{what:<44}{value:>12.2} (at most {limit}: {verdict})");
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn number(count: usize) -> f64 {
    count as f64
}
