//! What the stand-in for the host notices.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Plugin, connect, tcpclean};
use crate::{Event, EventType, MapError, Message, StatusRule, host};

const LONG_NAME: &str = "an attribute whose name has one byte more than a name may have: x";

/// Does what its configuration says.
#[derive(Debug)]
struct Obedient {
    order: String,
    calls: AtomicU64,
}

impl StatusRule for Obedient {
    fn init(config: &str) -> Result<Self, String> {
        if config == "no" {
            return Err("no".to_owned());
        }
        Ok(Self {
            order: config.to_owned(),
            calls: AtomicU64::new(0),
        })
    }

    fn attributes(&self) -> Option<Vec<&str>> {
        match self.order.as_str() {
            "select" => Some(vec!["node", "not known"]),
            "select 65" => Some(vec!["node"; 65]),
            "select long" => Some(vec![LONG_NAME]),
            _ => None,
        }
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let mut body = event.client_id.clone();
        if self.order.starts_with("select") {
            body = format!(
                "{:?} {:?}",
                event.attribute("node"),
                event.attribute("reason")
            );
        }
        crate::info!("mapping {body}");
        host::add("mapped", 1);
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(match self.order.as_str() {
            "skip" => Vec::new(),
            "reject" => return Err(MapError::Rejected("because".to_owned())),
            "empty body" => vec![Message::new("")],
            "blank" => vec![Message::new(body).keys(["two words"])],
            "empty key" => vec![Message::new(body).keys([""])],
            "reserved" => vec![Message::new(body).property("eventId", "1")],
            "name of RocketMQ" => vec![Message::new(body).property("WAIT", "true")],
            "separator" => vec![Message::new(body).tag("a\u{1}b")],
            "many" => vec![Message::new(body); 17],
            "large" => vec![Message::new(vec![b' '; 3 * 1024 * 1024 + 1])],
            "large properties" => vec![Message::new(body).property("p", "x".repeat(30_000))],
            "fickle" => vec![Message::new(format!("{body} {call}"))],
            _ => vec![Message::new(body)],
        })
    }
}

#[track_caller]
fn panic_of(order: &str) -> String {
    let plugin = Plugin::<Obedient>::start(order).unwrap();
    let payload = std::panic::catch_unwind(|| plugin.map(&connect().build())).unwrap_err();
    payload
        .downcast_ref::<String>()
        .expect("a message")
        .to_owned()
}

#[test]
fn messages_lines_and_counters_are_those_of_one_call() {
    let plugin = Plugin::<Obedient>::start("").unwrap();
    let mapped = plugin.map(&connect().client_id("GID_A@@@d1").build());
    assert_eq!(mapped.body(), "GID_A@@@d1");
    assert_eq!(mapped.log.len(), 1);
    assert_eq!(mapped.counter("mapped"), 1);
    assert_eq!(mapped.counter("other"), 0);
}

#[test]
fn a_skip_and_a_rejection_are_told_apart() {
    let skipping = Plugin::<Obedient>::start("skip").unwrap();
    assert!(skipping.map(&connect().build()).is_skipped());
    let rejecting = Plugin::<Obedient>::start("reject").unwrap();
    assert_eq!(rejecting.map(&connect().build()).rejection(), "because");
    assert_eq!(Plugin::<Obedient>::start("no").unwrap_err(), "no");
}

#[test]
fn what_the_host_refuses_fails_the_test() {
    for (order, reason) in [
        ("empty body", "empty"),
        ("blank", "two words"),
        ("empty key", "\"\" is empty"),
        ("reserved", "eventId"),
        ("name of RocketMQ", "WAIT"),
        ("separator", "U+0001"),
        ("many", "17 messages"),
        ("large", "3145729 bytes"),
        ("large properties", "30000"),
        ("select 65", "65 attributes; the limit is 64"),
        ("select long", "65 bytes; the limit is 64"),
    ] {
        let message = panic_of(order);
        assert!(message.contains(reason), "{order}: {message}");
    }
}

#[test]
fn an_event_has_the_attributes_that_the_plugin_says_it_reads() {
    let event = tcpclean().attribute("node", "n").build();
    let all = Plugin::<Obedient>::start("select nothing").unwrap();
    let reason = event.attribute("reason");
    assert!(reason.is_some());
    assert_eq!(all.map(&event).body(), format!("Some(\"n\") {reason:?}"));
    let selecting = Plugin::<Obedient>::start("select").unwrap();
    assert_eq!(selecting.map(&event).body(), "Some(\"n\") None");
}

#[test]
fn an_answer_that_changes_fails_the_test() {
    assert!(panic_of("fickle").contains("the same event"));
}

#[test]
fn an_event_has_fixed_defaults_and_what_was_set() {
    let event = connect().build();
    assert_eq!(event.event_type, EventType::Connect);
    assert_eq!(event.group_id, "GID_Test");
    assert_eq!(event.attribute("reason"), None);
    assert_eq!(event.event_id.len(), 32);

    let event = tcpclean()
        .client_id("GID_A@@@d1")
        .attribute("reason", "kicked")
        .attribute("username", "u")
        .without("node")
        .sequence(7)
        .build();
    assert_eq!(event.group_id, "GID_A");
    assert_eq!(event.attributes[0], ("reason".into(), "kicked".into()));
    assert_eq!(
        event.attributes.last().unwrap(),
        &("username".into(), "u".into())
    );
    assert_eq!(event.attribute("node"), None);
    assert_eq!(event.sequence, 7);
    assert_eq!(tcpclean().client_id("any").build().group_id, "");
}
