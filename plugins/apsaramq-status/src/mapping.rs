//! The body, the tag and the keys; the host adds the properties.
//!
//! The body is written field by field, because consumers compare it byte for byte: the order is part
//! of the format.

use rulemill_sdk::{Event, MapError, Message, StatusRule, config, json};
use serde::Deserialize;

/// The mapping with its configuration.
#[derive(Debug)]
pub struct ApsaramqStatus {
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Whether the body says why a connection ended.
    remark: bool,
}

impl StatusRule for ApsaramqStatus {
    fn init(config: &str) -> Result<Self, String> {
        let config = config::read(config)?;
        Ok(Self { config })
    }

    fn attributes(&self) -> Option<Vec<&str>> {
        let mut names = vec!["certificateChainSn"];
        names.extend(self.config.remark.then_some("reason"));
        Some(names)
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let event_type = event.event_type.as_str();
        // Names, braces and a time take about 100 bytes; what is longer costs one more allocation.
        let room = 224 + event.client_id.len();
        let mut body = json::Object::with_capacity(room)
            .text("clientId", &event.client_id)
            .number("time", event.time)
            .text("eventType", event_type)
            .text("channelId", &event.channel_id)
            .text("clientIp", &event.client_ip);
        if let Some(serial) = event.attribute("certificateChainSn") {
            body = body.text("certificateChainSn", serial);
        }
        if self.config.remark
            && let Some(reason) = event.attribute("reason")
        {
            body = body.text("remark", reason);
        }
        Ok(vec![
            Message::new(body.finish())
                .tag(event_type)
                .keys(event.keys()),
        ])
    }
}
