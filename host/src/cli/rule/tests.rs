use serde_json::{Value, json};

use super::change_type;
use super::parts::{Parts, parse_object};

fn parts() -> Parts {
    Parts {
        instance: None,
        ordering: None,
        plugin: None,
        plugin_version: None,
        config: None,
        memory: None,
        description: None,
        on_fault: None,
        on_reject: None,
        force: false,
    }
}

#[test]
fn an_edit_changes_only_what_was_given() {
    let rule = json!({ "description": "a", "mapping": { "plugin": "p", "version": 2, "config": { "x": 1 } } });
    let edited = |parts: Parts| {
        let mut rule = rule.clone();
        parts.write_into(&mut rule);
        rule
    };
    assert_eq!(edited(parts()), rule);
    // Another plugin's version number would mean nothing.
    let other = edited(Parts {
        plugin: Some("q".to_owned()),
        ..parts()
    });
    assert_eq!(
        other["mapping"],
        json!({ "plugin": "q", "version": "latest", "config": { "x": 1 } })
    );
    let same = edited(Parts {
        plugin: Some("p".to_owned()),
        ..parts()
    });
    assert_eq!(same["mapping"]["version"], 2);
    let pinned = edited(Parts {
        plugin: Some("q".to_owned()),
        plugin_version: Some("3".to_owned()),
        ..parts()
    });
    assert_eq!(pinned["mapping"]["version"], 3);
    let empty = edited(Parts {
        config: Some(parse_object("{}").unwrap()),
        description: Some(String::new()),
        ..parts()
    });
    assert_eq!(
        (&empty["mapping"]["config"], &empty["description"]),
        (&json!({}), &json!(""))
    );
}

#[test]
fn the_ordering_is_part_of_the_destination() {
    let mut rule = json!({ "destination": { "topic": "T", "ordering": "strict" }, "mapping": {} });
    let ordering = Some("available".to_owned());
    Parts {
        ordering,
        ..parts()
    }
    .write_into(&mut rule);
    assert_eq!(
        rule["destination"],
        json!({ "topic": "T", "ordering": "available" })
    );
}

#[test]
fn memory_is_one_of_the_limits() {
    let memory = || Parts {
        memory: Some("64MiB".parse().unwrap()),
        ..parts()
    };
    let mut rule = json!({ "mapping": {} });
    memory().write_into(&mut rule);
    assert_eq!(
        rule["mapping"]["limits"],
        json!({ "memoryBytesMax": 67_108_864 })
    );
    let mut rule = json!({ "mapping": { "limits": { "callDeadlineMs": 5 } } });
    memory().write_into(&mut rule);
    assert_eq!(
        rule["mapping"]["limits"],
        json!({ "callDeadlineMs": 5, "memoryBytesMax": 67_108_864 })
    );
}

#[test]
fn a_plugin_configuration_is_an_object() {
    assert!(parse_object("{\"a\": [1]}").is_ok());
    for wrong in ["", "[]", "1", "{a: 1}"] {
        assert!(parse_object(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_rule_of_another_type_keeps_its_rocketmq_end() {
    let status = json!({
        "ruleId": "r", "type": "clientStatusNotification", "status": "enabled",
        "source": { "groupId": "GID_A" },
        "destination": { "service": "rocketmq", "instanceId": "i", "topic": "T", "ordering": "strict" },
        "mapping": { "plugin": "filter" }, "onActivate": "none",
    });
    let changed = |rule: &Value, rule_type: &str| {
        let mut rule = rule.clone();
        change_type(&mut rule, rule_type);
        rule
    };
    assert_eq!(changed(&status, "clientStatusNotification"), status);
    let inbound = changed(&status, "dataInbound");
    assert_eq!(
        inbound,
        json!({
            "ruleId": "r", "type": "dataInbound",
            "source": { "service": "rocketmq", "instanceId": "i", "topic": "T" },
            "destination": {},
        })
    );
    let inbound = json!({
        "ruleId": "r", "type": "dataInbound",
        "source": { "service": "rocketmq", "instanceId": "i", "topic": "T" },
        "destination": { "mqttTopic": "M" },
    });
    let outbound = changed(&inbound, "dataOutbound");
    assert_eq!(
        outbound,
        json!({
            "ruleId": "r", "type": "dataOutbound",
            "source": { "mqttTopic": "M" },
            "destination": { "service": "rocketmq", "instanceId": "i", "topic": "T" },
        })
    );
    assert_eq!(
        changed(&outbound, "clientStatusNotification"),
        json!({
            "ruleId": "r", "type": "clientStatusNotification",
            "source": {},
            "destination": { "service": "rocketmq", "instanceId": "i", "topic": "T" },
            "mapping": {},
        })
    );
}
