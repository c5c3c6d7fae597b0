//! The judge: what a consumer that follows channel ids makes of a topic.
//!
//! Delivery is at least once, so a message may come again; order and counts are judged on first
//! occurrences. A client's events must be in one queue, with growing sequences, times that never go
//! back, and channels that open once, close once and never overlap.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::event::{Event, EventType};
use crate::message::Message;

/// First occurrences, by client.
#[derive(Debug, Default)]
pub struct Verdict {
    /// A client's events in order.
    pub clients: BTreeMap<String, Vec<Event>>,
    /// Messages that came again.
    pub repeated: usize,
}

/// How many first occurrences of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `connect`.
    pub connect: usize,
    /// `disconnect`.
    pub disconnect: usize,
    /// `tcpclean`.
    pub tcpclean: usize,
}

/// Reads `messages` (in the order of queue and offset) and checks all promises but completeness.
///
/// # Errors
///
/// Says which promise is broken, by which client.
pub fn judge(messages: &[Message]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut seen: BTreeMap<String, (String, u64, EventType)> = BTreeMap::new();
    for message in messages {
        let event = Event::read(message)?;
        let identity = (event.client_id.clone(), event.sequence, event.event_type);
        match seen.insert(event.event_id.clone(), identity.clone()) {
            Some(first) => {
                ensure!(
                    first == identity,
                    "event id {} names two events: {first:?}, {identity:?}",
                    event.event_id
                );
                verdict.repeated += 1;
            }
            None => verdict
                .clients
                .entry(event.client_id.clone())
                .or_default()
                .push(event),
        }
    }
    for (client, events) in &verdict.clients {
        follow(events).with_context(|| {
            let story: Vec<String> = events
                .iter()
                .map(|event| {
                    format!(
                        "{} {} {}",
                        event.sequence,
                        event.event_type.name(),
                        event.channel_id
                    )
                })
                .collect();
            format!("client {client}: {}", story.join(", "))
        })?;
    }
    Ok(verdict)
}

fn follow(events: &[Event]) -> Result<()> {
    let mut open: Option<(&str, bool)> = None;
    for (index, event) in events.iter().enumerate() {
        let earlier = events.get(..index).unwrap_or_default();
        if let Some(last) = earlier.last() {
            ensure!(last.queue_id == event.queue_id, "events in two queues");
            ensure!(
                last.sequence < event.sequence,
                "sequence {} is not in order",
                event.sequence
            );
            ensure!(
                last.time <= event.time,
                "time goes back at sequence {}",
                event.sequence
            );
        }
        let channel = event.channel_id.as_str();
        open = match (event.event_type, open) {
            (EventType::Connect, None) => {
                let is_new = earlier.iter().all(|other| other.channel_id != channel);
                ensure!(is_new, "channel {channel} opens twice");
                Some((channel, false))
            }
            (EventType::Connect, Some((other, _))) => {
                anyhow::bail!("connect of {channel} while {other} is open")
            }
            (EventType::Disconnect, Some((current, false))) if current == channel => {
                Some((channel, true))
            }
            (EventType::TcpClean, Some((current, _))) if current == channel => None,
            (other, _) => anyhow::bail!(
                "{} of {channel}, which is not open or said so before",
                other.name()
            ),
        };
    }
    Ok(())
}

impl Verdict {
    /// How many events of each type.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for event in self.clients.values().flatten() {
            match event.event_type {
                EventType::Connect => counts.connect += 1,
                EventType::Disconnect => counts.disconnect += 1,
                EventType::TcpClean => counts.tcpclean += 1,
            }
        }
        counts
    }

    /// Checks how many events of each type there are.
    ///
    /// # Errors
    ///
    /// When it is another number; with both.
    pub fn expect_counts(&self, expected: Counts) -> Result<()> {
        ensure!(
            self.counts() == expected,
            "expected {expected:?}, got {:?}",
            self.counts()
        );
        Ok(())
    }

    /// Checks that no client's last channel is open.
    ///
    /// # Errors
    ///
    /// When one is; with all of them.
    pub fn expect_nobody_online(&self) -> Result<()> {
        ensure!(self.online().is_empty(), "online: {:?}", self.online());
        Ok(())
    }

    /// Clients whose last channel is open.
    #[must_use]
    pub fn online(&self) -> Vec<&str> {
        let is_online = |events: &[Event]| {
            events
                .last()
                .is_some_and(|event| event.event_type != EventType::TcpClean)
        };
        self.clients
            .iter()
            .filter(|(_, events)| is_online(events))
            .map(|(client, _)| client.as_str())
            .collect()
    }

    /// Types of a client's events, in order, separated by blanks.
    #[must_use]
    pub fn story(&self, client_id: &str) -> String {
        let events = self
            .clients
            .get(client_id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        events
            .iter()
            .map(|event| event.event_type.name())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::follow;
    use crate::event::{Event, EventType, Format};

    fn events(story: &[(u64, &str, &str)]) -> Vec<Event> {
        let event = |&(sequence, name, channel): &(u64, &str, &str)| Event {
            event_id: sequence.to_string(),
            sequence,
            event_type: EventType::read(name).unwrap(),
            client_id: "GID_A@@@d".to_owned(),
            channel_id: channel.to_owned(),
            time: sequence,
            format: Format::Apsaramq,
            synthetic: None,
            queue_id: 0,
            stored_at: None,
        };
        story.iter().map(event).collect()
    }

    #[test]
    fn a_clean_close_a_loss_and_a_take_over_are_right() {
        let story = [
            (1, "connect", "a"),
            (2, "disconnect", "a"),
            (3, "tcpclean", "a"),
            (5, "connect", "b"),
            (6, "tcpclean", "b"),
            (7, "connect", "c"),
        ];
        follow(&events(&story)).unwrap();
    }

    #[test]
    fn broken_stories_are_found() {
        let broken: [&[(u64, &str, &str)]; 6] = [
            &[(1, "tcpclean", "a")],
            &[(1, "connect", "a"), (2, "connect", "b")],
            &[(1, "connect", "a"), (2, "tcpclean", "b")],
            &[(2, "connect", "a"), (1, "tcpclean", "a")],
            &[
                (1, "connect", "a"),
                (2, "tcpclean", "a"),
                (3, "connect", "a"),
            ],
            &[
                (1, "connect", "a"),
                (2, "disconnect", "a"),
                (3, "disconnect", "a"),
            ],
        ];
        for story in broken {
            assert!(follow(&events(story)).is_err(), "{story:?}");
        }
    }
}
