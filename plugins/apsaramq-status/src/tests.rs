//! The format, byte for byte.

use rulemill_sdk::testing::{self, Plugin};
use rulemill_sdk::{Event, EventType, Message};

use crate::ApsaramqStatus;

fn event(event_type: EventType, attributes: &[(&str, &str)]) -> Event {
    let event = testing::event(event_type)
        .client_id("GID_A@@@d\"1")
        .client_ip("[2001:db8::7]:50312")
        .time(1_795_573_125_000)
        .without("reason");
    attributes
        .iter()
        .fold(event, |event, (name, value)| event.attribute(name, value))
        .build()
}

fn map(config: &str, event: &Event) -> Message {
    let plugin = Plugin::<ApsaramqStatus>::start(config).unwrap();
    plugin.map(event).message().clone()
}

fn body(config: &str, event: &Event) -> String {
    String::from_utf8(map(config, event).body).unwrap()
}

const FIVE: &str = concat!(
    r#"{"clientId":"GID_A@@@d\"1","time":1795573125000,"eventType":"tcpclean","#,
    r#""channelId":"0123456789abcdef0123456789abcdef","clientIp":"[2001:db8::7]:50312""#
);

#[test]
fn the_body_has_five_fields_in_order() {
    let event = event(
        EventType::Tcpclean,
        &[("reason", "kicked"), ("protocol", "mqtt5")],
    );
    for config in ["", "{}", " { } ", r#"{"remark":false}"#] {
        assert_eq!(body(config, &event), format!("{FIVE}}}"), "{config}");
    }
}

#[test]
fn a_certificate_is_told_when_there_is_one() {
    let event = event(
        EventType::Tcpclean,
        &[("reason", "kicked"), ("certificateChainSn", "0a,0b")],
    );
    assert_eq!(
        body("", &event),
        format!(r#"{FIVE},"certificateChainSn":"0a,0b"}}"#)
    );
    assert_eq!(
        body(r#"{"remark":true}"#, &event),
        format!(r#"{FIVE},"certificateChainSn":"0a,0b","remark":"kicked"}}"#)
    );
}

#[test]
fn a_remark_needs_the_setting_and_a_reason() {
    assert_eq!(
        body(
            r#"{"remark":true}"#,
            &event(EventType::Tcpclean, &[("reason", "kicked")])
        ),
        format!(r#"{FIVE},"remark":"kicked"}}"#)
    );
    assert_eq!(
        body(r#"{"remark":true}"#, &event(EventType::Tcpclean, &[])),
        format!("{FIVE}}}")
    );
}

#[test]
fn tag_and_keys_name_type_client_and_channel() {
    for (event_type, tag) in [
        (EventType::Connect, "connect"),
        (EventType::Disconnect, "disconnect"),
        (EventType::Tcpclean, "tcpclean"),
    ] {
        let message = map("", &event(event_type, &[]));
        assert_eq!(message.tag.as_deref(), Some(tag));
        assert_eq!(
            message.keys,
            ["GID_A@@@d\"1", "0123456789abcdef0123456789abcdef"]
        );
        assert_eq!(message.properties, []);
    }
}

#[test]
fn an_unknown_setting_is_named_with_the_known_ones() {
    let error = Plugin::<ApsaramqStatus>::start(r#"{"remarks":true}"#).unwrap_err();
    assert!(
        error.contains("remarks") && error.contains("`remark`"),
        "{error}"
    );
}

#[test]
fn a_setting_of_the_wrong_kind_is_refused() {
    for config in [r#"{"remark":1}"#, "[]", "{", "true"] {
        assert!(Plugin::<ApsaramqStatus>::start(config).is_err(), "{config}");
    }
}

#[test]
fn a_client_id_with_a_blank_is_no_key() {
    let mut event = event(EventType::Connect, &[]);
    event.client_id = "GID_A@@@two words".into();
    assert_eq!(map("", &event).keys, ["0123456789abcdef0123456789abcdef"]);
}
