//! The state of one client that may outlive its connection: subscriptions, what waits, what is in
//! flight, and the packet ids of both directions.
//!
//! Locks are taken in the order shard, session, router. A session that ended takes nothing in any
//! more; its successor is another object, so nothing of it can leak over.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use domain::ClientId;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::message::{Delivery, QoS, SubscriptionOptions};
use crate::outbound::{Credit, NextDelivery};

/// What all waiting messages together may hold.
#[derive(Debug)]
pub(crate) struct QueueBudget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl QueueBudget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            bytes_max,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What became of a message that was offered to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    Waiting,
    /// A limit was reached.
    Dropped,
    /// The session wants no such message now: it ended, or it is offline and the message has `QoS` 0.
    Unwanted,
}

#[derive(Clone, Debug)]
enum Inflight {
    Sent(Delivery),
    /// PUBREC came; PUBREL must be sent until PUBCOMP comes.
    Released,
}

#[derive(Debug)]
pub(crate) struct Session {
    number: u64,
    client_id: ClientId,
    queue_max: usize,
    budget: Arc<QueueBudget>,
    online: AtomicBool,
    state: Mutex<SessionState>,
}

#[derive(Debug, Default)]
pub(crate) struct SessionState {
    owner: Option<Arc<Channel>>,
    ended: bool,
    pub(crate) subscriptions: BTreeMap<Arc<str>, SubscriptionOptions>,
    queue: VecDeque<Delivery>,
    resend: VecDeque<(NonZeroU16, Inflight)>,
    /// In the order they were sent.
    inflight: BTreeMap<u64, (NonZeroU16, Inflight)>,
    packet_ids: HashSet<NonZeroU16>,
    last_packet_id: u16,
    sent: u64,
    /// Packet ids of `QoS` 2 that came and were not released: at most 65,535.
    inbound: HashSet<NonZeroU16>,
}

impl Session {
    pub(crate) fn new(
        number: u64,
        client_id: ClientId,
        queue_max: usize,
        budget: Arc<QueueBudget>,
    ) -> Arc<Self> {
        let online = AtomicBool::new(false);
        Arc::new(Self {
            number,
            client_id,
            queue_max,
            budget,
            online,
            state: Mutex::default(),
        })
    }

    pub(crate) fn is_client(&self, client_id: &ClientId) -> bool {
        self.client_id == *client_id
    }

    /// Tells sessions apart; never used twice.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// A connection takes the session; what was in flight is sent again, in order.
    pub(crate) fn attach(&self, channel: &Arc<Channel>) {
        let mut state = self.state.lock();
        state.owner = Some(Arc::clone(channel));
        state.restore_inflight();
        self.online.store(true, Ordering::Relaxed);
    }

    /// The connection is gone. Messages with `QoS` 0 do not wait for the next one.
    pub(crate) fn detach(&self) {
        let mut state = self.state.lock();
        state.owner = None;
        self.online.store(false, Ordering::Relaxed);
        let budget = &self.budget;
        state.queue.retain(|delivery| {
            let keep = delivery.qos != QoS::AtMostOnce;
            if !keep {
                budget.give(delivery.message.bytes());
            }
            keep
        });
    }

    /// Ends the session; `unsubscribe` is called for each of its filters.
    pub(crate) fn end(&self, mut unsubscribe: impl FnMut(&str)) {
        let mut state = self.state.lock();
        state.ended = true;
        state.owner = None;
        self.online.store(false, Ordering::Relaxed);
        self.give_back(&state.queue);
        state.queue.clear();
        for filter in std::mem::take(&mut state.subscriptions).into_keys() {
            unsubscribe(&filter);
        }
    }

    fn give_back(&self, queue: &VecDeque<Delivery>) {
        self.budget
            .give(queue.iter().map(|delivery| delivery.message.bytes()).sum());
    }

    /// Offers a message.
    pub(crate) fn push(&self, delivery: Delivery) -> Queued {
        let mut state = self.state.lock();
        if state.ended || (state.owner.is_none() && delivery.qos == QoS::AtMostOnce) {
            return Queued::Unwanted;
        }
        if state.queue.len() >= self.queue_max || !self.budget.take(delivery.message.bytes()) {
            return Queued::Dropped;
        }
        state.queue.push_back(delivery);
        if let Some(channel) = &state.owner {
            channel.changed.notify_one();
        }
        Queued::Waiting
    }

