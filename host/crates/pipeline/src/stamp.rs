//! What the host adds to every message of a status event.

use domain::{GroupId, OutboundMessage, StatusEvent};

/// Adds the host's properties to the messages of one event.
pub(crate) fn stamp(
    group_id: &GroupId,
    event: &StatusEvent,
    mut messages: Vec<OutboundMessage>,
) -> Vec<OutboundMessage> {
    let parts = messages.len();
    for (index, message) in messages.iter_mut().enumerate() {
        let mut add = |name: &str, value: String| message.properties.push((name.to_owned(), value));
        add("eventId", event.event_id.to_string());
        add("sequence", event.sequence.0.to_string());
        add("groupId", group_id.to_string());
        if parts > 1 {
            add("part", format!("{}/{parts}", index + 1));
        }
        if let Some(synthetic) = event.synthetic {
            add("synthetic", synthetic.as_str().to_owned());
        }
    }
    messages
}
