//! The events on which a template is tried out when the rule is saved.

use rulemill_sdk::{Event, EventType};

/// What every event has.
const ALWAYS: [(&str, &str); 8] = [
    ("protocol", "mqtt5"),
    ("listener", "tcp"),
    ("keepAlive", "60"),
    ("cleanStart", "true"),
    ("sessionPresent", "false"),
    ("connectedAt", "1795573125007"),
    ("node", "node-1"),
    ("instance", "mqtt-local"),
];

/// What only some clients have.
const SOMETIMES: [(&str, &str); 3] = [
    ("username", "user"),
    ("certificateChainSn", "0a1b2c"),
    ("synthetic", "snapshot"),
];

/// Each event with the words for it.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Event)> {
    [
        (
            "on a connect event of an anonymous client",
            event(EventType::Connect, &[], &[]),
        ),
        (
            "on a connect event of a client with user name and certificate",
            event(EventType::Connect, &[], &SOMETIMES),
        ),
        (
            "on a disconnect event",
            event(
                EventType::Disconnect,
                &[("reason", "client-disconnect")],
                &[],
            ),
        ),
        (
            "on a tcpclean event",
            event(EventType::Tcpclean, &[("reason", "connection-lost")], &[]),
        ),
        (
            "on a tcpclean event of a client with user name and certificate",
            event(
                EventType::Tcpclean,
                &[("reason", "host-restart")],
                &SOMETIMES,
            ),
        ),
    ]
    .into_iter()
}

fn event(
    event_type: EventType,
    reason: &[(&'static str, &'static str)],
    more: &[(&'static str, &'static str)],
) -> Event {
    let attributes = reason.iter().chain(&ALWAYS).chain(more);
    Event {
        event_type,
        client_id: "GID_Sample@@@device-1".to_owned(),
        group_id: "GID_Sample".to_owned(),
        channel_id: "0123456789abcdef0123456789abcdef".to_owned(),
        client_ip: "192.0.2.7:50312".to_owned(),
        time: 1_795_573_185_007,
        sequence: 4711,
        event_id: "01a2107f8f8f70008000000000000001".to_owned(),
        attributes: attributes
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}
