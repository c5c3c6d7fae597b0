//! The envelope, the tag and the keys; `data` is the event as the host's API shows it. There are no
//! settings.

use rulemill_sdk::{Event, MapError, Message, StatusRule, config, json, time};

/// The mapping.
#[derive(Debug)]
pub struct CloudEvents;

impl StatusRule for CloudEvents {
    fn init(config: &str) -> Result<Self, String> {
        config::none(config).map(|()| Self)
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        let event_type = event.event_type.as_str();
        let time = time::rfc3339(event.time).ok_or_else(|| {
            MapError::Rejected(format!("time {} is beyond the year 9999", event.time))
        })?;
        let body = json::Object::with_capacity(1024)
            .text("specversion", "1.0")
            .text("id", &event.event_id)
            .text("source", &source(event))
            .text("type", &format!("rulemill.client.{event_type}"))
            .text("subject", &event.client_id)
            .text("time", &time)
            .text("datacontenttype", "application/json")
            .object("data", data(event));
        Ok(vec![
            Message::new(body.finish())
                .tag(event_type)
                .keys(event.keys()),
        ])
    }
}

/// A relative reference, since CloudEvents wants a URI and the host has no name of its own on the net.
fn source(event: &Event) -> String {
    let group = &event.group_id;
    match event.attribute("instance") {
        Some(instance) => format!("/instances/{instance}/groups/{group}"),
        None => format!("/groups/{group}"),
    }
}

fn data(event: &Event) -> json::Object {
    let mut data = json::Object::with_capacity(640)
        .text("eventId", &event.event_id)
        .text("eventType", event.event_type.as_str())
        .text("clientId", &event.client_id)
        .text("groupId", &event.group_id)
        .text("channelId", &event.channel_id)
        .text("clientIp", &event.client_ip)
        .number("time", event.time)
        .number("sequence", event.sequence);
    if let Some(reason) = event.attribute("reason") {
        data = data.text("reason", reason);
    }
    let attributes = event
        .attributes
        .iter()
        .fold(json::Object::with_capacity(384), |all, (name, value)| {
            all.text(name, value)
        });
    data.object("attributes", attributes)
}
