//! Clients that wait because their plugin said `retry` or ran out of time: their later events wait
//! behind, other clients of the slot go on.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::{ClientId, Slot};
use store::PendingEvent;
use tokio::time::Instant;

use crate::backoff::Backoff;

/// Parked events of one worker. At the limit it takes nothing new until some are mapped or buried.
const PARKED_EVENTS_MAX: usize = 4096;

/// How long a client has been waiting.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// Since when. Not by the wall clock: a step of it is no patience.
    pub(super) since: Instant,
    /// The plugin faulted; it did not ask for it.
    is_fault: bool,
    backoff: Backoff,
}

impl Patience {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        Self {
            since: Instant::now(),
            is_fault: false,
            backoff,
        }
    }

    pub(super) fn after_fault(self, is_fault: bool) -> Self {
        Self { is_fault, ..self }
    }
}

#[derive(Debug)]
struct Parked {
    slot: Slot,
    events: VecDeque<Arc<PendingEvent>>,
    patience: Patience,
    due: Instant,
}

/// The parked clients of one worker.
#[derive(Debug, Default)]
pub(super) struct Parking {
    clients: HashMap<ClientId, Parked>,
    count: usize,
}

impl Parking {
    pub(super) fn is_full(&self) -> bool {
        self.count >= PARKED_EVENTS_MAX
    }

    pub(super) fn holds(&self, client: &ClientId) -> bool {
        self.clients.contains_key(client)
    }

    /// The slots that have parked clients.
    pub(super) fn slots(&self) -> BTreeSet<Slot> {
        self.clients.values().map(|parked| parked.slot).collect()
    }

    /// Clients that wait for a plugin that faulted.
    pub(super) fn faulted(&self) -> usize {
        let is_fault = |parked: &&Parked| parked.patience.is_fault;
        self.clients.values().filter(is_fault).count()
    }

    /// When the first client is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.clients.values().map(|parked| parked.due).min()
    }

    /// Parks the client of `event`.
    pub(super) fn park(&mut self, event: Arc<PendingEvent>, mut patience: Patience) {
        let due = Instant::now() + patience.backoff.next();
        let client = event.event.channel.client_id.clone();
        self.count += 1;
        self.clients.insert(
            client,
            Parked {
                slot: event.slot,
                events: VecDeque::from([event]),
                patience,
                due,
            },
        );
    }

    /// Puts an event behind those of its parked client.
    pub(super) fn push(&mut self, event: Arc<PendingEvent>) {
        if let Some(parked) = self.clients.get_mut(&event.event.channel.client_id) {
            parked.events.push_back(event);
            self.count += 1;
        }
    }

    /// Takes the clients that are due: their events in order, and how long each has waited.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
    ) -> (Vec<Arc<PendingEvent>>, HashMap<ClientId, Patience>) {
        let mut events = Vec::new();
        let mut waited = HashMap::new();
        for (client, parked) in self.clients.extract_if(|_, parked| parked.due <= now) {
            events.extend(parked.events);
            waited.insert(client, parked.patience);
        }
        self.count -= events.len();
        (events, waited)
    }

    /// Makes all clients due: another plugin may be there.
    pub(super) fn hasten(&mut self, now: Instant) {
        self.clients
            .values_mut()
            .for_each(|parked| parked.due = now);
    }

    /// Takes everything. The events of a client are in order.
    pub(super) fn take_all(&mut self) -> Vec<Arc<PendingEvent>> {
        self.count = 0;
        let all = self.clients.drain().flat_map(|(_, parked)| parked.events);
        all.collect()
    }
}
