//! A plugin with settings: how they are read, defaulted, checked, and what a mistake looks like.
//!
//! `cargo run --example settings --features config,testing`

#![cfg_attr(
    not(target_arch = "wasm32"),
    expect(clippy::print_stdout, reason = "an example shows what it does")
)]

use rulemill_sdk::{CloseReason, Event, MapError, Message, StatusRule, config, json, time};

/// The rule's `mapping.config`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    region: String,
    /// Close reasons that nobody wants to hear of.
    #[serde(default)]
    quiet: Vec<CloseReason>,
}

struct Regional(Settings);

impl StatusRule for Regional {
    fn init(text: &str) -> Result<Self, String> {
        let settings: Settings = config::read(text)?;
        // What serde cannot know is checked here, once, and told to who edits the rule.
        if settings.region.is_empty() {
            return Err("bad configuration: region: must not be empty".to_owned());
        }
        Ok(Self(settings))
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let reason = event.close_reason();
        if reason.is_some_and(|reason| self.0.quiet.contains(&reason)) {
            return Ok(Vec::new());
        }
        let body = json::Object::with_capacity(128)
            .text("id", &event.client_id)
            .text("region", &self.0.region)
            .text("at", &time::rfc3339(event.time).unwrap_or_default())
            .text("why", reason.map_or("", CloseReason::as_str))
            .finish();
        let message = Message::new(body).tag(event.event_type.as_str());
        Ok(vec![message.keys(event.keys())])
    }
}

rulemill_sdk::export_rule!(Regional);

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    use rulemill_sdk::testing::{Plugin, disconnect, tcpclean};

    for config in [
        r#"{"region":"eu","quiet":["client-disconnect"]}"#,
        r#"{"region":""}"#,
        r#"{"region":"eu","quite":[]}"#,
    ] {
        match Plugin::<Regional>::start(config) {
            Ok(plugin) => {
                for event in [disconnect().build(), tcpclean().build()] {
                    let mapped = plugin.map(&event);
                    let what = event.event_type.as_str();
                    if mapped.is_skipped() {
                        println!("{what:<10} skipped");
                    } else {
                        println!("{what:<10} {}", mapped.body());
                    }
                }
            }
            Err(error) => println!("{config} is refused: {error}"),
        }
    }
}

#[cfg(target_arch = "wasm32")]
fn main() {}
