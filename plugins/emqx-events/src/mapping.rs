//! The body, the tag and the keys.
//!
//! Names, kinds and order of the fields are those that EMQX's rule engine gives to its actions
//! (`SELECT *`, EMQX 5). What a status event does not know has the value that EMQX has for a client
//! that did not set it; README.md lists those.

use std::collections::BTreeMap;

use rulemill_sdk::{CloseReason, Event, EventType, MapError, Message, StatusRule, config, json};
use serde::Deserialize;

/// How EMQX writes what is not there.
const UNDEFINED: &str = "undefined";

/// EMQX's `receive_maximum` for a client that did not set one.
const RECEIVE_MAXIMUM: u64 = 32;

/// The mapping with its configuration.
#[derive(Debug)]
pub struct EmqxEvents {
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Config {
    /// Which event becomes `client.disconnected`.
    disconnected_on: DisconnectedOn,
    /// The field `node`; else the host's node id.
    node: Option<String>,
    /// `metadata.rule_id`; else there is no `metadata`.
    rule_id: Option<String>,
    /// The field `sockname` by listener.
    socknames: BTreeMap<String, String>,
    /// Other words for `reason`.
    reasons: Words,
}

/// Words by reason. Read by way of texts, so that an error names the key.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
struct Words(BTreeMap<CloseReason, String>);

impl TryFrom<BTreeMap<String, String>> for Words {
    type Error = String;

