//! The envelope, byte for byte.

use rulemill_sdk::Event;
use rulemill_sdk::testing::{self, Mapped, Plugin};

use crate::CloudEvents;

fn event() -> Event {
    let mut event = testing::tcpclean()
        .client_id("GID_A@@@d1")
        .time(1_795_573_125_007)
        .sequence(4711)
        .event_id("01930000000070008000000000000001")
        .build();
    let attributes = [
        ("reason", "keep-alive-timeout"),
        ("protocol", "mqtt5"),
        ("instance", "mqtt-local"),
    ];
    event.attributes = attributes
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
    event
}

fn map(event: &Event) -> Mapped {
    Plugin::<CloudEvents>::start("").unwrap().map(event)
}

fn body(event: &Event) -> String {
    map(event).body().to_owned()
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
    let mapped = map(&event());
    let message = mapped.message();
    assert_eq!(message.tag.as_deref(), Some("tcpclean"));
    assert_eq!(
        message.keys,
        ["GID_A@@@d1", "0123456789abcdef0123456789abcdef"]
    );
    assert_eq!(message.properties, []);
}

#[test]
fn a_time_that_rfc_3339_cannot_say_is_rejected() {
    let mut event = event();
    event.time = u64::MAX;
    assert!(map(&event).rejection().contains("year 9999"));
}

#[test]
fn a_setting_is_refused_by_its_name() {
    let error = Plugin::<CloudEvents>::start(r#"{"remark":true}"#).unwrap_err();
    assert!(
        error.contains("remark") && error.contains("no settings"),
        "{error}"
    );
}

#[test]
fn a_configuration_is_an_object_or_nothing() {
    assert!(Plugin::<CloudEvents>::start(" {} ").is_ok());
    for config in ["[]", "{", "true", "1"] {
        assert!(Plugin::<CloudEvents>::start(config).is_err(), "{config}");
    }
}
