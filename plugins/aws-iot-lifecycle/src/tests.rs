//! The bodies, byte for byte, and which event becomes which.

use rulemill_sdk::testing::{EventBuilder, Mapped, Plugin, connect, disconnect, tcpclean};
use serde_json::Value;

use crate::AwsIotLifecycle;

fn map(config: &str, event: EventBuilder) -> Mapped {
    Plugin::<AwsIotLifecycle>::start(config)
        .unwrap()
        .map(&event.build())
}

fn json(config: &str, event: EventBuilder) -> Value {
    serde_json::from_str(map(config, event).body()).unwrap()
}

#[test]
fn a_connect_is_connected() {
    let mapped = map("", connect().attribute("username", "u"));
    assert_eq!(
        mapped.body(),
        concat!(
            r#"{"clientId":"GID_Test@@@device-1","timestamp":1795573125007,"eventType":"connected","#,
            r#""sessionIdentifier":"0123456789abcdef0123456789abcdef","principalIdentifier":"u","#,
            r#""ipAddress":"192.0.2.7","versionNumber":1795573125007}"#,
        )
    );
    assert_eq!(mapped.message().tag.as_deref(), Some("connected"));
    assert_eq!(
        mapped.message().keys,
        ["GID_Test@@@device-1", "0123456789abcdef0123456789abcdef"]
    );
}

#[test]
fn a_lost_connection_is_disconnected() {
    let mapped = map("", tcpclean());
    assert_eq!(
        mapped.body(),
        concat!(
            r#"{"clientId":"GID_Test@@@device-1","timestamp":1795573185007,"eventType":"disconnected","#,
            r#""sessionIdentifier":"0123456789abcdef0123456789abcdef","principalIdentifier":"anonymous","#,
            r#""clientInitiatedDisconnect":false,"disconnectReason":"CONNECTION_LOST","#,
            r#""versionNumber":1795573125007}"#,
        )
    );
    assert_eq!(mapped.message().tag.as_deref(), Some("disconnected"));
}

#[test]
fn each_connection_has_one_disconnected() {
    let told = || tcpclean().attribute("reason", "client-disconnect");
    for config in ["", r#"{"disconnectedOn":"tcpclean"}"#] {
        assert!(map(config, disconnect()).is_skipped());
        assert_eq!(json(config, told())["clientInitiatedDisconnect"], true);
        assert_eq!(json(config, tcpclean())["clientInitiatedDisconnect"], false);
    }
    let early = r#"{"disconnectedOn":"disconnect"}"#;
    assert_eq!(json(early, disconnect())["clientInitiatedDisconnect"], true);
    assert!(map(early, told()).is_skipped());
    assert_eq!(json(early, tcpclean())["clientInitiatedDisconnect"], false);
}

#[test]
fn both_ends_of_a_connection_have_one_version_and_the_next_a_larger() {
    let first = json("", connect())["versionNumber"].clone();
    assert_eq!(json("", tcpclean())["versionNumber"], first);
    let next = connect()
        .time(1_795_573_185_008)
        .attribute("connectedAt", "1795573185008");
    assert!(json("", next)["versionNumber"].as_u64() > first.as_u64());
}

#[test]
fn reasons_are_those_of_aws() {
    for (reason, word) in [
        ("client-disconnect", "CLIENT_INITIATED_DISCONNECT"),
        ("client-disconnect-with-will", "CLIENT_INITIATED_DISCONNECT"),
        ("connection-lost", "CONNECTION_LOST"),
        ("connection-reset", "CONNECTION_LOST"),
        ("keep-alive-timeout", "MQTT_KEEP_ALIVE_TIMEOUT"),
        ("protocol-error", "CLIENT_ERROR"),
        ("packet-too-large", "CLIENT_ERROR"),
        ("taken-over", "DUPLICATE_CLIENTID"),
        ("kicked", "API_INITIATED_DISCONNECT"),
        ("not-authorized", "AUTH_ERROR"),
        ("quota-exceeded", "THROTTLED"),
        ("host-shutdown", "SERVER_INITIATED_DISCONNECT"),
        ("host-restart", "SERVER_ERROR"),
        ("internal-error", "SERVER_ERROR"),
        ("a reason of a later host", "UNKNOWN"),
    ] {
        let event = tcpclean().attribute("reason", reason);
        assert_eq!(json("", event)["disconnectReason"], word, "{reason}");
    }
}

#[test]
fn the_principal_is_the_certificate_then_the_user() {
    let user = || connect().attribute("username", "u");
    assert_eq!(json("", user())["principalIdentifier"], "u");
    let certificate = user().attribute("certificateChainSn", "0a,0b");
    assert_eq!(json("", certificate)["principalIdentifier"], "0a,0b");
    let config = r#"{"anonymousPrincipal":""}"#;
    assert_eq!(json(config, connect())["principalIdentifier"], "");
}

#[test]
fn an_ipv6_address_has_no_brackets_and_no_port() {
    let event = connect().client_ip("[2001:db8::7]:50312");
    assert_eq!(json("", event)["ipAddress"], "2001:db8::7");
}

#[test]
fn a_wrong_setting_is_named() {
    for (config, name) in [
        (r#"{"topic":"x"}"#, "topic"),
        (r#"{"disconnectedOn":"connect"}"#, "disconnectedOn"),
        (r#"{"anonymousPrincipal":null}"#, "anonymousPrincipal"),
    ] {
        let error = Plugin::<AwsIotLifecycle>::start(config).unwrap_err();
        assert!(error.contains(name), "{config}: {error}");
    }
}
