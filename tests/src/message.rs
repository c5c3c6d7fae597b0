//! A RocketMQ message as readers print it, one JSON line each.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One message. `properties` are the users' only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The broker of the queue; third-party readers say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// The queue.
    pub queue_id: i32,
    /// The place in the queue.
    pub queue_offset: i64,
    /// RocketMQ's TAGS.
    pub tag: Option<String>,
    /// RocketMQ's KEYS.
    pub keys: Vec<String>,
    /// User properties.
    pub properties: BTreeMap<String, String>,
    /// The body if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// When the broker stored it, UNIX milliseconds; third-party readers say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<u64>,
}

impl Message {
    /// The same of each time that it was sent: which part of which event it is, else its own place.
    #[must_use]
    pub fn identity(&self) -> String {
        let property = |name| self.properties.get(name).map(String::as_str);
        match property("eventId") {
            Some(event) => format!("{event}:{}", property("part").unwrap_or_default()),
            None => format!("{:?}:{}:{}", self.broker, self.queue_id, self.queue_offset),
        }
    }
}

/// Reads lines that a reader printed, in the order of broker, queue and offset.
///
/// # Errors
///
/// When a line is no message.
pub fn parse_lines(text: &str) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        messages.push(serde_json::from_str(line).with_context(|| format!("no message: {line}"))?);
    }
    messages.sort_by_cached_key(|message: &Message| {
        (
            message.broker.clone(),
            message.queue_id,
            message.queue_offset,
        )
    });
    Ok(messages)
}
