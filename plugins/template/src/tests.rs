//! What a template makes of an event, and what is said against one that cannot.

use rulemill_sdk::testing::{EventBuilder, Mapped, Plugin, connect, disconnect, tcpclean};
use serde_json::json;

use crate::Template;

fn map(config: &serde_json::Value, event: EventBuilder) -> Mapped {
    Plugin::<Template>::start(&config.to_string())
        .unwrap()
        .map(&event.build())
}

fn body(source: &str, event: EventBuilder) -> String {
    map(&json!({ "body": source }), event).body().to_owned()
}

fn refusal(config: &serde_json::Value) -> String {
    Plugin::<Template>::start(&config.to_string()).unwrap_err()
}

fn refused_body(source: &str) -> String {
    refusal(&json!({ "body": source }))
}

#[test]
fn each_part_of_the_message_is_a_template() {
    let config = json!({
        "tag": "{{ eventType | upper }}",
        "keys": ["{{ deviceId }}", "{{ channelId[:8] }}"],
        "properties": { "region": "eu", "why": "{{ reason | default('') }}" },
        "body": r#"{"device":{{ deviceId | tojson }},"at":"{{ time | rfc3339 }}","n":{{ sequence }}}"#,
    });
    let mapped = map(&config, tcpclean().client_id("GID_A@@@d\"1"));
    let message = mapped.message();
    assert_eq!(message.tag.as_deref(), Some("TCPCLEAN"));
    assert_eq!(message.keys, ["d\"1", "01234567"]);
    assert_eq!(
        message.properties,
        [
            ("region".into(), "eu".into()),
            ("why".into(), "connection-lost".into())
        ]
    );
    assert_eq!(
        mapped.body(),
        r#"{"device":"d\"1","at":"2026-11-25T02:19:45.007Z","n":3}"#
    );
}

#[test]
fn tag_and_keys_are_those_of_the_other_formats_unless_set() {
    let mapped = map(&json!({ "body": "x" }), connect());
    assert_eq!(mapped.message().tag.as_deref(), Some("connect"));
    assert_eq!(
        mapped.message().keys,
        ["GID_Test@@@device-1", "0123456789abcdef0123456789abcdef"]
    );
}

#[test]
fn what_renders_to_nothing_is_left_out() {
    let config = json!({
        "tag": "",
        "keys": ["{{ username | default('') }}"],
        "properties": { "why": "{{ reason | default('') }}" },
        "body": "x",
    });
    let mapped = map(&config, connect());
    assert_eq!(mapped.message().tag, None);
    assert!(mapped.message().keys.is_empty());
    assert!(mapped.message().properties.is_empty());
}

#[test]
fn a_body_that_renders_to_nothing_skips_the_event() {
    let config =
        json!({ "body": "{% if eventType != 'disconnect' %}\n{{ clientId }}{% endif %}\n" });
    assert!(map(&config, disconnect()).is_skipped());
    assert_eq!(map(&config, connect()).body(), "\nGID_Test@@@device-1");
}

#[test]
fn a_template_may_reject_an_event() {
    let config = json!({ "body": "{% if username is not defined %}{{ reject('who is ' ~ clientId) }}{% endif %}x" });
    assert_eq!(
        map(&config, connect()).rejection(),
        "who is GID_Test@@@device-1"
    );
    assert_eq!(
        map(&config, connect().attribute("username", "u")).body(),
        "x"
    );
}

#[test]
fn every_field_and_attribute_is_there() {
    let event = || {
        tcpclean()
            .attribute("username", "u")
            .attribute("certificateChainSn", "0a")
            .attribute("synthetic", "host-restart")
    };
    for (name, value) in [
        ("eventId", "01a2107f8f8f70008000000000000003"),
        ("eventType", "tcpclean"),
        ("clientId", "GID_Test@@@device-1"),
        ("groupId", "GID_Test"),
        ("deviceId", "device-1"),
        ("channelId", "0123456789abcdef0123456789abcdef"),
        ("clientIp", "192.0.2.7:50312"),
        ("time", "1795573185007"),
        ("sequence", "3"),
        ("reason", "connection-lost"),
        ("protocol", "mqtt5"),
        ("listener", "tcp"),
        ("username", "u"),
        ("keepAlive", "60"),
        ("cleanStart", "true"),
        ("sessionPresent", "false"),
        ("connectedAt", "1795573125007"),
        ("certificateChainSn", "0a"),
        ("node", "node-1"),
        ("instance", "mqtt-local"),
        ("synthetic", "host-restart"),
    ] {
        let source = format!("{{{{ {name} | default('') }}}}.");
        assert_eq!(body(&source, event()), format!("{value}."), "{name}");
    }
}

#[test]
fn attributes_are_a_map_in_the_order_of_the_event() {
    let later = connect().attribute("laterAttribute", "x");
    let source = "{{ attributes | tojson }}";
    assert_eq!(
        body(source, later.clone()),
        concat!(
            r#"{"protocol":"mqtt5","listener":"tcp","keepAlive":"60","cleanStart":"true","#,
            r#""sessionPresent":"false","connectedAt":"1795573125007","node":"node-1","#,
            r#""instance":"mqtt-local","laterAttribute":"x"}"#,
        )
    );
    let source = "{% for name in attributes %}{{ name }},{% endfor %}{{ attributes.laterAttribute | default('-') }}";
    assert!(body(source, later).ends_with(",laterAttribute,x"));
    assert!(body(source, connect()).ends_with(",instance,-"));
}

