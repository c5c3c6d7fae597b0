//! Maps each status event to one JSON message.

use rulemill_sdk::{Event, MapError, Message, StatusRule};
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
    fn init(config: &str) -> Result<Self, String> {
        serde_json::from_str(config).map_err(|error| error.to_string())
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
