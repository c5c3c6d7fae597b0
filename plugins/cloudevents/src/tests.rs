//! The envelope, byte for byte.

use rulemill_sdk::{Event, EventType, MapError, StatusRule};

use crate::CloudEvents;

fn event() -> Event {
    let attributes = [
        ("reason", "keep-alive-timeout"),
        ("protocol", "mqtt5"),
        ("instance", "mqtt-local"),
    ];
    Event {
        event_type: EventType::Tcpclean,
        client_id: "GID_A@@@d1".into(),
        group_id: "GID_A".into(),
        channel_id: "0123456789abcdef0123456789abcdef".into(),
        client_ip: "192.0.2.7:50312".into(),
        time: 1_795_573_125_007,
        sequence: 4711,
        event_id: "01930000000070008000000000000001".into(),
        attributes: attributes
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
    }
}

fn body(event: &Event) -> String {
    let mut messages = CloudEvents::init("").unwrap().map_event(event).unwrap();
    assert_eq!(messages.len(), 1);
    String::from_utf8(messages.remove(0).body).unwrap()
}

#[test]
fn the_envelope_carries_the_whole_event() {
    assert_eq!(
        body(&event()),
        concat!(
            r#"{"specversion":"1.0","id":"01930000000070008000000000000001","#,
            r#""source":"/instances/mqtt-local/groups/GID_A","type":"rulemill.client.tcpclean","#,
            r#""subject":"GID_A@@@d1","time":"2026-11-25T02:18:45.007Z","datacontenttype":"application/json","#,
            r#""data":{"eventId":"01930000000070008000000000000001","eventType":"tcpclean","#,
            r#""clientId":"GID_A@@@d1","groupId":"GID_A","channelId":"0123456789abcdef0123456789abcdef","#,
            r#""clientIp":"192.0.2.7:50312","time":1795573125007,"sequence":4711,"reason":"keep-alive-timeout","#,
            r#""attributes":{"reason":"keep-alive-timeout","protocol":"mqtt5","instance":"mqtt-local"}}}"#,
        )
    );
}

#[test]
fn an_event_without_a_reason_has_no_such_field() {
    let mut event = event();
    event.attributes.remove(0);
    let body: serde_json::Value = serde_json::from_str(&body(&event)).unwrap();
    assert_eq!(body["data"].get("reason"), None);
    assert_eq!(body["data"]["attributes"]["protocol"], "mqtt5");
}

#[test]
fn without_an_instance_the_source_is_the_group() {
    let mut event = event();
    event.attributes.clear();
    let body: serde_json::Value = serde_json::from_str(&body(&event)).unwrap();
    assert_eq!(body["source"], "/groups/GID_A");
}

#[test]
fn tag_and_keys_are_those_of_the_default() {
    let messages = CloudEvents::init("{}")
        .unwrap()
        .map_event(&event())
        .unwrap();
    assert_eq!(messages[0].tag.as_deref(), Some("tcpclean"));
    assert_eq!(
        messages[0].keys,
        ["GID_A@@@d1", "0123456789abcdef0123456789abcdef"]
    );
    assert_eq!(messages[0].properties, []);
}

#[test]
fn a_time_that_rfc_3339_cannot_say_is_rejected() {
    let mut event = event();
    event.time = u64::MAX;
    let error = CloudEvents::init("")
        .unwrap()
        .map_event(&event)
        .unwrap_err();
    assert!(matches!(error, MapError::Rejected(reason) if reason.contains("year 9999")));
}

#[test]
fn a_setting_is_refused_by_its_name() {
    let error = CloudEvents::init(r#"{"remark":true}"#).unwrap_err();
    assert!(
        error.contains("remark") && error.contains("no settings"),
        "{error}"
    );
}

#[test]
fn a_configuration_is_an_object_or_nothing() {
    assert!(CloudEvents::init(" {} ").is_ok());
    for config in ["[]", "{", "true", "1"] {
        assert!(CloudEvents::init(config).is_err(), "{config}");
    }
}
