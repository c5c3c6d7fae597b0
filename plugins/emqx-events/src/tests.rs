//! The bodies, byte for byte, and which event becomes which.

use rulemill_sdk::testing::{EventBuilder, Mapped, Plugin, connect, disconnect, tcpclean};
use serde_json::Value;

use crate::EmqxEvents;

fn map(config: &str, event: EventBuilder) -> Mapped {
    Plugin::<EmqxEvents>::start(config)
        .unwrap()
        .map(&event.build())
}

fn json(config: &str, event: EventBuilder) -> Value {
    serde_json::from_str(map(config, event).body()).unwrap()
}

#[test]
fn a_connect_is_client_connected() {
    let mapped = map(
        "",
        connect().attribute("username", "u").client_id("GID_A@@@d1"),
    );
    assert_eq!(
        mapped.body(),
        concat!(
            r#"{"username":"u","timestamp":1795573125007,"sockname":"0.0.0.0:1883","#,
            r#""receive_maximum":32,"proto_ver":5,"proto_name":"MQTT","peername":"192.0.2.7:50312","#,
            r#""node":"node-1","mountpoint":"undefined","keepalive":60,"is_bridge":false,"#,
            r#""expiry_interval":0,"event":"client.connected","connected_at":1795573125007,"#,
            r#""conn_props":{"User-Property":{}},"clientid":"GID_A@@@d1","client_attrs":{},"clean_start":true}"#,
        )
    );
    assert_eq!(mapped.message().tag.as_deref(), Some("client.connected"));
    assert_eq!(
        mapped.message().keys,
        ["GID_A@@@d1", "0123456789abcdef0123456789abcdef"]
    );
}

#[test]
fn a_lost_connection_is_client_disconnected() {
    let mapped = map("", tcpclean());
    assert_eq!(
        mapped.body(),
        concat!(
            r#"{"username":"undefined","timestamp":1795573185007,"sockname":"0.0.0.0:1883","#,
            r#""reason":"tcp_closed","proto_ver":5,"proto_name":"MQTT","peername":"192.0.2.7:50312","#,
            r#""node":"node-1","event":"client.disconnected","disconnected_at":1795573185007,"#,
            r#""disconn_props":{"User-Property":{}},"connected_at":1795573125007,"#,
            r#""clientid":"GID_Test@@@device-1","client_attrs":{}}"#,
        )
    );
    assert_eq!(mapped.message().tag.as_deref(), Some("client.disconnected"));
}

#[test]
fn each_connection_has_one_client_disconnected() {
    let told = || tcpclean().attribute("reason", "client-disconnect");
    let with_will = || tcpclean().attribute("reason", "client-disconnect-with-will");
    for config in ["", r#"{"disconnectedOn":"tcpclean"}"#] {
        assert!(map(config, disconnect()).is_skipped());
        assert_eq!(json(config, told())["reason"], "normal");
        assert_eq!(json(config, tcpclean())["reason"], "tcp_closed");
    }
    let early = r#"{"disconnectedOn":"disconnect"}"#;
    assert_eq!(json(early, disconnect())["reason"], "normal");
    assert!(map(early, told()).is_skipped());
    assert!(map(early, with_will()).is_skipped());
    assert_eq!(json(early, tcpclean())["reason"], "tcp_closed");
}

#[test]
fn reasons_are_emqx_words() {
    for (reason, word) in [
        ("client-disconnect", "normal"),
        (
            "client-disconnect-with-will",
            "disconnect_with_will_message",
        ),
        ("connection-lost", "tcp_closed"),
        ("connection-reset", "tcp_closed"),
        ("keep-alive-timeout", "keepalive_timeout"),
        ("protocol-error", "protocol_error"),
        ("packet-too-large", "packet_too_large"),
        ("taken-over", "takenover"),
        ("kicked", "kicked"),
        ("not-authorized", "not_authorized"),
        ("quota-exceeded", "quota_exceeded"),
        ("host-shutdown", "server_shutting_down"),
        ("host-restart", "internal_error"),
        ("internal-error", "internal_error"),
        ("a reason of a later host", "internal_error"),
    ] {
        let event = tcpclean().attribute("reason", reason);
        assert_eq!(json("", event)["reason"], word, "{reason}");
    }
    let encrypted = tcpclean().attribute("listener", "tls");
    assert_eq!(json("", encrypted)["reason"], "ssl_closed");
}

#[test]
fn a_reason_may_have_another_word() {
    let config = r#"{"reasons":{"taken-over":"discarded"}}"#;
    let taken_over = tcpclean().attribute("reason", "taken-over");
    assert_eq!(json(config, taken_over)["reason"], "discarded");
    assert_eq!(json(config, tcpclean())["reason"], "tcp_closed");
}

#[test]
fn what_the_event_does_not_know_can_be_set() {
    let config =
        r#"{"node":"emqx@10.0.0.1","ruleId":"connect_WH_D","socknames":{"tcp":"10.0.0.1:1883"}}"#;
    for event in [connect(), tcpclean()] {
        let body = json(config, event);
        assert_eq!(body["node"], "emqx@10.0.0.1");
        assert_eq!(body["metadata"]["rule_id"], "connect_WH_D");
        assert_eq!(body["sockname"], "10.0.0.1:1883");
    }
    let websocket = connect().attribute("listener", "ws");
    assert_eq!(json(config, websocket)["sockname"], "0.0.0.0:8083");
}

#[test]
fn an_old_client_with_a_session_on_ipv6() {
    let event = connect()
        .attribute("protocol", "mqtt3.1.1")
        .attribute("cleanStart", "false")
        .attribute("keepAlive", "0")
        .client_ip("[2001:db8::7]:50312");
    let body = json("", event);
    assert_eq!(body["proto_ver"], 4);
    assert_eq!(body["clean_start"], false);
    assert_eq!(body["keepalive"], 0);
    assert_eq!(body["peername"], "2001:db8::7:50312");
}

#[test]
fn a_wrong_setting_is_named() {
    for (config, name) in [
        (r#"{"disconnectOn":"tcpclean"}"#, "disconnectOn"),
        (r#"{"disconnectedOn":"connect"}"#, "disconnectedOn"),
        (r#"{"reasons":{"bored":"x"}}"#, "bored"),
        (r#"{"reasons":{"kicked":1}}"#, "reasons.kicked"),
        (r#"{"node":1}"#, "node"),
    ] {
        let error = Plugin::<EmqxEvents>::start(config).unwrap_err();
        assert!(error.contains(name), "{config}: {error}");
    }
}
