//! What the benchmarks share: the component, the runtime's configuration, an event, the native twin.

#![allow(dead_code, reason = "not every benchmark needs all of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use apsaramq_status::ApsaramqStatus;
use domain::{
    AttributeName, ChannelFacts, ChannelId, ClientId, CloseReason, EventId, EventType, MqttVersion,
    OutboundMessage, Sequence, StatusEvent,
};
use plugin_runtime::RuntimeConfig;
use rulemill_sdk::StatusRule;

/// Builds the plugin as it is shipped; cargo says at once if it is up to date.
pub(crate) fn component(plugin: &str) -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |target| workspace.join(target))
        .join("plugin-benches");
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
        .args(["--package", plugin, "--target-dir"])
        .arg(&target)
        .status()
        .unwrap();
    assert!(status.success(), "the plugin does not build");
    let file = format!("wasm32-wasip2/plugin/{}.wasm", plugin.replace('-', "_"));
    std::fs::read(target.join(file)).unwrap()
}

/// The defaults of the host, with one mapper thread.
pub(crate) fn config() -> RuntimeConfig {
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

/// The event with the most to say: a loss, with a user name.
pub(crate) fn event() -> StatusEvent {
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

/// The attributes that `rule` reads.
pub(crate) fn read_by(rule: &ApsaramqStatus) -> Vec<AttributeName> {
    AttributeName::called(&rule.attributes().unwrap())
}

/// What the sandbox does, without a sandbox.
pub(crate) fn native(
    rule: &ApsaramqStatus,
    attributes: &[AttributeName],
    event: &StatusEvent,
) -> Vec<OutboundMessage> {
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
    let messages = rule.map_event(&sdk_event(attributes, event)).unwrap();
    messages.into_iter().map(checked).collect()
}

/// The event as a native plugin would get it.
pub(crate) fn sdk_event(attributes: &[AttributeName], event: &StatusEvent) -> rulemill_sdk::Event {
    let channel = &event.channel;
    let attributes = event.attributes_of(attributes, "rulemill-1", "mqtt-local");
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
