//! What a consumer understands of a message, and whether the message is exactly as promised.
//!
//! The default body is compared byte for byte with one that is written anew from its values. Of a
//! `CloudEvents` body every attribute is checked against the host's own properties.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::message::Message;

/// `connect`, `disconnect` and `tcpclean`: what becomes of a connection that its client closes.
pub const EVENTS_PER_VISIT: u64 = 3;

/// `connect`, `disconnect` or `tcpclean`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// Online.
    Connect,
    /// DISCONNECT was sent.
    Disconnect,
    /// The connection is gone.
    TcpClean,
}

impl EventType {
    /// Reads the wire's name.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn read(name: &str) -> Result<Self> {
        match name {
            "connect" => Ok(Self::Connect),
            "disconnect" => Ok(Self::Disconnect),
            "tcpclean" => Ok(Self::TcpClean),
            other => bail!("no event type: {other:?}"),
        }
    }

    /// The wire's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::TcpClean => "tcpclean",
        }
    }
}

/// Which mapping made the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `apsaramq-status`.
    Apsaramq,
    /// `cloudevents`.
    CloudEvents,
}

/// One status event, as read from a topic.
#[derive(Clone, Debug)]
pub struct Event {
    /// For deduplication.
    pub event_id: String,
    /// Growing per client.
    pub sequence: u64,
    /// What happened.
    pub event_type: EventType,
    /// To whom.
    pub client_id: String,
    /// On which connection.
    pub channel_id: String,
    /// When, UNIX milliseconds.
    pub time: u64,
    /// How it was written.
    pub format: Format,
    /// The property `synthetic`.
    pub synthetic: Option<String>,
    /// Where it was read.
    pub queue_id: i32,
    /// When the broker stored it, UNIX milliseconds.
    pub stored_at: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefaultBody {
    client_id: String,
    time: u64,
    event_type: String,
    channel_id: String,
    client_ip: String,
}

impl Event {
    /// Reads and checks a message.
    ///
    /// # Errors
    ///
    /// Says where the message differs from the promise.
    pub fn read(message: &Message) -> Result<Self> {
        Self::read_unnamed(message).with_context(|| format!("in message {message:?}"))
    }

    fn read_unnamed(message: &Message) -> Result<Self> {
        let text = message.body.as_deref().context("the body is no text")?;
        let value: Value = serde_json::from_str(text).context("the body is no JSON")?;
        let (body, format) = match value.get("specversion") {
            None => (default_body(text)?, Format::Apsaramq),
            Some(_) => (cloud_event(&value, message)?, Format::CloudEvents),
        };
        ensure!(
            message.tag.as_deref() == Some(&body.event_type),
            "tag and body differ"
        );
        ensure!(
            message.keys == [body.client_id.clone(), body.channel_id.clone()],
            "wrong keys"
        );
        ensure!(
            is_hex_32(&body.channel_id),
            "the channel id is not 32 hex digits"
        );
        let address: SocketAddr = body
            .client_ip
            .parse()
            .context("clientIp is no address:port")?;
        ensure!(
            address.ip().is_loopback() && address.port() > 0,
            "clientIp is not this machine's"
        );

        let properties = &message.properties;
        let event_id = property(properties, "eventId")?;
        ensure!(is_hex_32(&event_id), "eventId is not 32 hex digits");
        ensure!(
            event_id.as_bytes().get(12) == Some(&b'7'),
            "eventId is no UUIDv7"
        );
        let sequence = property(properties, "sequence")?
            .parse::<u64>()
            .context("sequence is no number")?;
        ensure!(
            sequence < 1 << 53,
            "sequence is too large for a JSON number"
        );
        let (group, _) = body
            .client_id
            .split_once("@@@")
            .context("the client id has no group")?;
        ensure!(
            property(properties, "groupId")? == group,
            "groupId is not the client's group"
        );
        let synthetic = properties.get("synthetic").cloned();
        let known = if synthetic.is_some() { 4 } else { 3 };
        ensure!(properties.len() == known, "more properties than promised");
        Ok(Self {
            event_id,
            sequence,
            event_type: EventType::read(&body.event_type)?,
            client_id: body.client_id,
            channel_id: body.channel_id,
            time: body.time,
            format,
            synthetic,
            queue_id: message.queue_id,
            stored_at: message.stored_at,
        })
    }
}

fn property(properties: &BTreeMap<String, String>, name: &str) -> Result<String> {
    properties
        .get(name)
        .cloned()
        .with_context(|| format!("no property {name}"))
}

fn is_hex_32(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn default_body(text: &str) -> Result<DefaultBody> {
    let body: DefaultBody = serde_json::from_str(text).context("the body lacks a field")?;
    let expected = format!(
        r#"{{"clientId":"{}","time":{},"eventType":"{}","channelId":"{}","clientIp":"{}"}}"#,
        body.client_id, body.time, body.event_type, body.channel_id, body.client_ip
    );
    ensure!(text == expected, "the body differs from {expected}");
    Ok(body)
}

fn cloud_event(value: &Value, message: &Message) -> Result<DefaultBody> {
    let data = value.get("data").context("a CloudEvent without data")?;
    let body: DefaultBody = serde_json::from_value(data.clone()).context("data lacks a field")?;
    let (group, _) = body
        .client_id
        .split_once("@@@")
        .context("the client id has no group")?;
    let expected = [
        ("specversion", "1.0".to_owned()),
        ("id", property(&message.properties, "eventId")?),
        ("source", format!("/instances/mqtt-local/groups/{group}")),
        ("type", format!("rulemill.client.{}", body.event_type)),
        ("subject", body.client_id.clone()),
        ("time", rfc3339(body.time)),
        ("datacontenttype", "application/json".to_owned()),
    ];
    for (name, expected) in expected {
        let found = value.get(name).and_then(Value::as_str);
        ensure!(
            found == Some(&expected),
            "CloudEvents {name} is {found:?}, not {expected:?}"
        );
    }
    let sequence = data
        .get("sequence")
        .and_then(Value::as_u64)
        .map(|number| number.to_string());
    ensure!(
        sequence.as_ref() == message.properties.get("sequence"),
        "data.sequence differs"
    );
    ensure!(
        data.get("groupId").and_then(Value::as_str) == Some(group),
        "data.groupId differs"
    );
    ensure!(
        data.get("eventId") == value.get("id"),
        "data.eventId differs from id"
    );
    Ok(body)
}

/// RFC 3339 with milliseconds in UTC (days to a date as in Hinnant's `civil_from_days`).
fn rfc3339(time_ms: u64) -> String {
    let (seconds, millis) = (time_ms / 1000, time_ms % 1000);
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_written_as_rfc_3339_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_573_125_007), "2026-11-25T02:18:45.007Z");
        assert_eq!(rfc3339(951_826_554_999), "2000-02-29T12:15:54.999Z");
    }
}
