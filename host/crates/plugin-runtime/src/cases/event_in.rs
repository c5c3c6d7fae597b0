//! A status event as a person writes it: JSON as the API shows it, where everything may be left out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventId, EventType, MqttVersion, Sequence,
    StatusEvent, Synthetic,
};
use serde::{Deserialize, Serialize};

/// 2026-01-01: plugins may think that an event of 1970 is none.
const TIME_MS: u64 = 1_767_225_600_000;
const CLIENT_ID: &str = "GID_Example@@@device-1";
const CLIENT_IP: &str = "192.0.2.7:50312";
const KEEP_ALIVE_SECONDS: u16 = 60;

/// The largest sequence: what every JSON reader can hold.
const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// An event; what is left out gets a fixed value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventIn {
    /// `connect`, `disconnect` or `tcpclean`; `connect` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// `GID_Example@@@device-1` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The part of the client id before `@@@`; may be said, and must fit then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// 32 hex characters; 32 zeros if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    /// `address:port`; `192.0.2.7:50312` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// UNIX milliseconds; the start of 2026 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// 32 hex characters; 32 zeros if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Why the connection ended; `client-disconnect` if left out, nothing on a `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `protocol`, `listener`, `username`, `keepAlive`, `cleanStart`, `sessionPresent`, `connectedAt`,
    /// `synthetic` and `reason`; `node` and `instance` are the host's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Why it is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?} {problem}")]
pub struct ReadEventError {
    /// The field.
    pub field: String,
    /// What it is.
    pub value: String,
    /// What would be right.
    pub problem: String,
}

fn wrong(field: &str, value: &str, problem: impl Into<String>) -> ReadEventError {
    ReadEventError {
        field: field.to_owned(),
        value: value.chars().take(200).collect(),
        problem: problem.into(),
    }
}

impl EventIn {
    /// The event.
    ///
    /// # Errors
    ///
    /// Names the field and says what would be right.
    pub fn read(&self) -> Result<StatusEvent, ReadEventError> {
        let text = |value: &Option<String>, default: &str| {
            value.clone().unwrap_or_else(|| default.to_owned())
        };
        let event_type = event_type(&text(&self.event_type, "connect"))?;
        let client_id = text(&self.client_id, CLIENT_ID);
        let client_id = ClientId::parse(&client_id)
            .map_err(|error| wrong("clientId", &client_id, error.problem))?;
        let group_id = client_id.group();
        if let Some(said) = &self.group_id
            && Some(said.as_str()) != group_id.as_ref().map(domain::GroupId::as_str)
        {
            return Err(wrong(
                "groupId",
                said,
                "is not the part of clientId before @@@",
            ));
        }
        let address = text(&self.client_ip, CLIENT_IP);
        let client_address: SocketAddr = address.parse().map_err(|_| {
            wrong(
                "clientIp",
                &address,
                "must be address:port, IPv6 as [address]:port",
            )
        })?;
        let time_ms = self.time.unwrap_or(TIME_MS);
        let sequence = self.sequence.unwrap_or(1);
        if sequence > SEQUENCE_MAX {
            return Err(wrong(
                "sequence",
                &sequence.to_string(),
                "must be below 2^53",
            ));
        }
        let mut event = StatusEvent {
            event_id: EventId(hex("eventId", self.event_id.as_deref())?),
            event_type,
            time_ms,
            sequence: Sequence(sequence),
            reason: self.reason(event_type)?,
            synthetic: None,
            connected_at_ms: time_ms,
            channel: Arc::new(ChannelFacts {
                client_id,
                group_id,
                channel_id: ChannelId(hex("channelId", self.channel_id.as_deref())?),
                client_address,
                protocol: MqttVersion::V5,
                listener: "tcp",
                username: None,
                keep_alive_seconds: KEEP_ALIVE_SECONDS,
                clean_start: true,
                session_present: false,
            }),
        };
        self.set_attributes(&mut event)?;
        Ok(event)
    }

    fn reason(&self, event_type: EventType) -> Result<Option<CloseReason>, ReadEventError> {
        let said = self
            .reason
            .as_ref()
            .or_else(|| self.attributes.get("reason"));
        match (event_type, said) {
            (EventType::Connect, None) => Ok(None),
            (EventType::Connect, Some(reason)) => Err(wrong(
                "reason",
                reason,
                "is for disconnect and tcpclean only",
            )),
            (_, None) => Ok(Some(CloseReason::ClientDisconnect)),
            (_, Some(name)) => CloseReason::from_name(name).map(Some).ok_or_else(|| {
                let names: Vec<_> = CloseReason::ALL.iter().map(|it| it.as_str()).collect();
                wrong(
                    "reason",
                    name,
                    format!("must be one of {}", names.join(", ")),
                )
            }),
        }
    }

    fn set_attributes(&self, event: &mut StatusEvent) -> Result<(), ReadEventError> {
        let channel = Arc::make_mut(&mut event.channel);
        for (name, value) in &self.attributes {
            let fail = |problem: &str| wrong(&format!("attributes.{name}"), value, problem);
            let flag = || match value.as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(fail("must be true or false")),
            };
            match name.as_str() {
                "reason" => {}
                "protocol" => {
                    channel.protocol = match value.as_str() {
                        "mqtt5" => MqttVersion::V5,
                        "mqtt3.1.1" => MqttVersion::V311,
                        _ => return Err(fail("must be mqtt5 or mqtt3.1.1")),
                    }
                }
                "listener" => {
                    channel.listener = ["tcp", "ws", "tls", "wss"]
                        .into_iter()
                        .find(|it| it == value)
                        .ok_or_else(|| fail("must be tcp, ws, tls or wss"))?;
                }
                "username" => channel.username = Some(Arc::from(value.as_str())),
                "keepAlive" => {
                    channel.keep_alive_seconds = value
                        .parse()
                        .map_err(|_| fail("must be seconds from 0 to 65535"))?;
                }
                "cleanStart" => channel.clean_start = flag()?,
                "sessionPresent" => channel.session_present = flag()?,
                "connectedAt" => {
                    event.connected_at_ms = value
                        .parse()
                        .map_err(|_| fail("must be UNIX milliseconds"))?;
                }
                "synthetic" => {
                    event.synthetic = match value.as_str() {
                        "snapshot" => Some(Synthetic::Snapshot),
                        "host-restart" => Some(Synthetic::HostRestart),
                        _ => return Err(fail("must be snapshot or host-restart")),
                    }
                }
                _ => {
                    return Err(fail(
                        "is no attribute that can be set; these can: protocol, listener, username, keepAlive, cleanStart, \
                         sessionPresent, connectedAt, synthetic, reason",
                    ));
                }
            }
        }
        Ok(())
    }
}

fn event_type(name: &str) -> Result<EventType, ReadEventError> {
    EventType::ALL
        .into_iter()
        .find(|it| it.as_str() == name)
        .ok_or_else(|| wrong("eventType", name, "must be connect, disconnect or tcpclean"))
}

/// 16 bytes in 32 hex characters, dashes as in a UUID allowed.
fn hex(field: &str, text: Option<&str>) -> Result<[u8; 16], ReadEventError> {
    let Some(text) = text else {
        return Ok([0; 16]);
    };
    let digits: String = text.chars().filter(|it| *it != '-').collect();
    let number = (digits.len() == 32)
        .then(|| u128::from_str_radix(&digits, 16).ok())
        .flatten();
    match number {
        Some(number) if !digits.starts_with('+') => Ok(number.to_be_bytes()),
        _ => Err(wrong(field, text, "must be 32 hex characters")),
    }
}
