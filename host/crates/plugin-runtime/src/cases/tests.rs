use std::sync::Arc;

use domain::{CloseReason, EventType, MappingLimits, MqttVersion};
use serde_json::{Value, json};

use super::{Case, EventIn, with_cases};
use crate::tests::fixture::{ACCEPT, MAGIC_TIME_MS, component, config, runtime};
use crate::{CodeCacheConfig, CodeConfig, CompiledPlugin, Compiler, PluginRuntime};

fn case(value: Value) -> Case {
    serde_json::from_value(value).unwrap()
}

/// What a plugin that does `map` on magic events, with this `init`, makes of a case.
fn run(init: &str, map: &str, value: Value) -> Vec<String> {
    let runtime = runtime(config());
    let plugin = runtime.compile(&component(init, map)).unwrap();
    let limits = MappingLimits::default();
    let report = runtime.run_case(&plugin, &case(value), limits).unwrap();
    report.mismatches.iter().map(ToString::to_string).collect()
}

fn magic(mut outcome: Value) -> Value {
    outcome["name"] = json!("a case");
    outcome["event"] = json!({ "time": MAGIC_TIME_MS });
    outcome
}

#[test]
fn a_case_compares_only_what_it_names() {
    let message = "(i32.const 1024)";
    let holds = |outcome: Value| run(ACCEPT, message, magic(outcome)).is_empty();
    assert!(holds(json!({ "message": [{ "body": "x" }] })));
    assert!(holds(json!({ "message": [{}] })));
    assert!(holds(
        json!({ "message": [{ "body-base64": "eA==", "keys": [] }] })
    ));
    assert!(!holds(json!({ "message": [{ "body": "y" }] })));
    assert!(!holds(json!({ "message": [{ "tag": "t" }] })));
    assert!(!holds(
        json!({ "message": [{ "properties": { "p": "1" } }] })
    ));
    assert!(!holds(json!({ "message": [{}, {}] })));
    assert!(!holds(json!({ "skipped": true })));
    assert!(!holds(json!({ "rejected": "x" })));
}

#[test]
fn each_outcome_can_be_expected_and_is_told_when_it_differs() {
    let outcomes = [
        (ACCEPT, "(i32.const 1100)", json!({ "rejected": "x" })),
        (ACCEPT, "(i32.const 1120)", json!({ "retry": "x" })),
        (ACCEPT, "(i32.const 1200)", json!({ "skipped": true })),
        (
            "(i32.const 1180)",
            "unreachable",
            json!({ "config-refused": "x" }),
        ),
    ];
    for (init, map, outcome) in outcomes {
        assert_eq!(run(init, map, magic(outcome)), [""; 0]);
        let other = run(init, map, magic(json!({ "message": [{}] })));
        assert_eq!(other.len(), 1);
        assert!(
            other[0].starts_with("outcome: expected 1 message, got "),
            "{other:?}"
        );
    }
    let trap = run(ACCEPT, "unreachable", magic(json!({ "skipped": true })));
    assert!(
        trap[0].contains("got a fault: the plugin trapped"),
        "{trap:?}"
    );
}

#[test]
fn a_case_names_exactly_one_outcome() {
    for outcome in [json!({}), json!({ "skipped": true, "rejected": "x" })] {
        assert!(case(magic(outcome)).check().is_err());
    }
}

#[test]
fn cases_travel_inside_the_component() {
    let runtime = runtime(config());
    let plain = component(ACCEPT, "(i32.const 1024)");
    let good = case(magic(json!({ "message": [{ "body": "x" }] })));
    let bad = case(magic(json!({ "skipped": true })));
    let own = |bytes: &[u8]| -> Arc<CompiledPlugin> { runtime.compile(bytes).unwrap() };

    let one = with_cases(&plain, std::slice::from_ref(&good)).unwrap();
    assert_eq!(own(&one).cases(), std::slice::from_ref(&good));
    assert_eq!(runtime.run_own_cases(&own(&one)), Ok(1));

    // The section is replaced, not repeated.
    let both = with_cases(&one, &[good, bad]).unwrap();
    let failed = runtime.run_own_cases(&own(&both)).unwrap_err();
    assert!(
        failed.detail.contains("expected skipped, got 1 message"),
        "{failed}"
    );
    assert_eq!(with_cases(&both, &[]).unwrap(), plain);
}

