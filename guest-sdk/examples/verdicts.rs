//! Everything that can become of an event: one message, several, none, a rejection, a retry; with log
//! lines and counters.
//!
//! `cargo run --example verdicts --features testing`

#![cfg_attr(
    not(target_arch = "wasm32"),
    expect(clippy::print_stdout, reason = "an example shows what it does")
)]

use rulemill_sdk::{Event, EventType, MapError, Message, StatusRule, host};

struct Verdicts;

impl StatusRule for Verdicts {
    fn init(_config: &str) -> Result<Self, String> {
        Ok(Self)
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let Some(user) = event.attribute("username") else {
            rulemill_sdk::warn!("{} has no user", event.client_id);
            return Err(MapError::Rejected("a client without a user".to_owned()));
        };
        match event.event_type {
            // Two messages, sent in this order; both carry the same `eventId`, and `part`.
            EventType::Connect => Ok(vec![
                Message::new(format!("{user} is here")).tag("presence"),
                Message::new(event.client_ip.clone()).tag("address"),
            ]),
            // Nothing is sent; the tcpclean that follows says it all.
            EventType::Disconnect => {
                host::add("disconnects", 1);
                Ok(Vec::new())
            }
            EventType::Tcpclean if event.attribute("reason") == Some("host-restart") => {
                Err(MapError::Retry("not while the host restarts".to_owned()))
            }
            EventType::Tcpclean => {
                let message = Message::new(format!("{user} is gone")).tag("presence");
                Ok(vec![message.property("channel", &event.channel_id)])
            }
        }
    }
}

rulemill_sdk::export_rule!(Verdicts);

#[cfg(not(target_arch = "wasm32"))]
fn main() -> Result<(), String> {
    use rulemill_sdk::testing::{Plugin, connect, disconnect, tcpclean};

    let plugin = Plugin::<Verdicts>::start("{}")?;
    for event in [
        connect(),
        connect().attribute("username", "ada"),
        disconnect().attribute("username", "ada"),
        tcpclean().attribute("username", "ada"),
        tcpclean()
            .attribute("username", "ada")
            .attribute("reason", "host-restart"),
    ] {
        let event = event.build();
        let mapped = plugin.map(&event);
        let what = event.event_type.as_str();
        match &mapped.answer {
            Ok(messages) if messages.is_empty() => println!("{what:<10} skipped"),
            Ok(messages) => {
                for message in messages {
                    println!("{what:<10} {}", String::from_utf8_lossy(&message.body));
                }
            }
            Err(MapError::Rejected(reason)) => println!("{what:<10} rejected: {reason}"),
            Err(MapError::Retry(reason)) => println!("{what:<10} retry: {reason}"),
        }
        for (level, line) in &mapped.log {
            println!("           log {level:?}: {line}");
        }
    }
    Ok(())
}

#[cfg(target_arch = "wasm32")]
fn main() {}
