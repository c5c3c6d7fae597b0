//! Native tests of a plugin: events with fixed defaults, and a stand-in for the host. Feature
//! `testing`.
//!
//! What the host would count as a fault of the plugin fails the test, and each event is mapped twice,
//! since the same event must give the same messages. Memory, CPU time and the sandbox are not
//! imitated: those limits hold in the host only.

#![expect(
    clippy::panic,
    reason = "a failed expectation of a test is a panic at the caller's line"
)]

mod event;
mod limits;

use std::collections::BTreeMap;

use crate::{Event, Level, MapError, Message, StatusRule, host};

pub use event::{EventBuilder, connect, disconnect, event, tcpclean};
pub use limits::RESERVED_PROPERTIES;

/// A started plugin.
#[derive(Debug)]
pub struct Plugin<R> {
    rule: R,
}

impl<R: StatusRule> Plugin<R> {
    /// Starts the plugin as the host does: by `init` with the rule's `mapping.config`.
    ///
    /// # Errors
    ///
    /// What the plugin says against the configuration.
    pub fn start(config: &str) -> Result<Self, String> {
        forget_what_was_said();
        Ok(Self {
            rule: R::init(config)?,
        })
    }

    /// Maps one event. It has the attributes that the plugin says it reads, and no others.
    ///
    /// # Panics
    ///
    /// When the host would count the answer as a fault of the plugin, or when the plugin answers
    /// the same event in another way the second time.
    #[must_use]
    #[track_caller]
    pub fn map(&self, event: &Event) -> Mapped {
        let event = &self.selected(event);
        forget_what_was_said();
        let answer = self.rule.map_event(event);
        let (log, counters) = (host::take_log(), host::take_counters());
        let again = self.rule.map_event(event);
        forget_what_was_said();
        assert!(
            answer == again,
            "the same event gave {answer:?}, then {again:?}"
        );
        if let Ok(messages) = &answer
            && let Err(fault) = limits::check(messages)
        {
            panic!("the host refuses this: {fault}");
        }
        Mapped {
            answer,
            log,
            counters,
        }
    }

    /// The event with the attributes that the plugin says it reads, as the host would send it.
    #[track_caller]
    fn selected(&self, event: &Event) -> Event {
        let mut event = event.clone();
        if let Some(names) = self.rule.attributes() {
            if let Err(fault) = limits::check_selection(&names) {
                panic!("the host refuses this: {fault}");
            }
            event
                .attributes
                .retain(|(name, _)| names.contains(&name.as_str()));
        }
        event
    }
}

/// What became of an event.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// What the plugin returned.
    pub answer: Result<Vec<Message>, MapError>,
    /// The lines it logged, in order.
    pub log: Vec<(Level, String)>,
    /// What it counted.
    pub counters: BTreeMap<String, u64>,
}

impl Mapped {
    /// The messages; none: the event was skipped.
    ///
    /// # Panics
    ///
    /// When the event was rejected.
    #[must_use]
    #[track_caller]
    pub fn messages(&self) -> &[Message] {
        match &self.answer {
            Ok(messages) => messages,
            Err(error) => panic!("the event was not mapped: {error:?}"),
        }
    }

    /// The only message.
    ///
    /// # Panics
    ///
    /// When there is none, or more than one.
    #[must_use]
    #[track_caller]
    pub fn message(&self) -> &Message {
        match self.messages() {
            [message] => message,
            messages => panic!("{} messages, not one", messages.len()),
        }
    }

    /// The body of the only message.
    ///
    /// # Panics
    ///
    /// When there is not exactly one message, or its body is no UTF-8.
    #[must_use]
    #[track_caller]
    pub fn body(&self) -> &str {
        let body = &self.message().body;
        match std::str::from_utf8(body) {
            Ok(text) => text,
            Err(error) => panic!("the body is no text: {error}"),
        }
    }

    /// Whether the event was skipped.
    ///
    /// # Panics
    ///
    /// When the event was rejected.
    #[must_use]
    #[track_caller]
    pub fn is_skipped(&self) -> bool {
        self.messages().is_empty()
    }

    /// Why the event was rejected for good.
    ///
    /// # Panics
    ///
    /// When it was mapped, or is to be tried again.
    #[must_use]
    #[track_caller]
    pub fn rejection(&self) -> &str {
        match &self.answer {
            Err(MapError::Rejected(reason)) => reason,
            other => panic!("the event was not rejected but became {other:?}"),
        }
    }

    /// What the plugin added to a counter.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }
}

fn forget_what_was_said() {
    drop(host::take_log());
    drop(host::take_counters());
}

#[cfg(test)]
mod tests;
