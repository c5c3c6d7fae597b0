//! Events for tests. What a test does not set has a fixed value, so that bodies can be compared
//! byte for byte.

use crate::{Event, EventType};

/// 2026-11-25T02:18:45.007Z.
const TIME_MS: u64 = 1_795_573_125_007;
const MINUTE_MS: u64 = 60_000;

/// An event in the making.
#[derive(Clone, Debug)]
pub struct EventBuilder {
    event: Event,
}

/// A `connect` of client `GID_Test@@@device-1`.
#[must_use]
pub fn connect() -> EventBuilder {
    event(EventType::Connect)
}

/// The `disconnect` of the same connection, a minute later: reason `client-disconnect`.
#[must_use]
pub fn disconnect() -> EventBuilder {
    event(EventType::Disconnect)
}

/// The `tcpclean` of the same connection, lost after a minute: reason `connection-lost`.
#[must_use]
pub fn tcpclean() -> EventBuilder {
    event(EventType::Tcpclean)
}

/// An event of this type, with the attributes that the host gives to an anonymous MQTT 5 client.
#[must_use]
pub fn event(event_type: EventType) -> EventBuilder {
    let (reason, after_ms, sequence) = match event_type {
        EventType::Connect => (None, 0, 1),
        EventType::Disconnect => (Some("client-disconnect"), MINUTE_MS, 2),
        EventType::Tcpclean => (Some("connection-lost"), MINUTE_MS, 3),
    };
    let connected_at = TIME_MS.to_string();
    let attributes = [
        ("protocol", "mqtt5"),
        ("listener", "tcp"),
        ("keepAlive", "60"),
        ("cleanStart", "true"),
        ("sessionPresent", "false"),
        ("connectedAt", &connected_at),
        ("node", "node-1"),
        ("instance", "mqtt-local"),
    ];
    let event = Event {
        event_type,
        client_id: "GID_Test@@@device-1".to_owned(),
        group_id: "GID_Test".to_owned(),
        channel_id: "0123456789abcdef0123456789abcdef".to_owned(),
        client_ip: "192.0.2.7:50312".to_owned(),
        time: TIME_MS + after_ms,
        sequence,
        event_id: format!("01a2107f8f8f7000800000000000000{sequence}"),
        attributes: reason
            .map(|reason| ("reason", reason))
            .into_iter()
            .chain(attributes)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    EventBuilder { event }
}

impl EventBuilder {
    /// Sets the client id, and the group id to what is before its `@@@`.
    #[must_use]
    pub fn client_id(mut self, client_id: &str) -> Self {
        let group_id = client_id.split_once("@@@").map_or("", |(group, _)| group);
        self.event.group_id = group_id.to_owned();
        self.event.client_id = client_id.to_owned();
        self
    }

    /// Sets the channel id.
    #[must_use]
    pub fn channel_id(mut self, channel_id: &str) -> Self {
        self.event.channel_id = channel_id.to_owned();
        self
    }

    /// Sets the client's `address:port`, IPv6 as `[address]:port`.
    #[must_use]
    pub fn client_ip(mut self, client_ip: &str) -> Self {
        self.event.client_ip = client_ip.to_owned();
        self
    }

    /// Sets the time, UNIX milliseconds.
    #[must_use]
    pub fn time(mut self, time_ms: u64) -> Self {
        self.event.time = time_ms;
        self
    }

    /// Sets the sequence.
    #[must_use]
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.event.sequence = sequence;
        self
    }

    /// Sets the event id.
    #[must_use]
    pub fn event_id(mut self, event_id: &str) -> Self {
        self.event.event_id = event_id.to_owned();
        self
    }

    /// Sets an attribute: in its place if there is one of that name, else behind the others.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        let attributes = &mut self.event.attributes;
        match attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => attributes.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Takes an attribute away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.event.attributes.retain(|(known, _)| known != name);
        self
    }

    /// The event.
    #[must_use]
    pub fn build(self) -> Event {
        self.event
    }
}