#[test]
fn another_case_needs_no_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CodeCacheConfig {
        folder: folder.path().join("compiled"),
        key_file: folder.path().join("key"),
        bytes_max: 1 << 30,
    };
    let code = CodeConfig {
        compiler: Compiler::InProcess,
        cache: Some(cache),
    };
    let runtime = PluginRuntime::start_with(config(), code).unwrap();
    let plain = component(ACCEPT, "(i32.const 1024)");
    runtime.compile(&plain).unwrap();
    let case = case(magic(json!({ "skipped": true })));
    runtime
        .compile(&with_cases(&plain, &[case]).unwrap())
        .unwrap();
    let stats = runtime.code_cache_stats();
    assert_eq!((stats.hits, stats.misses), (1, 1));
}

#[test]
fn cases_that_cannot_be_read_refuse_the_component() {
    let runtime = runtime(config());
    let good = case(magic(json!({ "skipped": true })));
    let mut bytes = with_cases(&component(ACCEPT, "(i32.const 1024)"), &[good]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] = b'!';
    let error = runtime.compile(&bytes).unwrap_err();
    assert!(error.to_string().contains("is no list of cases"), "{error}");
}

#[test]
fn an_event_has_fixed_defaults_and_takes_every_field() {
    let event = EventIn::default().read().unwrap();
    assert_eq!(event.event_type, EventType::Connect);
    assert_eq!(event.channel.client_id.as_str(), "GID_Example@@@device-1");
    let event: EventIn = serde_json::from_value(json!({
        "eventType": "tcpclean", "clientId": "GID_Beta@@@x", "groupId": "GID_Beta", "channelId": "0123456789abcdef0123456789abcdef",
        "clientIp": "[2001:db8::1]:1", "time": 5, "sequence": 6, "eventId": "fedcba98-7654-3210-fedc-ba9876543210",
        "reason": "kicked", "attributes": { "protocol": "mqtt3.1.1", "username": "u", "keepAlive": "0", "connectedAt": "4" }
    }))
    .unwrap();
    let event = event.read().unwrap();
    assert_eq!(event.reason, Some(CloseReason::Kicked));
    assert_eq!(event.channel.protocol, MqttVersion::V311);
    assert_eq!(event.channel.username.as_deref(), Some("u"));
    assert_eq!(event.connected_at_ms, 4);
    assert_eq!(
        event.event_id.to_string(),
        "fedcba9876543210fedcba9876543210"
    );
}

#[test]
fn what_is_wrong_with_an_event_names_its_field() {
    let wrong = [
        (json!({ "eventType": "connected" }), "eventType"),
        (json!({ "clientId": "" }), "clientId"),
        (json!({ "groupId": "GID_Other" }), "groupId"),
        (json!({ "channelId": "12" }), "channelId"),
        (json!({ "clientIp": "192.0.2.7" }), "clientIp"),
        (json!({ "sequence": 9_007_199_254_740_992_u64 }), "sequence"),
        (json!({ "reason": "kicked" }), "reason"),
        (
            json!({ "eventType": "tcpclean", "reason": "bored" }),
            "reason",
        ),
        (json!({ "attributes": { "node": "n" } }), "attributes.node"),
        (
            json!({ "attributes": { "cleanStart": "1" } }),
            "attributes.cleanStart",
        ),
    ];
    for (value, field) in wrong {
        let event: EventIn = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(event.read().unwrap_err().field, field, "{value}");
    }
}
