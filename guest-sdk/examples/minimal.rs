//! The smallest plugin, and what becomes of one client that comes and is lost.
//!
//! `cargo run --example minimal --features testing`. What is above `main` is the whole of a plugin's
//! `src/lib.rs`; `main` is here so that it can be looked at without a host.

#![cfg_attr(
    not(target_arch = "wasm32"),
    expect(clippy::print_stdout, reason = "an example shows what it does")
)]

use rulemill_sdk::{Event, MapError, Message, StatusRule, json};

struct MyRule;

impl StatusRule for MyRule {
    fn init(_config: &str) -> Result<Self, String> {
        Ok(Self)
    }
    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let body = json::Object::with_capacity(64)
            .text("id", &event.client_id)
            .finish();
        Ok(vec![Message::new(body).tag(event.event_type.as_str())])
    }
}

rulemill_sdk::export_rule!(MyRule);

#[cfg(not(target_arch = "wasm32"))]
fn main() -> Result<(), String> {
    use rulemill_sdk::testing::{Plugin, connect, tcpclean};

    let plugin = Plugin::<MyRule>::start("{}")?;
    for event in [connect().build(), tcpclean().build()] {
        let mapped = plugin.map(&event);
        let tag = mapped.message().tag.as_deref().unwrap_or("-");
        println!("{tag:<10} {}", mapped.body());
    }
    Ok(())
}

#[cfg(target_arch = "wasm32")]
fn main() {}
