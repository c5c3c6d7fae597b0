//! What an operator sees of clients: those that are connected and those that were, as far as they
//! are remembered.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::{ChannelId, ClientId, GroupId, MqttVersion, Sequence};

use crate::Broker;
use crate::registry::Entry;

/// One known client and its last connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// The client.
    pub client_id: ClientId,
    /// The group in its id.
    pub group_id: Option<GroupId>,
    /// Whether its channel is open.
    pub online: bool,
    /// Its last channel.
    pub channel_id: ChannelId,
    /// The sequence of that channel's `connect`.
    pub sequence: Sequence,
    /// What it spoke.
    pub protocol: MqttVersion,
    /// Since when it is online or offline, UNIX milliseconds.
    pub since_ms: u64,
    /// Where it came from.
    pub client_address: SocketAddr,
    /// The user name it presented.
    pub username: Option<Arc<str>>,
}

/// Which clients are wanted; `None` is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Of this group only.
    pub group_id: Option<GroupId>,
    /// Only those online, or only those offline.
    pub online: Option<bool>,
}

/// Clients by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPage {
    /// At most as many as asked for.
    pub items: Vec<ClientView>,
    /// Where the next page starts after; `None`: this was the last.
    pub next: Option<ClientId>,
    /// How many there are in all pages together.
    pub total: usize,
}

impl ClientFilter {
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.online
            .is_none_or(|online| online == entry.channel.is_some())
            && (self.group_id.is_none() || self.group_id == entry.facts.group_id)
    }
}

impl ClientView {
    pub(crate) fn of(entry: &Entry) -> Self {
        let facts = &entry.facts;
        Self {
            client_id: facts.client_id.clone(),
            group_id: facts.group_id.clone(),
            online: entry.channel.is_some(),
            channel_id: facts.channel_id,
            sequence: entry.opened,
            protocol: facts.protocol,
            since_ms: entry.since_ms,
            client_address: facts.client_address,
            username: facts.username.clone(),
        }
    }
}

impl Broker {
    /// One known client.
    #[must_use]
    pub fn client(&self, client: &ClientId) -> Option<ClientView> {
        self.registry()
            .lock(client)
            .clients
            .get(client)
            .map(ClientView::of)
    }

    /// Known clients by id, from the first after `after`. Looks at all of them, one shard at a time.
    #[must_use]
    pub fn clients(
        &self,
        after: Option<&ClientId>,
        limit: usize,
        filter: &ClientFilter,
    ) -> ClientPage {
        let mut items: Vec<ClientView> = Vec::new();
        let mut total = 0;
        for shard in self.registry().shards() {
            let shard = shard.lock();
            let wanted = shard
                .clients
                .iter()
                .filter(|(_, entry)| filter.matches(entry));
            let mut of_shard = 0;
            for (client, entry) in wanted {
                total += 1;
                // One more than asked for says whether there is another page.
                if of_shard <= limit && after.is_none_or(|after| client > after) {
                    items.push(ClientView::of(entry));
                    of_shard += 1;
                }
            }
            // What cannot be on this page is not kept until the last shard was looked at.
            if items.len() > limit {
                items.sort_by(|a, b| a.client_id.cmp(&b.client_id));
                items.truncate(limit.saturating_add(1));
            }
        }
        items.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| last.client_id.clone());
        ClientPage { items, next, total }
    }
}
