//! The last retained message of each topic, bounded by number and bytes.
//!
//! A sorted map, so that a filter looks only at the names that share its literal beginning.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use crate::{Message, topic};

#[derive(Debug, Default)]
pub(crate) struct Retained {
    messages: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
}

impl Retained {
    /// Keeps `message`, or removes its topic's if the payload is empty. False: a limit was reached
    /// and the topic has no retained message now.
    pub(crate) fn put(
        &mut self,
        message: &Arc<Message>,
        count_max: usize,
        bytes_max: usize,
    ) -> bool {
        if let Some(old) = self.messages.remove(&message.topic) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
        if message.payload.is_empty() {
            return true;
        }
        let fits = |kept: &Self| {
            kept.messages.len() < count_max && kept.bytes + message.bytes() <= bytes_max
        };
        if !fits(self) {
            self.remove_expired(Instant::now());
        }
        if !fits(self) {
            return false;
        }
        self.bytes += message.bytes();
        self.messages
            .insert(Arc::clone(&message.topic), Arc::clone(message));
        true
    }

    fn remove_expired(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.messages.retain(|_, message| {
            let keep = !message.is_expired(now);
            if !keep {
                *bytes = bytes.saturating_sub(message.bytes());
            }
            keep
        });
    }

    /// The messages that `pattern` matches, by topic.
    pub(crate) fn matching(&self, pattern: &str, now: Instant) -> Vec<Arc<Message>> {
        let literal = pattern.split(['+', '#']).next().unwrap_or("");
        // `a/#` matches `a`, too: the slash before a wildcard is not part of the beginning.
        let start = literal.strip_suffix('/').unwrap_or(literal);
        self.messages
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(start))
            .filter(|(name, message)| !message.is_expired(now) && topic::matches(pattern, name))
            .map(|(_, message)| Arc::clone(message))
            .collect()
    }
}
