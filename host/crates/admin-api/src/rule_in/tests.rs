use domain::{AnyRuleDraft, MappingLimits, OnFault, OnReject, RuleDraft, RuleId, VersionSelector};
use serde_json::{Value, json};

use super::{CheckedRule, parse_rule};
use crate::api_error::ApiError;

fn smallest() -> Value {
    json!({
        "ruleId": "to-topicb",
        "type": "clientStatusNotification",
        "source": { "groupId": "GID_Client_Status" },
        "destination": { "service": "rocketmq", "instanceId": "embedded", "topic": "TopicB" }
    })
}

fn check(value: &Value) -> Result<CheckedRule, ApiError> {
    parse_rule(value.to_string().as_bytes())?.check(None)
}

fn status(rule: CheckedRule) -> RuleDraft {
    match rule.draft {
        AnyRuleDraft::Status(draft) => draft,
        AnyRuleDraft::Data(draft) => panic!("{draft:?} is no status rule"),
    }
}

fn outbound() -> Value {
    json!({
        "ruleId": "telemetry",
        "type": "dataOutbound",
        "source": { "mqttTopic": "Telemetry" },
        "destination": { "service": "rocketmq", "instanceId": "embedded", "topic": "TopicT" }
    })
}

#[test]
fn a_data_rule_is_kept_disabled_and_has_no_mapping() {
    let rule = check(&outbound()).unwrap();
    assert!(!rule.draft.is_enabled() && rule.warnings[0].contains("disabled"));
    let inbound = json!({
        "ruleId": "commands",
        "status": "disabled",
        "type": "dataInbound",
        "source": { "service": "rocketmq", "instanceId": "embedded", "topic": "TopicC" },
        "destination": { "mqttTopic": "Commands" }
    });
    assert!(check(&inbound).unwrap().warnings.is_empty());
    let table = [
        ("status", json!("enabled"), "data_rule_held"),
        ("mapping", json!({}), "invalid_rule"),
        ("onActivate", json!("none"), "invalid_rule"),
        (
            "source",
            json!({ "groupId": "GID_Devices" }),
            "invalid_rule",
        ),
        ("source", json!({ "mqttTopic": "a/b" }), "invalid_rule"),
        ("source", json!({}), "invalid_rule"),
        (
            "destination",
            json!({ "mqttTopic": "Other" }),
            "invalid_rule",
        ),
    ];
    for (field, wrong, code) in table {
        let mut value = outbound();
        value[field] = wrong;
        let error = check(&value).unwrap_err();
        assert_eq!(error.code(), code, "{field}: {}", error.message());
    }
}

#[test]
fn everything_but_id_type_source_and_destination_has_a_default() {
    let rule = check(&smallest()).unwrap();
    assert!(rule.warnings.is_empty());
    let draft = status(rule);
    assert!(draft.enabled && draft.description.is_empty());
    let mapping = draft.mapping;
    assert_eq!(mapping.plugin.as_str(), "apsaramq-status");
    assert_eq!(mapping.version, VersionSelector::Latest);
    assert_eq!(mapping.config, "{}");
    assert_eq!(mapping.limits, MappingLimits::default());
    assert_eq!(
        (mapping.on_fault, mapping.on_reject),
        (OnFault::DeadLetter, OnReject::DeadLetter)
    );
    for field in ["ruleId", "type", "source", "destination"] {
        let mut value = smallest();
        value.as_object_mut().unwrap().remove(field);
        let error = check(&value).unwrap_err();
        assert_eq!(error.code(), "invalid_rule");
        assert!(
            error.message().contains(&format!("{field} is missing")),
            "{}",
            error.message()
        );
    }
}

#[test]
fn what_the_server_makes_is_ignored() {
    let mut value = smallest();
    let more = json!({
        "revision": 3, "createdAt": 0, "updatedAt": 0, "warnings": [], "state": { "health": "running" },
        "mapping": { "plugin": "cloudevents", "version": 2, "config": { "b": 1, "a": [true] },
                     "limits": { "callDeadlineMs": 5 }, "onFault": "retry", "onReject": "skip" }
    });
    value
        .as_object_mut()
        .unwrap()
        .append(&mut more.as_object().unwrap().clone());
    let mapping = status(check(&value).unwrap()).mapping;
    assert_eq!(mapping.version, VersionSelector::Number(2));
    assert_eq!(
        serde_json::from_str::<Value>(&mapping.config).unwrap(),
        json!({ "b": 1, "a": [true] })
    );
    assert_eq!(mapping.limits.call_deadline_ms, Some(5));
    assert_eq!(
        (mapping.on_fault, mapping.on_reject),
        (OnFault::Retry, OnReject::Skip)
    );
}

#[test]
fn a_long_rule_id_is_cut_and_says_so() {
    let mut value = smallest();
    value["ruleId"] = "r".repeat(65).into();
    let rule = check(&value).unwrap();
    assert_eq!(rule.draft.rule_id().as_str(), "r".repeat(64));
    assert!(rule.warnings[0].contains("was cut to"));
}

