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

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use apsaramq_status::ApsaramqStatus;
use criterion::Criterion;
use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventId, EventType, MappingLimits, MqttVersion,
    OutboundMessage, Sequence, StatusEvent,
};
use plugin_runtime::{MapperInstance, MapperSpec, PluginRuntime, RuntimeConfig};
use rulemill_sdk::StatusRule;
use tokio::time::Instant;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = PluginRuntime::start(config()).unwrap();
    let bytes = component();
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
    let built = convert(&event);

    let mut group = criterion.benchmark_group("map");
    group.bench_function("wasm", |b| {
        b.iter(|| instance.map(black_box(&event)).unwrap());
    });
    group.bench_function("native", |b| b.iter(|| map(&rule, black_box(&event))));
    group.bench_function("plugin_alone", |b| {
        b.iter(|| rule.map_event(black_box(&built)).unwrap());
    });
    group.bench_function("fresh_instance", |b| {
        b.iter(|| MapperInstance::new(&mapper).unwrap());
    });
    group.finish();

    let wasm = best_ns(|| drop(black_box(instance.map(black_box(&event)))));
    let native = best_ns(|| drop(black_box(map(&rule, black_box(&event)))));
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

/// Builds the plugin as it is shipped; cargo says at once if it is up to date.
fn component() -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let target = workspace.join("target/plugins");
    let status = Command::new(env!("CARGO"))
        .current_dir(&workspace)
        .args([
            "build",
            "--locked",
            "--profile",
            "plugin",
            "--target",
            "wasm32-wasip2",
        ])
        .args(["--package", "apsaramq-status", "--target-dir"])
        .arg(&target)
        .status()
        .unwrap();
    assert!(status.success(), "the plugin does not build");
    std::fs::read(target.join("wasm32-wasip2/plugin/apsaramq_status.wasm")).unwrap()
}

fn config() -> RuntimeConfig {
    RuntimeConfig {
        mapper_threads: NonZeroUsize::MIN,
        memory_bytes_max: 16 << 20,
        memory_total_bytes_max: 1 << 30,
        call_deadline: Duration::from_millis(10),
        init_deadline: Duration::from_secs(1),
        output_bytes_max: 3 << 20,
        messages_max: 16,
        component_bytes_max: 32 << 20,
        node: "rulemill-1".into(),
        instance: "mqtt-local".into(),
    }
}

fn event() -> StatusEvent {
    let client_id = ClientId::parse("GID_Client_Status@@@device-0000001").unwrap();
    StatusEvent {
        event_id: EventId([0x5a; 16]),
        event_type: EventType::TcpClean,
        time_ms: 1_795_573_125_000,
        sequence: Sequence(4711),
        reason: Some(CloseReason::KeepAliveTimeout),
        synthetic: None,
        connected_at_ms: 1_795_573_025_000,
        channel: Arc::new(ChannelFacts {
            group_id: client_id.group(),
            client_id,
            channel_id: ChannelId([0xa5; 16]),
            client_address: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 50_312)),
            protocol: MqttVersion::V5,
            listener: "tcp",
            username: Some("Signature|LTAI0000000000000000|mqtt-local".into()),
            keep_alive_seconds: 60,
            clean_start: true,
            session_present: false,
        }),
    }
}

/// What the sandbox does, without a sandbox.
fn map(rule: &ApsaramqStatus, event: &StatusEvent) -> Vec<OutboundMessage> {
    let checked = |message: rulemill_sdk::Message| {
        let message = OutboundMessage {
            tag: message.tag,
            keys: message.keys,
            properties: message.properties,
            body: message.body,
        };
        message.check().unwrap();
        message
    };
    let messages = rule.map_event(&convert(event)).unwrap();
    messages.into_iter().map(checked).collect()
}

/// The event as a native plugin would get it.
fn convert(event: &StatusEvent) -> rulemill_sdk::Event {
    let channel = &event.channel;
    let attributes = event.attributes("rulemill-1", "mqtt-local");
    rulemill_sdk::Event {
        event_type: rulemill_sdk::EventType::Tcpclean,
        client_id: channel.client_id.as_str().to_owned(),
        group_id: channel
            .group_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        channel_id: channel.channel_id.to_string(),
        client_ip: channel.client_address.to_string(),
        time: event.time_ms,
        sequence: event.sequence.0,
        event_id: event.event_id.to_string(),
        attributes: attributes
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.into_owned()))
            .collect(),
    }
}