    fn try_from(texts: BTreeMap<String, String>) -> Result<Self, String> {
        let reason = |(name, word): (String, String)| match CloseReason::from_name(&name) {
            Some(reason) => Ok((reason, word)),
            None => {
                let known: Vec<_> = CloseReason::ALL.iter().map(|r| r.as_str()).collect();
                Err(format!(
                    "unknown reason `{name}`, expected one of {}",
                    known.join(", ")
                ))
            }
        };
        texts
            .into_iter()
            .map(reason)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DisconnectedOn {
    /// When the connection is gone: exactly one per connection, whatever happens.
    #[default]
    Tcpclean,
    /// When the client says so, as EMQX does; when the connection is gone if it never did.
    Disconnect,
}

impl StatusRule for EmqxEvents {
    fn init(config: &str) -> Result<Self, String> {
        let config = config::read(config)?;
        Ok(Self { config })
    }

    fn attributes(&self) -> Option<Vec<&str>> {
        Some(vec![
            "reason",
            "protocol",
            "listener",
            "username",
            "keepAlive",
            "cleanStart",
            "connectedAt",
            "node",
        ])
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let was_told = event
            .close_reason()
            .is_some_and(CloseReason::is_client_disconnect);
        let (name, body) = match (event.event_type, self.config.disconnected_on) {
            (EventType::Connect, _) => ("client.connected", self.connected(event)),
            (EventType::Disconnect, DisconnectedOn::Tcpclean) => return Ok(Vec::new()),
            (EventType::Tcpclean, DisconnectedOn::Disconnect) if was_told => {
                return Ok(Vec::new());
            }
            (EventType::Disconnect | EventType::Tcpclean, _) => {
                ("client.disconnected", self.disconnected(event))
            }
        };
        Ok(vec![
            Message::new(body.finish()).tag(name).keys(event.keys()),
        ])
    }
}

impl EmqxEvents {
    fn connected(&self, event: &Event) -> json::Object {
        let mut body = head(event).text("sockname", self.sockname(event));
        body = body.number("receive_maximum", RECEIVE_MAXIMUM);
        body = self.connection(body, event).text("mountpoint", UNDEFINED);
        body = self
            .metadata(body)
            .number("keepalive", number(event, "keepAlive").unwrap_or(0))
            .boolean("is_bridge", false)
            .number("expiry_interval", 0)
            .text("event", "client.connected")
            .number(
                "connected_at",
                number(event, "connectedAt").unwrap_or(event.time),
            )
            .object("conn_props", properties());
        client(body, event).boolean("clean_start", event.attribute("cleanStart") == Some("true"))
    }

    fn disconnected(&self, event: &Event) -> json::Object {
        let mut body = head(event)
            .text("sockname", self.sockname(event))
            .text("reason", self.reason(event));
        body = self.connection(body, event);
        body = self
            .metadata(body)
            .text("event", "client.disconnected")
            .number("disconnected_at", event.time)
            .object("disconn_props", properties());
        if let Some(connected_at) = number(event, "connectedAt") {
            body = body.number("connected_at", connected_at);
        }
        client(body, event)
    }

    fn connection(&self, body: json::Object, event: &Event) -> json::Object {
        let version = match event.attribute("protocol") {
            Some("mqtt5") => 5,
            _ => 4,
        };
        let node = self.config.node.as_deref();
        body.number("proto_ver", version)
            .text("proto_name", "MQTT")
            .text("peername", &peername(&event.client_ip))
            .text(
                "node",
                node.or_else(|| event.attribute("node"))
                    .unwrap_or(UNDEFINED),
            )
    }

    fn metadata(&self, body: json::Object) -> json::Object {
        match &self.config.rule_id {
            Some(rule_id) => body.object(
                "metadata",
                json::Object::with_capacity(64).text("rule_id", rule_id),
            ),
            None => body,
        }
    }

    /// The host does not say on which of its addresses the client came, only on which listener; EMQX's
    /// own default for that kind of listener is the nearest to it.
    fn sockname(&self, event: &Event) -> &str {
        let listener = event.attribute("listener").unwrap_or_default();
        match self.config.socknames.get(listener) {
            Some(name) => name,
            None => match listener {
                "tcp" => "0.0.0.0:1883",
                "tls" => "0.0.0.0:8883",
                "ws" => "0.0.0.0:8083",
                "wss" => "0.0.0.0:8084",
                _ => UNDEFINED,
            },
        }
    }

    fn reason(&self, event: &Event) -> &str {
        let Some(reason) = event.close_reason() else {
            return "internal_error";
        };
        match self.config.reasons.0.get(&reason) {
            Some(word) => word,
            None => word(reason, event),
        }
    }
}

/// EMQX's word; where it has none, the name of the MQTT 5 reason code, as EMQX itself does it.
fn word(reason: CloseReason, event: &Event) -> &'static str {
    let is_encrypted = matches!(event.attribute("listener"), Some("tls" | "wss"));
    match reason {
        CloseReason::ClientDisconnect => "normal",
        CloseReason::ClientDisconnectWithWill => "disconnect_with_will_message",
        CloseReason::ConnectionLost | CloseReason::ConnectionReset if is_encrypted => "ssl_closed",
        CloseReason::ConnectionLost | CloseReason::ConnectionReset => "tcp_closed",
        CloseReason::KeepAliveTimeout => "keepalive_timeout",
        CloseReason::ProtocolError => "protocol_error",
        CloseReason::PacketTooLarge => "packet_too_large",
        CloseReason::TakenOver => "takenover",
        CloseReason::Kicked => "kicked",
        CloseReason::NotAuthorized => "not_authorized",
        CloseReason::QuotaExceeded => "quota_exceeded",
        CloseReason::HostShutdown => "server_shutting_down",
        _ => "internal_error",
    }
}

fn head(event: &Event) -> json::Object {
    json::Object::with_capacity(640)
        .text("username", event.attribute("username").unwrap_or(UNDEFINED))
        .number("timestamp", event.time)
}

fn client(body: json::Object, event: &Event) -> json::Object {
    body.text("clientid", &event.client_id)
        .object("client_attrs", json::Object::with_capacity(2))
}

/// MQTT 5 properties are not part of a status event.
fn properties() -> json::Object {
    json::Object::with_capacity(32).object("User-Property", json::Object::with_capacity(2))
}

fn number(event: &Event, attribute: &str) -> Option<u64> {
    event.attribute(attribute)?.parse().ok()
}

/// EMQX writes IPv6 without brackets: `2001:db8::7:50312`.
fn peername(client_ip: &str) -> String {
    client_ip.replace(['[', ']'], "")
}
