//! Compares what a consumer reads with what clients and operator know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::truth::{Attempt, End, Matching, Span};
use crate::event::{Event, EventType};
use crate::message::Message;
use crate::oracle::{self, Verdict};

/// A kill takes what was acknowledged so shortly before it, if CONNACK does not wait for the commit; a commit that the
/// disk holds up takes longer than usual.
const COMMIT_MS: u64 = 1000;
/// The clocks of host and broker are one; this is for the time between two readings of it.
const CLOCK_MS: u64 = 5;

/// What is known of one rule's group.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) attempts: &'a [Attempt],
    pub(super) matching: &'a Matching,
    pub(super) kills: &'a [Span],
    pub(super) stops: &'a [Span],
    /// When something began that may repeat messages.
    pub(super) trouble_since: Option<u64>,
    pub(super) is_after_commit: bool,
    pub(super) order: oracle::Order,
}

/// What a channel told.
#[derive(Clone, Copy, Debug, Default)]
struct Story {
    disconnect: bool,
    tcpclean: bool,
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judged {
    /// First occurrences.
    pub(super) events: u64,
    pub(super) repeated: usize,
    /// Acknowledged connections that a kill took before their commit.
    pub(super) lost_uncommitted: usize,
}

impl Case<'_> {
    /// Judges everything that was read from the rule's topics.
    pub(super) fn judge(&self, messages: &[Message]) -> Result<Judged> {
        let verdict = oracle::judge_moved(messages, self.order)?;
        self.check_repeats(&verdict)?;
        let mut stories = stories(messages)?;
        let mut judged = Judged {
            repeated: verdict.repeated,
            ..Judged::default()
        };
        let mut online = BTreeSet::new();
        for attempt in self.attempts {
            let key = (attempt.client_id.clone(), attempt.address);
            let story = stories.remove(&key);
            if attempt.end == End::Open && story.is_some() {
                online.insert(attempt.client_id.as_str());
            }
            let missing = self
                .check(attempt, story)
                .with_context(|| format!("{attempt:?}: {story:?}"))?;
            judged.lost_uncommitted += usize::from(missing);
        }
        ensure!(
            stories.is_empty(),
            "events of connections that nobody made: {stories:?}"
        );
        let seen: BTreeSet<&str> = verdict.online().into_iter().collect();
        ensure!(
            seen == online,
            "online for the consumer {seen:?}, in truth {online:?}"
        );
        let events = verdict.clients.values().map(Vec::len).sum::<usize>();
        judged.events = u64::try_from(events)?;
        Ok(judged)
    }

    fn check_repeats(&self, verdict: &Verdict) -> Result<()> {
        let Some(first) = verdict.repeated_at.first() else {
            return Ok(());
        };
        let since = self
            .trouble_since
            .with_context(|| format!("{} repeated without a cause", verdict.repeated))?;
        ensure!(
            first + CLOCK_MS >= since,
            "a message was repeated at {first}, before anything happened at {since}"
        );
        Ok(())
    }

    /// Checks one connection; whether it is one that a kill took with leave.
    fn check(&self, attempt: &Attempt, story: Option<Story>) -> Result<bool> {
        let Some(story) = story else {
            let Some(accepted_at) = attempt.accepted_at else {
                return Ok(false);
            };
            let asking = Span {
                from: attempt.asked_at,
                to: accepted_at,
            };
            let matched = self
                .matching
                .certainly_on
                .iter()
                .any(|span| span.covers(asking));
            if !matched {
                return Ok(false);
            }
            ensure!(
                !self.is_after_commit && self.is_killed_after(asking),
                "an acknowledged connection has no event"
            );
            return Ok(true);
        };
        ensure!(
            attempt.refused.is_none(),
            "a refused connection has an event"
        );
        if let Some(accepted_at) = attempt.accepted_at {
            let asking = Span {
                from: attempt.asked_at,
                to: accepted_at,
            };
            let off = &self.matching.certainly_off;
            ensure!(
                !off.iter().any(|span| span.covers(asking)),
                "a connection of a rule that was off has an event"
            );
        }
        ensure!(
            story.tcpclean == (attempt.end != End::Open),
            "tcpclean is missing or too early"
        );
        match attempt.end {
            End::Disconnected => {
                // A client may send DISCONNECT to a host that has just died, and takes that end for the answer.
                let open = Span {
                    from: attempt.accepted_at.unwrap_or(0),
                    to: attempt.ended_at.unwrap_or(0),
                };
                let is_stopped = self.stops.iter().any(|stop| stop.overlaps(open));
                ensure!(
                    story.disconnect || is_stopped || self.is_killed_after(open),
                    "disconnect is missing"
                );
            }
            End::Unsure => {}
            End::Open | End::Lost | End::Silent | End::TakenOver | End::ByHost => {
                ensure!(!story.disconnect, "disconnect of who did not disconnect");
            }
        }
        Ok(false)
    }

    /// Whether the host may have died in that time or before the commit of what happened at its end.
    fn is_killed_after(&self, time: Span) -> bool {
        let until_commit = Span {
            from: time.from,
            to: time.to.saturating_add(COMMIT_MS),
        };
        self.kills.iter().any(|kill| kill.overlaps(until_commit))
    }
}

/// By client and own address of the connection.
fn stories(messages: &[Message]) -> Result<BTreeMap<(String, IpAddr), Story>> {
    let mut stories: BTreeMap<_, Story> = BTreeMap::new();
    for message in messages {
        let event = Event::read(message)?;
        let story = stories
            .entry((event.client_id, address(message)?))
            .or_default();
        match event.event_type {
            EventType::Connect => {}
            EventType::Disconnect => story.disconnect = true,
            EventType::TcpClean => story.tcpclean = true,
        }
    }
    Ok(stories)
}

/// The client's address, whichever plugin wrote it.
fn address(message: &Message) -> Result<IpAddr> {
    let body: Value = serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
    let text = body
        .pointer("/clientIp")
        .or_else(|| body.pointer("/data/clientIp"));
    let text = text.and_then(Value::as_str).context("no clientIp")?;
    Ok(text.parse::<SocketAddr>()?.ip())
}

#[cfg(test)]
mod tests;
