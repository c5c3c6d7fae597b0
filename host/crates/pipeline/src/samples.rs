//! The last events of each rule and what became of them: for people who look, and for the canary of
//! the next plugin version.
//!
//! Of a batch only the last [`SAMPLES_MAX`] events are noted, and of a message only its beginning, so
//! that noting costs the same whatever the load. A rule takes 30 KiB with usual events, 256 KiB at most.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use domain::{OutboundMessage, RuleId, StatusEvent};
use parking_lot::Mutex;
use store::DeadLetterReason;

/// Events kept of one rule; older ones are forgotten.
pub const SAMPLES_MAX: usize = 32;
/// Messages shown of one event.
const MESSAGES_MAX: usize = 4;
/// Keys shown of one message.
const KEYS_MAX: usize = 4;
/// A longer tag or key is cut, bytes.
const NAME_BYTES_MAX: usize = 128;
/// A longer body is cut, bytes.
const BODY_BYTES_MAX: usize = 512;
/// A longer reason is cut, bytes.
const REASON_BYTES_MAX: usize = 512;

/// The beginning of a message that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledMessage {
    /// Its tag, at most 128 bytes of it.
    pub tag: Option<String>,
    /// Its first 4 keys, at most 128 bytes of each.
    pub keys: Vec<String>,
    /// The first 512 bytes of its body.
    pub body: Vec<u8>,
    /// Length of the whole body, bytes.
    pub body_bytes: usize,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SampleOutcome {
    /// RocketMQ stored its messages.
    Delivered {
        /// The first 4.
        messages: Vec<SampledMessage>,
        /// How many there are.
        count: usize,
    },
    /// Nothing was sent.
    Skipped {
        /// Why, if the plugin did not want it so: it rejected the event, or failed on it.
        reason: Option<String>,
    },
    /// It is a dead letter.
    Buried {
        /// The kind of reason.
        reason: DeadLetterReason,
        /// What was said, at most 512 bytes of it.
        detail: String,
    },
    /// Its client waits, and it is tried again.
    Retried {
        /// What was said, at most 512 bytes of it.
        reason: String,
    },
}

impl SampleOutcome {
    /// The name in the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Skipped { .. } => "skipped",
            Self::Buried { .. } => "buried",
            Self::Retried { .. } => "retried",
        }
    }

    /// The beginnings of `messages`.
    pub(crate) fn delivered(messages: &[OutboundMessage]) -> Self {
        Self::Delivered {
            messages: messages.iter().take(MESSAGES_MAX).map(beginning).collect(),
            count: messages.len(),
        }
    }

    pub(crate) fn skipped(reason: Option<&str>) -> Self {
        Self::Skipped {
            reason: reason.map(|it| cut(it, REASON_BYTES_MAX)),
        }
    }

    pub(crate) fn buried(reason: DeadLetterReason, detail: &str) -> Self {
        Self::Buried {
            reason,
            detail: cut(detail, REASON_BYTES_MAX),
        }
    }

    pub(crate) fn retried(reason: &str) -> Self {
        Self::Retried {
            reason: cut(reason, REASON_BYTES_MAX),
        }
    }
}

/// One event and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The event.
    pub event: Arc<StatusEvent>,
    /// What became of it.
    pub outcome: SampleOutcome,
    /// How the plugin's present version failed on it, if it did, at most 512 bytes; also when an
    /// earlier version or the built-in mapping then made its messages.
    pub fault: Option<String>,
    /// The version of the plugin that mapped it, if one did.
    pub plugin_version: Option<u32>,
    /// When, UNIX milliseconds.
    pub at_ms: u64,
}

/// The last events of each rule. Shared by `Arc`.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    rules: Mutex<HashMap<RuleId, VecDeque<Sample>>>,
}

impl Samples {
    /// The last `count` events of a rule, newest first; [`SAMPLES_MAX`] at most.
    pub(crate) fn last(&self, rule_id: &RuleId, count: usize) -> Vec<Sample> {
        let rules = self.rules.lock();
        let ring = rules.get(rule_id);
        let newest_first = ring.into_iter().flat_map(|ring| ring.iter().rev());
        newest_first.take(count).cloned().collect()
    }

    /// Notes what became of events, oldest first. An event that waited and is noted again replaces
    /// what was noted of it.
    pub(crate) fn note(&self, rule_id: &RuleId, mut samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        samples.drain(..samples.len().saturating_sub(SAMPLES_MAX));
        let mut rules = self.rules.lock();
        if !rules.contains_key(rule_id) {
            rules.insert(rule_id.clone(), VecDeque::with_capacity(SAMPLES_MAX));
        }
        let Some(ring) = rules.get_mut(rule_id) else {
            return;
        };
        ring.retain(|old| {
            let is_waiting = matches!(old.outcome, SampleOutcome::Retried { .. });
            let is_same = |new: &Sample| new.event.event_id == old.event.event_id;
            !is_waiting || !samples.iter().any(is_same)
        });
        let forgotten = (ring.len() + samples.len()).saturating_sub(SAMPLES_MAX);
        ring.drain(..forgotten.min(ring.len()));
        ring.extend(samples);
    }

    /// Forgets the events of a rule that is gone.
    pub(crate) fn forget(&self, rule_id: &RuleId) {
        self.rules.lock().remove(rule_id);
    }
}

fn beginning(message: &OutboundMessage) -> SampledMessage {
    let body = &message.body;
    let keys = message.keys.iter().take(KEYS_MAX);
    SampledMessage {
        tag: message.tag.as_deref().map(|tag| cut(tag, NAME_BYTES_MAX)),
        keys: keys.map(|key| cut(key, NAME_BYTES_MAX)).collect(),
        body: body.get(..BODY_BYTES_MAX).unwrap_or(body).to_vec(),
        body_bytes: body.len(),
    }
}

/// The beginning of `text`, `bytes_max` bytes at most.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests;
