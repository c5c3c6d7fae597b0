//! The body, the tag and the keys.
//!
//! Names and order of the fields are those that AWS documents for
//! `$aws/events/presence/connected/<clientId>` and `…/disconnected/<clientId>`. `versionNumber` is the
//! same for both ends of a connection and grows from one to the next, so it is the time of the CONNECT.

use rulemill_sdk::{CloseReason, Event, EventType, MapError, Message, StatusRule, config, json};
use serde::Deserialize;

/// The mapping with its configuration.
#[derive(Debug)]
pub struct AwsIotLifecycle {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Config {
    /// Which event becomes `disconnected`.
    disconnected_on: DisconnectedOn,
    /// `principalIdentifier` of a client without certificate and user name.
    anonymous_principal: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            disconnected_on: DisconnectedOn::default(),
            anonymous_principal: "anonymous".to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DisconnectedOn {
    /// When the connection is gone: exactly one per connection, whatever happens.
    #[default]
    Tcpclean,
    /// When the client says so; when the connection is gone if it never did.
    Disconnect,
}

impl StatusRule for AwsIotLifecycle {
    fn init(config: &str) -> Result<Self, String> {
        let config = config::read(config)?;
        Ok(Self { config })
    }

    fn attributes(&self) -> Option<Vec<&str>> {
        Some(vec![
            "reason",
            "username",
            "certificateChainSn",
            "connectedAt",
        ])
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let was_told = event
            .close_reason()
            .is_some_and(CloseReason::is_client_disconnect);
        let (name, body) = match (event.event_type, self.config.disconnected_on) {
            (EventType::Connect, _) => ("connected", self.connected(event)),
            (EventType::Disconnect, DisconnectedOn::Tcpclean) => return Ok(Vec::new()),
            (EventType::Tcpclean, DisconnectedOn::Disconnect) if was_told => {
                return Ok(Vec::new());
            }
            (EventType::Disconnect | EventType::Tcpclean, _) => {
                ("disconnected", self.disconnected(event, was_told))
            }
        };
        let body = body.number("versionNumber", version(event)).finish();
        Ok(vec![Message::new(body).tag(name).keys(event.keys())])
    }
}

impl AwsIotLifecycle {
    fn connected(&self, event: &Event) -> json::Object {
        self.head(event, "connected")
            .text("ipAddress", address(&event.client_ip))
    }

    fn disconnected(&self, event: &Event, was_told: bool) -> json::Object {
        self.head(event, "disconnected")
            .boolean("clientInitiatedDisconnect", was_told)
            .text("disconnectReason", reason(event))
    }

    fn head(&self, event: &Event, event_type: &str) -> json::Object {
        let principal = event
            .attribute("certificateChainSn")
            .or_else(|| event.attribute("username"))
            .unwrap_or(&self.config.anonymous_principal);
        json::Object::with_capacity(384)
            .text("clientId", &event.client_id)
            .number("timestamp", event.time)
            .text("eventType", event_type)
            .text("sessionIdentifier", &event.channel_id)
            .text("principalIdentifier", principal)
    }
}

/// UNIX milliseconds of the CONNECT; one node's clock never goes back.
fn version(event: &Event) -> u64 {
    event
        .attribute("connectedAt")
        .and_then(|text| text.parse().ok())
        .unwrap_or(event.time)
}

fn reason(event: &Event) -> &'static str {
    let Some(reason) = event.close_reason() else {
        return "UNKNOWN";
    };
    match reason {
        CloseReason::ClientDisconnect | CloseReason::ClientDisconnectWithWill => {
            "CLIENT_INITIATED_DISCONNECT"
        }
        CloseReason::ConnectionLost | CloseReason::ConnectionReset => "CONNECTION_LOST",
        CloseReason::KeepAliveTimeout => "MQTT_KEEP_ALIVE_TIMEOUT",
        CloseReason::ProtocolError | CloseReason::PacketTooLarge => "CLIENT_ERROR",
        CloseReason::TakenOver => "DUPLICATE_CLIENTID",
        CloseReason::Kicked => "API_INITIATED_DISCONNECT",
        CloseReason::NotAuthorized => "AUTH_ERROR",
        CloseReason::QuotaExceeded => "THROTTLED",
        CloseReason::HostShutdown => "SERVER_INITIATED_DISCONNECT",
        CloseReason::HostRestart | CloseReason::InternalError => "SERVER_ERROR",
        _ => "UNKNOWN",
    }
}

/// Without the port, and IPv6 without its brackets.
fn address(client_ip: &str) -> &str {
    let host = client_ip
        .rsplit_once(':')
        .map_or(client_ip, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
