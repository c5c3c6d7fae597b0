//! What the ring of a rule keeps.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use domain::{
    ChannelFacts, ChannelId, ClientId, EventId, EventType, MqttVersion, OutboundMessage, RuleId,
    Sequence, StatusEvent,
};

use super::{BODY_BYTES_MAX, SAMPLES_MAX, Sample, SampleOutcome, Samples};

fn rule(id: &str) -> RuleId {
    RuleId::parse(id).unwrap()
}

fn sample(number: u64, outcome: SampleOutcome) -> Sample {
    let client_id = ClientId::parse("GID_Test@@@a").unwrap();
    let channel = ChannelFacts {
        group_id: client_id.group(),
        client_id,
        channel_id: ChannelId([1; 16]),
        client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        protocol: MqttVersion::V5,
        listener: "tcp",
        username: None,
        keep_alive_seconds: 0,
        clean_start: true,
        session_present: false,
    };
    Sample {
        event: Arc::new(StatusEvent {
            event_id: EventId(u128::from(number).to_be_bytes()),
            event_type: EventType::Connect,
            time_ms: number,
            sequence: Sequence(number),
            reason: None,
            synthetic: None,
            connected_at_ms: number,
            channel: Arc::new(channel),
        }),
        outcome,
        fault: None,
        plugin_version: Some(1),
        at_ms: number,
    }
}

fn numbers(samples: &Samples, id: &str, count: usize) -> Vec<u64> {
    let last = samples.last(&rule(id), count);
    last.iter().map(|it| it.event.sequence.0).collect()
}

#[test]
fn a_rule_keeps_its_last_events_and_no_other_s() {
    let samples = Samples::default();
    for number in 0..100 {
        samples.note(
            &rule("rule-a"),
            vec![sample(number, SampleOutcome::skipped(None))],
        );
    }
    let batch = (0..100).map(|number| sample(1000 + number, SampleOutcome::skipped(None)));
    samples.note(&rule("rule-b"), batch.collect());
    assert_eq!(numbers(&samples, "rule-a", 3), [99, 98, 97]);
    assert_eq!(numbers(&samples, "rule-a", usize::MAX).len(), SAMPLES_MAX);
    assert_eq!(numbers(&samples, "rule-b", usize::MAX).len(), SAMPLES_MAX);
    assert_eq!(numbers(&samples, "rule-b", 1), [1099]);
    samples.forget(&rule("rule-a"));
    assert!(numbers(&samples, "rule-a", 1).is_empty());
}

#[test]
fn an_event_that_waited_is_kept_once() {
    let samples = Samples::default();
    let id = rule("rule-a");
    samples.note(&id, vec![sample(1, SampleOutcome::retried("later"))]);
    samples.note(&id, vec![sample(2, SampleOutcome::skipped(None))]);
    samples.note(&id, vec![sample(1, SampleOutcome::retried("later"))]);
    samples.note(&id, vec![sample(1, SampleOutcome::skipped(None))]);
    assert_eq!(numbers(&samples, "rule-a", usize::MAX), [1, 2]);
}

#[test]
fn only_the_beginning_of_a_message_is_kept() {
    let message = OutboundMessage {
        tag: Some("é".repeat(100)),
        keys: vec!["k".repeat(1000); 9],
        properties: Vec::new(),
        body: vec![b'x'; 100_000],
    };
    let SampleOutcome::Delivered { messages, count } = SampleOutcome::delivered(&vec![message; 20])
    else {
        panic!("not delivered");
    };
    assert_eq!((messages.len(), count), (4, 20));
    let first = &messages[0];
    assert_eq!(first.tag.as_deref(), Some("é".repeat(64).as_str()));
    assert_eq!(
        (first.keys.len(), first.keys[0].len()),
        (4, 128),
        "keys are cut"
    );
    assert_eq!(
        (first.body.len(), first.body_bytes),
        (BODY_BYTES_MAX, 100_000)
    );
}
