//! A component in text form whose `init` and `map-event` are given by the test, and events for it.

use hostile_components::TYPES;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    ChannelFacts, ChannelId, ClientId, EventId, EventType, MappingLimits, MqttVersion, Sequence,
    StatusEvent,
};

use crate::{Mapper, MapperSpec, PluginRuntime, RuntimeConfig};

pub(crate) const PAGE: u64 = 65_536;

/// Events with this time make a fixture do what the test wants; all others are mapped to body `x`.
pub(crate) const MAGIC_TIME_MS: u64 = 666;

/// A result of `init` that accepts; the region from 0 to 1023 is zero.
pub(crate) const ACCEPT: &str = "(i32.const 0)";

/// A component; `map` runs on magic events and leaves the address of its result. `$time` is the
/// event's time, `(call $add)` adds 1 to the counter `x`; `$sleep-an-hour`, `$now` and `$random` are
/// there, too.
pub(crate) fn component(init: &str, map: &str) -> Vec<u8> {
    wat::parse_str(text(init, map)).unwrap()
}

pub(crate) fn text(init: &str, map: &str) -> String {
    let core = format!(
        r#"
    (core module $libc
      (memory (export "memory") 1)
      ;; 1024: ok, one message at 1040. 1040: no tag, keys, properties; body at 2048; no attributes.
      (data (i32.const 1024) "\00\00\00\00\10\04\00\00\01\00\00\00")
      (data (i32.const 1068) "\00\08\00\00\01\00\00\00")
      ;; 1100: rejected. 1120: retry. 1140: ok with 17 messages at 4096, which are all zero.
      (data (i32.const 1100) "\01\00\00\00\00\00\00\00\00\08\00\00\01\00\00\00")
      (data (i32.const 1120) "\01\00\00\00\01\00\00\00\00\08\00\00\01\00\00\00")
      (data (i32.const 1140) "\00\00\00\00\00\10\00\00\11\00\00\00")
      ;; 1160: ok, one message at 4096. 1180: error of init. 1200: ok, none.
      (data (i32.const 1160) "\00\00\00\00\00\10\00\00\01\00\00\00")
      (data (i32.const 1180) "\01\00\00\00\00\08\00\00\01\00\00\00")
      (data (i32.const 1200) "\00\00\00\00\00\00\00\00\00\00\00\00")
      (data (i32.const 2048) "x")
      ;; Nothing that the host passes in is read, so all of it may lie in one place.
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16384)))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (alias export $metrics "add" (func $metrics-add))
    (core func $add (canon lower (func $metrics-add) (memory $memory)))
    (alias export $poll "[method]pollable.block" (func $poll-block))
    (core func $block (canon lower (func $poll-block)))
    (core func $drop (canon resource.drop $pollable))
    (alias export $monotonic "subscribe-duration" (func $monotonic-subscribe))
    (core func $subscribe (canon lower (func $monotonic-subscribe)))
    (alias export $wall "now" (func $wall-now))
    (core func $now (canon lower (func $wall-now) (memory $memory)))
    (alias export $random "get-random-u64" (func $random-u64))
    (core func $random (canon lower (func $random-u64)))
    (core module $plugin
      (import "libc" "memory" (memory 1))
      (import "host" "add" (func $host-add (param i32 i32 i64)))
      (import "host" "block" (func $block (param i32)))
      (import "host" "drop" (func $drop (param i32)))
      (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
      (import "host" "now" (func $now (param i32)))
      (import "host" "random" (func $random (result i64)))
      (func $add (call $host-add (i32.const 2048) (i32.const 1) (i64.const 1)))
      (func $sleep-an-hour (local $timer i32)
        (local.set $timer (call $subscribe (i64.const 3600000000000)))
        (call $block (local.get $timer))
        (call $drop (local.get $timer)))
      (func (export "init") (param i32 i32) (result i32) {init})
      (func (export "map-event")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (param $time i64) (param i64 i32 i32 i32 i32)
        (result i32)
        (if (result i32) (i64.eq (local.get $time) (i64.const {MAGIC_TIME_MS}))
          (then {map})
          (else (i32.const 1024)))))
    (core instance $plugin (instantiate $plugin
      (with "libc" (instance $libc))
      (with "host" (instance
        (export "add" (func $add)) (export "block" (func $block)) (export "drop" (func $drop))
        (export "subscribe" (func $subscribe)) (export "now" (func $now))
        (export "random" (func $random))))))
    (alias core export $plugin "init" (core func $core-init))
    (alias core export $plugin "map-event" (core func $core-map-event))"#
    );
    format!("(component {IMPORTS} {core} {TYPES} {EXPORTS})")
}