#[test]
fn tojson_writes_json_and_nothing_for_html() {
    for (expression, json) in [
        ("clientId", r#""GID_Test@@@device-1""#),
        (r#""<&'\"\\\n""#, r#""<&'\"\\\n""#),
        ("time", "1795573125007"),
        ("1.5", "1.5"),
        ("keepAlive | int", "60"),
        ("none", "null"),
        ("cleanStart == 'true'", "true"),
        ("[1, 'a', [true]]", r#"[1,"a",[true]]"#),
        ("{'a': {'b': 1}}", r#"{"a":{"b":1}}"#),
    ] {
        let source = format!("{{{{ ({expression}) | tojson }}}}");
        assert_eq!(body(&source, connect()), json, "{expression}");
    }
    assert!(refused_body("{{ (1, clientId, username) | tojson }}").contains("not there"));
}

#[test]
fn a_mistake_is_told_with_field_line_and_column() {
    for (source, words) in [
        ("{{ clientId", ["body", "syntax error", "line 1"]),
        (
            "{\n  \"a\": {{ clientId + }}\n}",
            ["body", "syntax error", "line 2"],
        ),
        (
            "{\n  \"a\": {{ client_id }}\n}",
            ["body", "`client_id`", "line 2, column 11"],
        ),
        (
            "é{{ clientId | shout }}",
            ["body", "shout", "line 1, column"],
        ),
        ("{{ clientId is shouting }}", ["body", "shouting", "line 1"]),
        ("{{ clientId.shout() }}", ["body", "shout", "line 1"]),
        (
            "x\n{{ reason }}",
            ["body: undefined value", "line 2, column 4", "connect event"],
        ),
        (
            "{{ username }}",
            ["body", "line 1, column 4", "anonymous client"],
        ),
        (
            "{{ attributes.color }}",
            ["body", "attributes.color", "line 1"],
        ),
        ("{{ username | rfc3339 }}", ["body", "line 1", "anonymous"]),
        (
            "{{ clientId | rfc3339 }}",
            ["body", "UNIX milliseconds", "line 1"],
        ),
        ("{% if true %}x", ["body", "syntax error", "line 1"]),
        ("{% include 'x' %}", ["body", "syntax error", "line 1"]),
        (
            "{{ client[:3] }}",
            ["body", "`client` is undefined", "line 1, column 4"],
        ),
        ("{{ debug() }}", ["body", "`debug`", "line 1, column 4"]),
    ] {
        let error = refused_body(source);
        for word in words {
            assert!(error.contains(word), "{source}: {error}");
        }
    }
}

#[test]
fn the_other_parts_are_told_by_their_names() {
    for (config, field) in [
        (json!({ "tag": "{{ x }}", "body": "x" }), "tag: "),
        (json!({ "keys": ["a", "{{"], "body": "x" }), "keys[1]: "),
        (
            json!({ "properties": { "p": "{{ x }}" }, "body": "x" }),
            "properties.p: ",
        ),
        (json!({ "body": 1 }), "body: "),
        (json!({ "keys": "x", "body": "x" }), "keys: "),
        (json!({}), "`body`"),
        (json!({ "body": "x", "topic": "x" }), "topic"),
        (json!({ "keys": ["two words"], "body": "x" }), "keys[0]: "),
    ] {
        let error = refusal(&config);
        assert!(
            error.starts_with("bad configuration: ") && error.contains(field),
            "{config}: {error}"
        );
    }
}

#[test]
fn a_template_that_runs_away_is_refused() {
    for source in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 100000000 }}",
        "{% set ns = namespace(x='x') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    ] {
        let error = refused_body(source);
        assert!(
            error.contains("body: ") && error.contains("line 1"),
            "{source}: {error}"
        );
    }
    let nested = format!("{{{{ {}x{} }}}}", "(".repeat(200), ")".repeat(200));
    assert!(refused_body(&nested).contains("recursion"));
    let long = format!("é\n{{{{ clientId{} }}}}", "|upper".repeat(200));
    let error = refused_body(&long);
    assert!(error.contains("1024 bytes at line 2, column 1"), "{error}");
    let deep = "{% if true %}".repeat(400) + &"{% endif %}".repeat(400);
    assert!(refused_body(&deep).contains("recursion"));
}

#[test]
fn one_event_may_be_beyond_what_was_tried() {
    let config = json!({ "body": "{% for a in range(sequence * 5) %}..{% endfor %}x" });
    let error = Plugin::<Template>::start(&config.to_string()).unwrap_err();
    assert!(error.contains("fuel"), "{error}");
    let config = json!({ "body": "{% for a in range(sequence // 100) %}..{% endfor %}x" });
    let mapped = map(&config, connect().sequence(900_000));
    assert!(mapped.rejection().contains("line 1"), "{:?}", mapped.answer);
}

#[test]
fn each_field_has_a_size() {
    let long = "x".repeat(64 * 1024 + 1);
    assert!(refused_body(&long).contains("65536"));
    let tag = json!({ "tag": "x".repeat(4097), "body": "x" });
    assert!(refusal(&tag).contains("tag: 4097 bytes"));
    let keys = json!({ "keys": vec!["x"; 17], "body": "x" });
    assert!(refusal(&keys).contains("keys: 17 keys"));
    let properties: serde_json::Map<_, _> = (0..33).map(|n| (n.to_string(), json!("x"))).collect();
    assert!(refusal(&json!({ "properties": properties, "body": "x" })).contains("33"));
}
