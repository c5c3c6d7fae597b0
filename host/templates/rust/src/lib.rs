//! Maps each status event to one JSON message.

use rulemill_sdk::{Event, MapError, Message, StatusRule, config};
use serde::Deserialize;

/// The rule's `mapping.config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    #[serde(default = "no_region")]
    region: String,
}

fn no_region() -> String {
    "none".to_owned()
}

impl StatusRule for Mapping {
    fn init(text: &str) -> Result<Self, String> {
        config::read(text)
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        if event.group_id.is_empty() {
            return Err(MapError::Rejected("no group".to_owned()));
        }
        let name = event.event_type.as_str();
        let body = serde_json::json!({
            "id": event.client_id,
            "event": name,
            "at": event.time,
            "region": self.region,
        });
        Ok(vec![Message::new(body.to_string()).tag(name).keys(event.keys())])
    }
}

rulemill_sdk::export_rule!(Mapping);

#[cfg(test)]
mod tests {
    use rulemill_sdk::testing::{Plugin, connect};

    use super::Mapping;

    #[test]
    fn the_region_is_that_of_the_configuration() {
        let plugin = Plugin::<Mapping>::start(r#"{"region":"eu"}"#).unwrap();
        let mapped = plugin.map(&connect().build());
        assert!(mapped.body().contains(r#""region":"eu""#));
    }
}