const IMPORTS: &str = r#"
    (import "rulemill:rule/metrics@1.0.0" (instance $metrics
      (export "add" (func (param "name" string) (param "delta" u64)))))
    (import "wasi:io/poll@0.2.0" (instance $poll
      (export "pollable" (type $pollable (sub resource)))
      (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $monotonic
      (export "pollable" (type $theirs (eq $pollable)))
      (export "subscribe-duration" (func (param "when" u64) (result (own $theirs))))))
    (import "wasi:clocks/wall-clock@0.2.0" (instance $wall
      (type $datetime' (record (field "seconds" u64) (field "nanoseconds" u32)))
      (export "datetime" (type $datetime (eq $datetime')))
      (export "now" (func (result $datetime)))))
    (import "wasi:random/random@0.2.0" (instance $random
      (export "get-random-u64" (func (result u64)))))"#;

const EXPORTS: &str = r#"
    (func $init (param "config" string) (result (result (error string)))
      (canon lift (core func $core-init) (memory $memory) (realloc $realloc)))
    (func $map-event (param "event" $event) (result (result (list $message) (error $map-error)))
      (canon lift (core func $core-map-event) (memory $memory) (realloc $realloc)))
    (instance $lifecycle (export "init" (func $init)))
    (instance $mapper (export "map-event" (func $map-event)))
    (export "rulemill:rule/lifecycle@1.0.0" (instance $lifecycle))
    (export "rulemill:rule/status-mapper@1.0.0" (instance $mapper))"#;

pub(crate) fn config() -> RuntimeConfig {
    RuntimeConfig {
        mapper_threads: NonZeroUsize::MIN,
        memory_bytes_max: 16 * PAGE,
        memory_total_bytes_max: 1024 * PAGE,
        call_deadline: Duration::from_millis(10),
        init_deadline: Duration::from_millis(50),
        output_bytes_max: 1000,
        messages_max: 16,
        component_bytes_max: 1 << 20,
        node: "node-1".into(),
        instance: "mqtt-local".into(),
    }
}

pub(crate) fn runtime(config: RuntimeConfig) -> Arc<PluginRuntime> {
    PluginRuntime::start(config).unwrap()
}

pub(crate) fn spec() -> MapperSpec {
    MapperSpec {
        config: "{}".to_owned(),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    }
}

/// A mapper that does `map` on magic events.
pub(crate) fn mapper(runtime: &PluginRuntime, map: &str) -> Arc<Mapper> {
    let plugin = runtime.compile(&component(ACCEPT, map)).unwrap();
    runtime.prepare(&plugin, spec()).unwrap()
}

pub(crate) fn event(time_ms: u64) -> Arc<StatusEvent> {
    let client_id = ClientId::parse("GID_A@@@d1").unwrap();
    Arc::new(StatusEvent {
        event_id: EventId([1; 16]),
        event_type: EventType::Connect,
        time_ms,
        sequence: Sequence(1),
        reason: None,
        synthetic: None,
        connected_at_ms: time_ms,
        channel: Arc::new(ChannelFacts {
            group_id: client_id.group(),
            client_id,
            channel_id: ChannelId([2; 16]),
            client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            protocol: MqttVersion::V311,
            listener: "tcp",
            username: None,
            keep_alive_seconds: 0,
            clean_start: true,
            session_present: false,
        }),
    })
}

pub(crate) fn plain() -> Arc<StatusEvent> {
    event(1)
}

pub(crate) fn magic() -> Arc<StatusEvent> {
    event(MAGIC_TIME_MS)
}
