//! A plugin that needs no imports: what it does with an event depends on the length of the client id.

use hostile_components::TYPES;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::{MappingLimits, PluginDigest};
use plugin_runtime::{Mapper, MapperSpec, PluginRuntime, RuntimeConfig};

use crate::rule_set::LoadedMapper;

/// Client ids of this length trap.
pub(crate) const TRAPS: usize = 41;
/// They are told to retry.
pub(crate) const RETRIES: usize = 42;
/// They loop until the deadline.
pub(crate) const LOOPS: usize = 43;
/// They are rejected.
pub(crate) const REJECTED: usize = 44;
/// They have three messages.
pub(crate) const THREE: usize = 45;

/// A client id of `length` bytes; `name` tells it from others.
pub(crate) fn client_of_length(name: &str, length: usize) -> String {
    let prefix = format!("GID_Test@@@{name}");
    format!("{prefix}{}", "-".repeat(length - prefix.len()))
}

/// The runtime and the plugin are made once for all tests of the process.
pub(crate) fn loaded() -> (Arc<PluginRuntime>, LoadedMapper) {
    static LOADED: OnceLock<(Arc<PluginRuntime>, Arc<Mapper>)> = OnceLock::new();
    let (runtime, mapper) = LOADED.get_or_init(|| {
        let runtime = PluginRuntime::start(config()).unwrap();
        let plugin = runtime.compile(&component(TRAPS, 0)).unwrap();
        let spec = MapperSpec {
            config: "{}".to_owned(),
            limits: MappingLimits::default(),
            samples: Vec::new(),
        };
        let mapper = runtime.prepare(&plugin, spec).unwrap();
        (runtime, mapper)
    });
    let loaded = LoadedMapper {
        mapper: Arc::clone(mapper),
        version: 1,
        digest: PluginDigest([1; 32]),
        track: Arc::default(),
    };
    (Arc::clone(runtime), loaded)
}

/// Another version of the plugin, which traps for client ids of this length, too. Its track record is
/// its own.
pub(crate) fn version(version: u32, traps: usize) -> LoadedMapper {
    let (runtime, _) = loaded();
    let plugin = runtime.compile(&component(traps, 0)).unwrap();
    let spec = MapperSpec {
        config: "{}".to_owned(),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    };
    LoadedMapper {
        mapper: runtime.prepare(&plugin, spec).unwrap(),
        version,
        digest: plugin.facts().digest,
        track: Arc::default(),
    }
}

/// The plugin as it is uploaded: traps for client ids of length [`TRAPS`] and `traps`. Those with
/// another `label` are other bytes and do the same.
pub(crate) fn component(traps: usize, label: u8) -> Vec<u8> {
    let mut bytes = wat::parse_str(text(traps)).unwrap();
    // A custom section: its length, the length of its name, the name.
    bytes.extend([0, 2, 1, b'a' + label]);
    bytes
}

fn config() -> RuntimeConfig {
    RuntimeConfig {
        mapper_threads: NonZeroUsize::new(2).unwrap(),
        memory_bytes_max: 1 << 20,
        memory_total_bytes_max: 1 << 26,
        call_deadline: Duration::from_millis(50),
        init_deadline: Duration::from_secs(5),
        output_bytes_max: 1000,
        messages_max: 16,
        component_bytes_max: 1 << 20,
        node: "node-1".into(),
        instance: "mqtt-local".into(),
    }
}

fn text(traps: usize) -> String {
    let core = format!(
        r#"
    (core module $libc
      (memory (export "memory") 1)
      ;; 1024: ok, one message at 1040. 1040: no tag, keys, properties; body at 2048; no attributes.
      (data (i32.const 1024) "\00\00\00\00\10\04\00\00\01\00\00\00")
      (data (i32.const 1068) "\00\08\00\00\01\00\00\00")
      ;; 1100: rejected. 1120: retry. 1140: ok, three messages at 3000, 44 bytes each.
      (data (i32.const 1100) "\01\00\00\00\00\00\00\00\00\08\00\00\01\00\00\00")
      (data (i32.const 1120) "\01\00\00\00\01\00\00\00\00\08\00\00\01\00\00\00")
      (data (i32.const 1140) "\00\00\00\00\b8\0b\00\00\03\00\00\00")
      (data (i32.const 3028) "\00\08\00\00\01\00\00\00")
      (data (i32.const 3072) "\00\08\00\00\01\00\00\00")
      (data (i32.const 3116) "\00\08\00\00\01\00\00\00")
      (data (i32.const 2048) "x")
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16384)))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (core module $plugin
      (import "libc" "memory" (memory 1))
      (func (export "init") (param i32 i32) (result i32) (i32.const 0))
      (func (export "map-event")
        (param i32) (param i32) (param $length i32)
        (param i32 i32 i32 i32 i32 i32 i64 i64 i32 i32 i32 i32) (result i32)
        (if (i32.eq (local.get $length) (i32.const {TRAPS})) (then unreachable))
        (if (i32.eq (local.get $length) (i32.const {traps})) (then unreachable))
        (if (i32.eq (local.get $length) (i32.const {RETRIES})) (then (return (i32.const 1120))))
        (if (i32.eq (local.get $length) (i32.const {LOOPS})) (then (loop (br 0))))
        (if (i32.eq (local.get $length) (i32.const {REJECTED})) (then (return (i32.const 1100))))
        (if (i32.eq (local.get $length) (i32.const {THREE})) (then (return (i32.const 1140))))
        (i32.const 1024)))
    (core instance $plugin (instantiate $plugin (with "libc" (instance $libc))))
    (alias core export $plugin "init" (core func $core-init))
    (alias core export $plugin "map-event" (core func $core-map-event))"#
    );
    format!("(component {core} {TYPES} {EXPORTS})")
}

const EXPORTS: &str = r#"
    (func $init (param "config" string) (result (result (error string)))
      (canon lift (core func $core-init) (memory $memory) (realloc $realloc)))
    (func $map-event (param "event" $event) (result (result (list $message) (error $map-error)))
      (canon lift (core func $core-map-event) (memory $memory) (realloc $realloc)))
    (instance $lifecycle (export "init" (func $init)))
    (instance $mapper (export "map-event" (func $map-event)))
    (export "rulemill:rule/lifecycle@1.0.0" (instance $lifecycle))
    (export "rulemill:rule/status-mapper@1.0.0" (instance $mapper))"#;
