//! The judge: what a consumer that follows channel ids makes of a topic.
//!
//! Delivery is at least once, so a message may come again; order and counts are judged on first
//! occurrences. A client's events must be in one queue, with growing sequences, times that never go
//! back, and channels that open once, close once and never overlap. Where a rule may move between topics or
//! queues, order is judged by the broker's time of storage.

mod sums;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::event::{Event, EventType};
use crate::message::Message;

pub use sums::conservation;

/// First occurrences, by client.
#[derive(Debug, Default)]
pub struct Verdict {
    /// A client's events in order.
    pub clients: BTreeMap<String, Vec<Event>>,
    /// Messages that came again.
    pub repeated: usize,
    /// When they were stored, UNIX milliseconds, ascending; empty if the reader does not say.
    pub repeated_at: Vec<u64>,
}

/// What order is promised to the consumer of a rule's topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A client's events are in one queue of each topic, and across topics in the order of storage.
    OneQueue,
    /// They are in the order of storage, whatever the queue.
    ByStorage,
    /// They are in order within each queue.
    WithinQueues,
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
                verdict.repeated_at.extend(event.stored_at);
            }
            None => verdict
                .clients
                .entry(event.client_id.clone())
                .or_default()
                .push(event),
        }
    }
    for (client, events) in &verdict.clients {
        follow(events).with_context(|| told(client, events))?;
    }
    verdict.repeated_at.sort_unstable();
    Ok(verdict)
}

/// Where and when an event was stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    topic: String,
    broker: Option<String>,
    queue_id: i32,
    offset: i64,
    at: u64,
}

impl Place {
    fn of(message: &Message) -> Result<Self> {
        Ok(Self {
            topic: message.topic.clone(),
            broker: message.broker.clone(),
            queue_id: message.queue_id,
            offset: message.queue_offset,
            at: message.stored_at.context("no time of storage")?,
        })
    }

    fn is_same_queue(&self, other: &Self) -> bool {
        (&self.topic, &self.broker, self.queue_id) == (&other.topic, &other.broker, other.queue_id)
    }

    /// Whether a consumer certainly gets this one after the other.
    fn is_after(&self, other: &Self, order: Order) -> bool {
        if self.is_same_queue(other) {
            return self.offset > other.offset;
        }
        order != Order::WithinQueues && self.at > other.at
    }
}

/// As [`judge`] for a rule whose clients may move: reads `messages` of all its topics.
///
/// # Errors
///
/// Says which promise is broken, by which client.
pub fn judge_moved(messages: &[Message], order: Order) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut firsts: BTreeMap<String, (Place, Event)> = BTreeMap::new();
    for message in messages {
        let (place, event) = (Place::of(message)?, Event::read(message)?);
        let identity = |it: &Event| (it.client_id.clone(), it.sequence, it.event_type);
        let Some((first, known)) = firsts.get_mut(&event.event_id) else {
            firsts.insert(event.event_id.clone(), (place, event));
            continue;
        };
        ensure!(
            identity(known) == identity(&event),
            "event id {} names two events",
            event.event_id
        );
        let is_earlier = if first.is_same_queue(&place) {
            place.offset < first.offset
        } else {
            place.at < first.at
        };
        verdict.repeated += 1;
        verdict.repeated_at.push(first.at.max(place.at));
        if is_earlier {
            *first = place;
            known.queue_id = event.queue_id;
        }
    }
    verdict.repeated_at.sort_unstable();
    let mut clients: BTreeMap<String, Vec<(Place, Event)>> = BTreeMap::new();
    for (place, event) in firsts.into_values() {
        let client = clients.entry(event.client_id.clone()).or_default();
        client.push((place, event));
    }
    for (client, mut placed) in clients {
        placed.sort_by_key(|(_, event)| event.sequence);
        let (places, events): (Vec<Place>, Vec<Event>) = placed.into_iter().unzip();
        in_order(&places, order).with_context(|| told(&client, &events))?;
        follow_channels(&events).with_context(|| told(&client, &events))?;
        verdict.clients.insert(client, events);
    }
    Ok(verdict)
}

/// Places of one client's events by sequence.
fn in_order(places: &[Place], order: Order) -> Result<()> {
    for (index, place) in places.iter().enumerate() {
        for later in places.iter().skip(index + 1) {
            ensure!(
                !place.is_after(later, order),
                "stored in the wrong order: {place:?} before {later:?}"
            );
            ensure!(
                order != Order::OneQueue
                    || place.topic != later.topic
                    || place.is_same_queue(later),
                "events in two queues of one topic: {place:?}, {later:?}"
            );
        }
    }
    Ok(())
}

fn told(client: &str, events: &[Event]) -> String {
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
}

fn follow(events: &[Event]) -> Result<()> {
    for pair in events.windows(2) {
        if let [first, second] = pair {
            ensure!(first.queue_id == second.queue_id, "events in two queues");
        }
    }
    follow_channels(events)
}

fn follow_channels(events: &[Event]) -> Result<()> {
    let mut open: Option<(&str, bool)> = None;
    for (index, event) in events.iter().enumerate() {
        let earlier = events.get(..index).unwrap_or_default();
        if let Some(last) = earlier.last() {
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
mod tests;
