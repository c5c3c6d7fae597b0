//! The warm mapping call of `apsaramq-status` beside the same code in native Rust, in the same run.
//!
//! `wasm` and `native` do the same work: from the domain's event, through the types of the SDK and the
//! plugin's code, to checked messages. `plugin_alone` is the plugin's code on an event of the SDK
//! that is built already. At the end the ratios are printed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and prints"
)]

mod parts;

use std::hint::black_box;

use apsaramq_status::ApsaramqStatus;
use criterion::Criterion;
use domain::MappingLimits;
use parts::{component, config, event, native, read_by, sdk_event};
use plugin_runtime::{MapperInstance, MapperSpec, PluginRuntime};
use rulemill_sdk::StatusRule;
use tokio::time::Instant;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = PluginRuntime::start(config()).unwrap();
    let bytes = component("apsaramq-status");
    let plugin = runtime.compile(&bytes).unwrap();
    let spec = MapperSpec {
        config: "{}".to_owned(),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    };
    let mapper = runtime.prepare(&plugin, spec).unwrap();
    let mut instance = MapperInstance::new(&mapper).unwrap();
    let rule = ApsaramqStatus::init("{}").unwrap();
    let event = event();
    let attributes = read_by(&rule);
    let built = sdk_event(&attributes, &event);

    let mut group = criterion.benchmark_group("map");
    group.bench_function("wasm", |b| {
        b.iter(|| instance.map(black_box(&event)).unwrap());
    });
    group.bench_function("native", |b| {
        b.iter(|| native(&rule, &attributes, black_box(&event)));
    });
    group.bench_function("plugin_alone", |b| {
        b.iter(|| rule.map_event(black_box(&built)).unwrap());
    });
    group.bench_function("fresh_instance", |b| {
        b.iter(|| MapperInstance::new(&mapper).unwrap());
    });
    group.finish();

    let wasm = best_ns(|| drop(black_box(instance.map(black_box(&event)))));
    let native = best_ns(|| drop(black_box(native(&rule, &attributes, black_box(&event)))));
    let alone = best_ns(|| drop(black_box(rule.map_event(black_box(&built)))));
    println!("wasm {wasm:.0} ns, native {native:.0} ns, plugin alone {alone:.0} ns");
    println!(
        "ratio wasm/native {:.1}, wasm/plugin alone {:.1}",
        wasm / native,
        wasm / alone
    );
    criterion.final_summary();
}

/// The best average of 30 rounds: on a shared machine everything else measures the neighbours.
fn best_ns(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 10_000;
    let round = |_| {
        let started = Instant::now();
        (0..CALLS).for_each(|_| call());
        started.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..30).map(round).fold(f64::INFINITY, f64::min)
}