    /// Runs `work` on the state if `channel` still owns the session.
    pub(crate) fn owned_by<T>(
        &self,
        channel: &Arc<Channel>,
        work: impl FnOnce(&mut SessionState) -> T,
    ) -> Option<T> {
        let mut state = self.state.lock();
        let owned = state
            .owner
            .as_ref()
            .is_some_and(|owner| Arc::ptr_eq(owner, channel));
        owned.then(|| work(&mut state))
    }

    /// What is to be sent next; see [`crate::Outbound::next`].
    pub(crate) fn next(&self, channel: &Arc<Channel>, credit: Credit) -> NextDelivery {
        self.owned_by(channel, |state| state.next(&self.budget, credit))
            .unwrap_or(NextDelivery::Gone)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let queue = std::mem::take(&mut self.state.get_mut().queue);
        self.give_back(&queue);
    }
}

impl SessionState {
    fn next(&mut self, budget: &QueueBudget, credit: Credit) -> NextDelivery {
        if !self.resend.is_empty() {
            return self.next_again(credit);
        }
        let now = Instant::now();
        while let Some(front) = self.queue.front() {
            let is_due = !front.message.is_expired(now);
            let needs_id = front.qos != QoS::AtMostOnce;
            if is_due && needs_id && credit == Credit::Exhausted {
                return NextDelivery::Wait { for_credit: true };
            }
            let packet_id = if is_due && needs_id {
                let Some(packet_id) = self.allot_packet_id() else {
                    return NextDelivery::Wait { for_credit: false };
                };
                Some(packet_id)
            } else {
                None
            };
            let Some(delivery) = self.queue.pop_front() else {
                break;
            };
            budget.give(delivery.message.bytes());
            if !is_due {
                continue;
            }
            if let Some(packet_id) = packet_id {
                self.keep(packet_id, Inflight::Sent(delivery.clone()));
            }
            return NextDelivery::Publish {
                delivery,
                packet_id,
                again: false,
            };
        }
        NextDelivery::Wait { for_credit: false }
    }

    fn next_again(&mut self, credit: Credit) -> NextDelivery {
        if credit == Credit::Exhausted {
            return NextDelivery::Wait { for_credit: true };
        }
        let Some((packet_id, inflight)) = self.resend.pop_front() else {
            return NextDelivery::Wait { for_credit: false };
        };
        self.keep(packet_id, inflight.clone());
        match inflight {
            Inflight::Sent(delivery) => NextDelivery::Publish {
                delivery,
                packet_id: Some(packet_id),
                again: true,
            },
            Inflight::Released => NextDelivery::Release { packet_id },
        }
    }

    fn keep(&mut self, packet_id: NonZeroU16, inflight: Inflight) {
        self.sent += 1;
        self.inflight.insert(self.sent, (packet_id, inflight));
    }

    fn restore_inflight(&mut self) {
        // What a connection got to resend but not to send comes after what it sent.
        let rest = std::mem::take(&mut self.resend);
        self.resend = std::mem::take(&mut self.inflight)
            .into_values()
            .chain(rest)
            .collect();
    }

    fn allot_packet_id(&mut self) -> Option<NonZeroU16> {
        // As many tries as there are ids: all may be in flight.
        for _ in 0..=u16::MAX {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_packet_id)
                && self.packet_ids.insert(id)
            {
                return Some(id);
            }
        }
        None
    }

    /// PUBREC came.
    pub(crate) fn received(&mut self, packet_id: NonZeroU16) {
        if let Some((_, inflight)) = self.inflight.values_mut().find(|(id, _)| *id == packet_id) {
            *inflight = Inflight::Released;
        }
    }

    /// PUBACK or PUBCOMP came, or the message cannot be sent at all.
    pub(crate) fn completed(&mut self, packet_id: NonZeroU16) {
        let number = self
            .inflight
            .iter()
            .find(|(_, (id, _))| *id == packet_id)
            .map(|(number, _)| *number);
        if let Some(number) = number {
            self.inflight.remove(&number);
        }
        self.packet_ids.remove(&packet_id);
    }

    /// A PUBLISH of `QoS` 2 came; false: it came before and was not released.
    pub(crate) fn accept(&mut self, packet_id: NonZeroU16) -> bool {
        self.inbound.insert(packet_id)
    }

    /// PUBREL came.
    pub(crate) fn release(&mut self, packet_id: NonZeroU16) {
        self.inbound.remove(&packet_id);
    }
}