#[test]
fn an_id_in_the_path_must_be_the_one_in_the_body() {
    let path_id = RuleId::parse("other").unwrap();
    let rule = |value: &Value| {
        parse_rule(value.to_string().as_bytes())
            .unwrap()
            .check(Some(&path_id))
    };
    assert_eq!(rule(&smallest()).unwrap_err().code(), "invalid_rule");
    let mut value = smallest();
    value.as_object_mut().unwrap().remove("ruleId");
    assert_eq!(*rule(&value).unwrap().draft.rule_id(), path_id);
}

#[expect(clippy::too_many_lines, reason = "one row per wrong part")]
#[test]
fn each_wrong_part_is_named_with_what_would_be_right() {
    let table = [
        ("/ruleId", json!("ab"), "invalid_rule_id", "3 to 64"),
        (
            "/ruleId",
            json!("a b"),
            "invalid_rule_id",
            "letters, digits",
        ),
        (
            "/ruleId",
            json!("---"),
            "invalid_rule_id",
            "at least one letter or digit",
        ),
        (
            "/source/groupId",
            json!("GID_a"),
            "invalid_group_id",
            "7 to 64",
        ),
        (
            "/source/groupId",
            json!("Client"),
            "invalid_group_id",
            "GID_",
        ),
        (
            "/source",
            json!({ "mqttTopic": "a" }),
            "invalid_rule",
            "mqttTopic",
        ),
        (
            "/type",
            json!("status"),
            "invalid_rule",
            "clientStatusNotification, dataOutbound, dataInbound",
        ),
        (
            "/destination/service",
            json!("kafka"),
            "invalid_rule",
            "rocketmq",
        ),
        (
            "/destination/instanceId",
            json!("a b"),
            "unknown_instance",
            "destination.instanceId",
        ),
        (
            "/destination/topic",
            json!("a b"),
            "invalid_rule",
            "destination.topic",
        ),
        (
            "/destination/ordering",
            json!("sorted"),
            "invalid_rule",
            "strict, available",
        ),
        ("/status", json!("on"), "invalid_rule", "enabled, disabled"),
        (
            "/onActivate",
            json!("all"),
            "invalid_rule",
            "none, snapshot",
        ),
        (
            "/mapping",
            json!({ "plugin": "A B" }),
            "invalid_plugin_name",
            "mapping.plugin",
        ),
        (
            "/mapping",
            json!({ "version": "newest" }),
            "invalid_rule",
            "latest",
        ),
        (
            "/mapping",
            json!({ "version": 0 }),
            "invalid_rule",
            "from 1",
        ),
        ("/mapping", json!({ "config": [] }), "invalid_rule", "map"),
        (
            "/mapping",
            json!({ "config": "{" }),
            "invalid_rule",
            "not JSON",
        ),
        (
            "/mapping",
            json!({ "limits": { "memoryBytesMax": 0 } }),
            "invalid_rule",
            "above 0",
        ),
        (
            "/mapping",
            json!({ "onFault": "drop" }),
            "invalid_rule",
            "deadLetter, retry, skip, default",
        ),
        (
            "/mapping",
            json!({ "onReject": "retry" }),
            "invalid_rule",
            "deadLetter, skip",
        ),
        (
            "/mapping",
            json!({ "plugins": "x" }),
            "invalid_rule",
            "unknown field `plugins`",
        ),
        (
            "/description",
            json!("x".repeat(1025)),
            "invalid_rule",
            "description",
        ),
        (
            "/mappping",
            json!({}),
            "invalid_rule",
            "unknown field `mappping`",
        ),
    ];
    for (place, wrong, code, part) in table {
        let mut value = smallest();
        match place.rsplit_once('/').unwrap() {
            ("", field) => value[field] = wrong,
            (parent, field) => value.pointer_mut(parent).unwrap()[field] = wrong,
        }
        let error = check(&value).unwrap_err();
        assert_eq!(error.code(), code, "{place}: {}", error.message());
        assert!(
            error.message().contains(part),
            "{place}: {}",
            error.message()
        );
    }
}

#[test]
fn broken_json_is_not_called_a_broken_rule() {
    for body in ["", "{", "nonsense"] {
        assert_eq!(
            parse_rule(body.as_bytes()).unwrap_err().code(),
            "invalid_json"
        );
    }
    assert_eq!(parse_rule(b"[]").unwrap_err().code(), "invalid_rule");
    let twice = parse_rule(br#"{"status": "enabled", "status": "disabled"}"#).unwrap_err();
    assert_eq!(twice.code(), "invalid_rule");
    assert!(
        twice.message().contains("duplicate field `status`"),
        "{}",
        twice.message()
    );
}

#[test]
fn equal_configurations_are_equal_texts() {
    let config = |config: Value| {
        let mut value = smallest();
        value["mapping"] = json!({ "config": config });
        status(check(&value).unwrap()).mapping.config
    };
    let given = config(json!({ "b": { "d": 1, "c": null }, "a": [{ "f": 1, "e": 2 }] }));
    assert_eq!(given, r#"{"a":[{"e":2,"f":1}],"b":{"c":null,"d":1}}"#);
    assert_eq!(config(Value::String(given.clone())), given);
}
