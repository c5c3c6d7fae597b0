use super::{Attempt, Case, End, Matching, Span};
use crate::message::Message;
use crate::oracle::Order;

const CLIENT: &str = "GID_A@@@d";

fn message(sequence: u64, name: &str, connection: u8) -> Message {
    let channel = format!("{connection:0>32}");
    let body = format!(
        r#"{{"clientId":"{CLIENT}","time":1,"eventType":"{name}","channelId":"{channel}","clientIp":"127.0.0.{connection}:9"}}"#
    );
    let properties = [
        (
            "eventId".to_owned(),
            format!("0123456789ab7{sequence:0>19}"),
        ),
        ("sequence".to_owned(), sequence.to_string()),
        ("groupId".to_owned(), "GID_A".to_owned()),
    ];
    Message {
        topic: "T".to_owned(),
        broker: Some("b".to_owned()),
        queue_id: 0,
        queue_offset: i64::try_from(sequence).unwrap(),
        tag: Some(name.to_owned()),
        keys: vec![CLIENT.to_owned(), channel],
        properties: properties.into(),
        body: Some(body),
        body_base64: None,
        stored_at: Some(10_000 + sequence),
    }
}

/// Asked for at 10,000, accepted at 10,010, ended at 10,100.
fn attempt(connection: u8, end: End) -> Attempt {
    Attempt {
        client_id: CLIENT.to_owned(),
        address: format!("127.0.0.{connection}").parse().unwrap(),
        asked_at: 10_000,
        accepted_at: Some(10_010),
        refused: None,
        end,
        ended_at: Some(10_100),
    }
}

struct Known {
    on: Vec<Span>,
    off: Vec<Span>,
    kills: Vec<Span>,
    trouble_since: Option<u64>,
    is_after_commit: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            on: vec![Span {
                from: 0,
                to: u64::MAX,
            }],
            off: Vec::new(),
            kills: Vec::new(),
            trouble_since: None,
            is_after_commit: false,
        }
    }
}

fn keeps(known: &Known, attempts: &[Attempt], messages: &[Message]) -> bool {
    let case = Case {
        attempts,
        matching: &Matching {
            certainly_on: known.on.clone(),
            certainly_off: known.off.clone(),
        },
        kills: &known.kills,
        stops: &[],
        trouble_since: known.trouble_since,
        is_after_commit: known.is_after_commit,
        order: Order::OneQueue,
    };
    case.judge(messages).is_ok()
}

fn kill(at: u64) -> Vec<Span> {
    vec![Span { from: at, to: at }]
}

#[test]
fn complete_stories_are_right() {
    let attempts = [
        attempt(1, End::Disconnected),
        attempt(2, End::Lost),
        attempt(3, End::Open),
    ];
    let messages = [
        message(1, "connect", 1),
        message(2, "disconnect", 1),
        message(3, "tcpclean", 1),
        message(4, "connect", 2),
        message(5, "tcpclean", 2),
        message(6, "connect", 3),
    ];
    assert!(keeps(&Known::default(), &attempts, &messages));
    // Without its last event the truth and the consumer differ.
    assert!(!keeps(&Known::default(), &attempts, &messages[..5]));
}

#[test]
fn an_acknowledged_connection_may_only_be_lost_by_a_kill_before_its_commit() {
    let attempts = [attempt(1, End::ByHost)];
    let mut known = Known::default();
    assert!(!keeps(&known, &attempts, &[]));
    known.kills = kill(10_020);
    assert!(keeps(&known, &attempts, &[]));
    known.is_after_commit = true;
    assert!(!keeps(&known, &attempts, &[]));
    known = Known {
        kills: kill(20_000),
        ..Known::default()
    };
    assert!(!keeps(&known, &attempts, &[]));
}

#[test]
fn a_rule_that_was_certainly_off_tells_nothing() {
    let attempts = [attempt(1, End::Lost)];
    let messages = [message(1, "connect", 1), message(2, "tcpclean", 1)];
    let off = Known {
        on: Vec::new(),
        off: kill(0)
            .into_iter()
            .map(|it| Span { to: u64::MAX, ..it })
            .collect(),
        ..Known::default()
    };
    assert!(!keeps(&off, &attempts, &messages));
    assert!(keeps(&off, &attempts, &[]));
    let unknown = Known {
        on: Vec::new(),
        ..Known::default()
    };
    assert!(keeps(&unknown, &attempts, &messages) && keeps(&unknown, &attempts, &[]));
}

#[test]
fn a_repetition_needs_a_cause_before_it() {
    let attempts = [attempt(1, End::Open)];
    let mut again = message(1, "connect", 1);
    (again.queue_offset, again.stored_at) = (7, Some(10_500));
    let messages = [message(1, "connect", 1), again];
    let trouble = |at| Known {
        trouble_since: at,
        ..Known::default()
    };
    assert!(!keeps(&trouble(None), &attempts, &messages));
    assert!(!keeps(&trouble(Some(11_000)), &attempts, &messages));
    assert!(keeps(&trouble(Some(10_400)), &attempts, &messages));
}

#[test]
fn what_did_not_happen_must_not_be_told() {
    let refused = Attempt {
        accepted_at: None,
        refused: Some(0x97),
        ..attempt(1, End::ByHost)
    };
    let connect = [message(1, "connect", 1), message(2, "tcpclean", 1)];
    assert!(!keeps(&Known::default(), &[refused], &connect));
    // Nobody had that address.
    assert!(!keeps(
        &Known::default(),
        &[attempt(2, End::Lost)],
        &connect
    ));
    // Who was lost did not disconnect.
    let told = [
        message(1, "connect", 1),
        message(2, "disconnect", 1),
        message(3, "tcpclean", 1),
    ];
    assert!(!keeps(&Known::default(), &[attempt(1, End::Lost)], &told));
    assert!(!keeps(
        &Known::default(),
        &[attempt(1, End::Disconnected)],
        &connect
    ));
}
