//! All known clients, in 64 shards, each behind one lock.
//!
//! A shard also knows in which order its clients went offline and when something is due for them (a
//! will, the end of a session). Both are kept exactly: a client that comes back leaves both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{ChannelFacts, ClientId, CloseReason, Sequence, Slot};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::Will;
use crate::channel::Channel;
use crate::session::Session;

const SHARDS: usize = 64;

/// One known client.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) facts: Arc<ChannelFacts>,
    /// The sequence of the last `connect`.
    pub(crate) opened: Sequence,
    pub(crate) since_ms: u64,
    /// `None`: offline.
    pub(crate) channel: Option<Arc<Channel>>,
    /// `None`: nothing is kept for it.
    pub(crate) session: Option<Arc<Session>>,
    /// How long the session outlives the connection, seconds.
    pub(crate) expiry_seconds: u32,
    /// The will of the open channel.
    pub(crate) will: Option<Will>,
    offline: Option<Offline>,
}

/// What is kept of a client while it is offline.
#[derive(Debug)]
struct Offline {
    /// Its place in the order in which clients went offline.
    number: u64,
    /// When the session ends; `None`: there is none.
    expires_at: Option<Instant>,
    will: Option<(Instant, Will)>,
}

impl Offline {
    fn due(&self) -> Option<Instant> {
        let will = self.will.as_ref().map(|(at, _)| *at);
        [self.expires_at, will].into_iter().flatten().min()
    }
}

/// What a change leaves to do once the shard is unlocked.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    pub(crate) ended: Vec<Arc<Session>>,
    pub(crate) wills: Vec<Will>,
    /// Clients that were forgotten at the limit.
    pub(crate) forgotten: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) clients: BTreeMap<ClientId, Entry>,
    offline: BTreeMap<u64, ClientId>,
    due: BTreeSet<(Instant, ClientId)>,
    last_number: u64,
}

#[derive(Debug)]
pub(crate) struct Registry {
    shards: Vec<Mutex<Shard>>,
    fallback: Mutex<Shard>,
    offline_max: usize,
}

impl Entry {
    pub(crate) fn new(channel: &Arc<Channel>, session: Arc<Session>) -> Self {
        Self {
            facts: Arc::clone(&channel.facts),
            opened: channel.ticket.opened,
            since_ms: channel.ticket.opened_at_ms,
            channel: Some(Arc::clone(channel)),
            session: Some(session),
            expiry_seconds: 0,
            will: None,
            offline: None,
        }
    }
}

impl Registry {
    pub(crate) fn new(offline_clients_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            fallback: Mutex::default(),
            offline_max: offline_clients_max.div_ceil(SHARDS),
        }
    }

    /// How many offline clients a shard keeps.
    pub(crate) fn offline_max(&self) -> usize {
        self.offline_max
    }

    /// The shard of `client`.
    pub(crate) fn lock(&self, client: &ClientId) -> MutexGuard<'_, Shard> {
        let index = usize::from(Slot::of(client).0) % SHARDS;
        self.shards.get(index).unwrap_or(&self.fallback).lock()
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &Mutex<Shard>> {
        self.shards.iter()
    }
}

impl Shard {
    /// The client's open channel.
    pub(crate) fn channel(&self, client: &ClientId) -> Option<Arc<Channel>> {
        self.clients.get(client)?.channel.clone()
    }

    /// Its channel was closed for `reason`: the client is offline from now on.
    pub(crate) fn sleep(
        &mut self,
        client: &ClientId,
        reason: CloseReason,
        now_ms: u64,
        aftermath: &mut Aftermath,
    ) {
        let Some(entry) = self.clients.get_mut(client) else {
            return;
        };
        let now = Instant::now();
        entry.channel = None;
        entry.since_ms = now_ms.max(entry.since_ms);
        let expires_at = if entry.expiry_seconds == 0 {
            aftermath.ended.extend(entry.session.take());
            None
        } else {
            if let Some(session) = &entry.session {
                session.detach();
            }
            Some(now + Duration::from_secs(entry.expiry_seconds.into()))
        };
        let mut delayed = None;
        // A server that goes down may keep wills back [MQTT-3.1.2-8]: nobody is there to read them.
        let unwanted = matches!(
            reason,
            CloseReason::ClientDisconnect | CloseReason::HostShutdown
        );
        if let Some(will) = entry.will.take().filter(|_| !unwanted) {
            // A will is never later than the end of the session [MQTT-3.1.2-8].
            match will.delay_seconds.min(entry.expiry_seconds) {
                0 => aftermath.wills.push(will),
                delay => delayed = Some((now + Duration::from_secs(delay.into()), will)),
            }
        }
        self.last_number += 1;
        let offline = Offline {
            number: self.last_number,
            expires_at,
            will: delayed,
        };
        self.offline.insert(offline.number, client.clone());
        self.due
            .extend(offline.due().map(|at| (at, client.clone())));
        entry.offline = Some(offline);
    }

    /// Takes a client that is offline out, to be put back online: its session and its delayed will.
    pub(crate) fn wake(&mut self, client: &ClientId) -> (Option<Arc<Session>>, Option<Will>) {
        let Some(entry) = self.clients.remove(client) else {
            return (None, None);
        };
        let will = self.leave_offline(client, entry.offline);
        (entry.session, will)
    }

    fn leave_offline(&mut self, client: &ClientId, offline: Option<Offline>) -> Option<Will> {
        let offline = offline?;
        self.offline.remove(&offline.number);
        if let Some(at) = offline.due() {
            self.due.remove(&(at, client.clone()));
        }
        offline.will.map(|(_, will)| will)
    }

    /// Forgets those that have been offline longest until at most `offline_max` are left. A delayed
    /// will of theirs is published now, since their session ends.
    pub(crate) fn forget(&mut self, offline_max: usize, aftermath: &mut Aftermath) {
        while self.offline.len() > offline_max {
            let Some((_, client)) = self.offline.pop_first() else {
                return;
            };
            let (session, will) = self.wake(&client);
            aftermath.ended.extend(session);
            aftermath.wills.extend(will);
            aftermath.forgotten += 1;
        }
    }

    /// Does what is due at `now`.
    pub(crate) fn advance(&mut self, now: Instant, aftermath: &mut Aftermath) {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, client)) = self.due.pop_first() else {
                return;
            };
            let Some(entry) = self.clients.get_mut(&client) else {
                continue;
            };
            let Some(offline) = &mut entry.offline else {
                continue;
            };
            if let Some((_, will)) = offline.will.take_if(|(at, _)| *at <= now) {
                aftermath.wills.push(will);
            }
            if offline.expires_at.take_if(|at| *at <= now).is_some() {
                aftermath.ended.extend(entry.session.take());
            }
            self.due.extend(offline.due().map(|at| (at, client)));
        }
    }

    #[cfg(test)]
    pub(crate) fn offline_len(&self) -> (usize, usize) {
        (self.offline.len(), self.due.len())
    }
}
