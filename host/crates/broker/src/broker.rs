//! The broker: accepts and closes channels, routes messages, ends sessions.
//!
//! The status sink is called under the shard's lock only. Everything that a change leaves to do
//! (wills, ended sessions) is done after the lock is gone, so no lock is ever held while routing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use domain::{
    ChannelFacts, ChannelId, ClientId, Clock, CloseReason, RefuseConnectError, StatusSink,
};
use parking_lot::{MutexGuard, RwLock};
use tokio::time::Instant;

use crate::channel::Channel;
use crate::connection::{ConnectRequest, Connected, Connection, RefuseClientError};
use crate::message::{Delivery, Message};
use crate::outbound::Outbound;
use crate::registry::{Aftermath, Entry, Registry, Shard};
use crate::retained::Retained;
use crate::router::Router;
use crate::session::{QueueBudget, Queued, Session};
use crate::{BrokerConfig, Stats, topic};

/// Who is connected, what they subscribed to and what waits for them. Shared by all threads.
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    sink: Arc<dyn StatusSink>,
    clock: Arc<dyn Clock>,
    registry: Registry,
    router: RwLock<Router>,
    retained: RwLock<Retained>,
    budget: Arc<QueueBudget>,
    sessions: AtomicU64,
    shutting_down: AtomicBool,
    stats: Stats,
}

impl Broker {
    /// A broker without clients, that tells `sink` of each change of a client's connection.
    #[must_use]
    pub fn new(
        config: BrokerConfig,
        sink: Arc<dyn StatusSink>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            registry: Registry::new(config.offline_clients_max),
            budget: QueueBudget::new(config.queued_bytes_max),
            config,
            sink,
            clock,
            router: RwLock::default(),
            retained: RwLock::default(),
            sessions: AtomicU64::new(0),
            shutting_down: AtomicBool::new(false),
            stats: Stats::default(),
        })
    }

    /// Its limits.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many channels are open.
    #[must_use]
    pub fn online(&self) -> usize {
        self.stats.online.load(Ordering::Relaxed)
    }

    /// Accepts a CONNECT. An open channel of the same client is closed first, as taken over. A
    /// refused CONNECT changes nothing.
    ///
    /// # Errors
    ///
    /// Refuses when the events of the channel could not be kept, at the limit of connections and
    /// during shutdown.
    pub fn connect(
        self: &Arc<Self>,
        request: ConnectRequest,
    ) -> Result<Connected, RefuseClientError> {
        let mut aftermath = Aftermath::default();
        let accepted = self.accept(request, &mut aftermath);
        if let Err(error) = &accepted {
            self.stats.count_refused(error.reason());
        }
        self.finish(aftermath);
        accepted
    }

    fn accept(
        self: &Arc<Self>,
        request: ConnectRequest,
        aftermath: &mut Aftermath,
    ) -> Result<Connected, RefuseClientError> {
        if let Some(will) = &request.will {
            topic::check_name(&will.message.topic, self.config.topic_levels_max)
                .map_err(RefuseClientError::WillTopic)?;
        }
        let client_id = request.client_id;
        let group_id = client_id.group();
        let mut shard = self.registry.lock(&client_id);
        // Under the lock, so that a shutdown finds the channel or this finds the shutdown.
        if self.shutting_down.load(Ordering::SeqCst) {
            return Err(RefuseConnectError::ShuttingDown.into());
        }
        let admission = self.sink.admit(group_id.as_ref())?;
        let old = shard.channel(&client_id);
        if !self.take_place(old.as_deref()) {
            self.sink.release(admission);
            return Err(RefuseClientError::ConnectionsMax);
        }
        if let Some(old) = old {
            // Nobody is forgotten for it: the client is back before the lock is gone.
            self.close_in(&mut shard, &old, CloseReason::TakenOver, aftermath);
        }
        let (session, delayed_will) = shard.wake(&client_id);
        let resumed = session.filter(|session| {
            if request.clean_start {
                aftermath.ended.push(Arc::clone(session));
            }
            !request.clean_start
        });
        let session_present = resumed.is_some();
        if !session_present {
            aftermath.wills.extend(delayed_will);
        }
        let facts = Arc::new(ChannelFacts {
            client_id: client_id.clone(),
            group_id,
            channel_id: ChannelId::random(),
            client_address: request.peer,
            protocol: request.version,
            listener: request.listener,
            username: request.username,
            keep_alive_seconds: request.keep_alive_seconds,
            clean_start: request.clean_start,
            session_present,
        });
        let channel = Channel::new(Arc::clone(&facts), self.sink.opened(admission, &facts));
        let session = resumed.unwrap_or_else(|| self.new_session(&client_id));
        session.attach(&channel);
        let mut entry = Entry::new(&channel, Arc::clone(&session));
        entry.expiry_seconds = self.limit_expiry(request.session_expiry_seconds);
        entry.will = request.will;
        let session_expiry_seconds = entry.expiry_seconds;
        shard.clients.insert(client_id, entry);
        self.stats.count_opened(request.listener);
        Ok(Connected {
            outbound: Outbound::new(Arc::clone(&channel), Arc::clone(&session)),
            connection: Connection::new(Arc::clone(self), channel, session),
            session_present,
            session_expiry_seconds,
        })
    }

    /// Counts one more channel, if there may be one. Who takes over gives a place back at once.
    fn take_place(&self, old: Option<&Channel>) -> bool {
        let before = self.stats.online.fetch_add(1, Ordering::Relaxed);
        let fits = old.is_some() || before < self.config.connections_max;
        if !fits {
            self.stats.online.fetch_sub(1, Ordering::Relaxed);
        }
        fits
    }

    fn new_session(&self, client_id: &ClientId) -> Arc<Session> {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        Session::new(
            number,
            client_id.clone(),
            self.config.session_queue_max,
            Arc::clone(&self.budget),
        )
    }

    fn limit_expiry(&self, seconds: u32) -> u32 {
        let seconds_max =
            u32::try_from(self.config.session_expiry_max.as_secs()).unwrap_or(u32::MAX);
        seconds.min(seconds_max)
    }

    pub(crate) fn disconnect(
        &self,
        channel: &Arc<Channel>,
        reason: CloseReason,
        expiry: Option<u32>,
    ) {
        let client_id = &channel.facts.client_id;
        let mut shard = self.registry.lock(client_id);
        if !channel.disconnect(self.sink.as_ref(), reason) {
            return;
        }
        if let Some(entry) = shard.clients.get_mut(client_id)
            && let Some(seconds) = expiry
        {
            entry.expiry_seconds = self.limit_expiry(seconds);
        }
    }

    pub(crate) fn close(&self, channel: &Arc<Channel>, reason: CloseReason) -> bool {
        let shard = self.registry.lock(&channel.facts.client_id);
        self.close_locked(shard, channel, reason)
    }

    /// Closes a channel and unlocks its shard; false: it was closed before.
    fn close_locked(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        channel: &Arc<Channel>,
        reason: CloseReason,
    ) -> bool {
        let mut aftermath = Aftermath::default();
        let closed = self.close_in(&mut shard, channel, reason, &mut aftermath);
        shard.forget(self.registry.offline_max(), &mut aftermath);
        drop(shard);
        self.finish(aftermath);
        closed
    }

    /// Closes a channel under the lock of its shard; false: it was closed before. The limit of
    /// offline clients is the caller's business.
    fn close_in(
        &self,
        shard: &mut Shard,
        channel: &Arc<Channel>,
        reason: CloseReason,
        aftermath: &mut Aftermath,
    ) -> bool {
        let Some(reason) = channel.close(self.sink.as_ref(), reason) else {
            return false;
        };
        self.stats.online.fetch_sub(1, Ordering::Relaxed);
        self.stats.count_closed(reason);
        shard.sleep(
            &channel.facts.client_id,
            reason,
            self.clock.now_ms(),
            aftermath,
        );
        true
    }

    /// Closes the channel of `client`; false: it has none. From any thread.
    pub fn kick(&self, client: &ClientId, reason: CloseReason) -> bool {
        let shard = self.registry.lock(client);
        let Some(channel) = shard.channel(client) else {
            return false;
        };
        self.close_locked(shard, &channel, reason)
    }

    /// Refuses every further CONNECT and closes all channels. When it returns, every `TcpClean` has
    /// been emitted, whatever the threads of the sockets do.
    pub fn shutdown(&self) {
        self.shutting_down.store(true, Ordering::SeqCst);
        for shard in self.registry.shards() {
            let mut aftermath = Aftermath::default();
            let mut shard = shard.lock();
            let open: Vec<_> = shard
                .clients
                .values()
                .filter_map(|entry| entry.channel.clone())
                .collect();
            for channel in open {
                self.close_in(
                    &mut shard,
                    &channel,
                    CloseReason::HostShutdown,
                    &mut aftermath,
                );
            }
            shard.forget(self.registry.offline_max(), &mut aftermath);
            drop(shard);
            self.finish(aftermath);
        }
    }

    /// Whether [`Broker::shutdown`] was called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::SeqCst)
    }

    /// Publishes the wills and ends the sessions that are due at `now`. Whoever runs the broker calls
    /// it about once a second.
    pub fn advance(&self, now: Instant) {
        for shard in self.registry.shards() {
            let mut aftermath = Aftermath::default();
            shard.lock().advance(now, &mut aftermath);
            self.finish(aftermath);
        }
    }

    fn finish(&self, aftermath: Aftermath) {
        for session in aftermath.ended {
            session.end(|filter| {
                if let Ok(parsed) = topic::parse_filter(filter, usize::MAX) {
                    self.router.write().remove(parsed, session.number());
                }
            });
        }
        for will in aftermath.wills {
            self.route(&Arc::new(will.into_message()));
        }
        self.stats.count_forgotten(aftermath.forgotten);
    }

    /// Keeps the message if it is to be retained and queues it for everyone who subscribed.
    pub(crate) fn route(&self, message: &Arc<Message>) -> usize {
        if message.retain {
            let (count_max, bytes_max) = (self.config.retained_max, self.config.retained_bytes_max);
            if !self.retained.write().put(message, count_max, bytes_max) {
                self.stats.count_retained_refused();
            }
        }
        let mut subscribers = self.router.read().matching(&message.topic);
        subscribers.retain(|to| !to.options.no_local || !to.session.is_client(&message.publisher));
        // Overlapping filters of one session give one delivery with the highest QoS.
        subscribers.sort_by_key(|to| to.session.number());
        let groups = subscribers.chunk_by(|a, b| a.session.number() == b.session.number());
        let mut reached = 0;
        for group in groups {
            let Some(first) = group.first() else { continue };
            let asked = group
                .iter()
                .map(|to| to.options.qos)
                .max()
                .unwrap_or(message.qos);
            let delivery = Delivery {
                message: Arc::clone(message),
                qos: asked.min(message.qos),
                retain: message.retain && group.iter().any(|to| to.options.retain_as_published),
                subscription_ids: group.iter().filter_map(|to| to.options.id).collect(),
            };
            self.queue(&first.session, delivery);
            reached += 1;
        }
        reached
    }

    pub(crate) fn queue(&self, session: &Session, delivery: Delivery) {
        match session.push(delivery) {
            Queued::Waiting => self.stats.count_queued(),
            Queued::Dropped => self.stats.count_dropped(),
            Queued::Unwanted => {}
        }
    }

    pub(crate) fn router(&self) -> &RwLock<Router> {
        &self.router
    }

    pub(crate) fn retained(&self) -> &RwLock<Retained> {
        &self.retained
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    #[cfg(test)]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.budget.used()
    }

    #[cfg(test)]
    pub(crate) fn offline_len(&self) -> (usize, usize) {
        let add = |(a, b): (usize, usize), (c, d)| (a + c, b + d);
        self.registry
            .shards()
            .map(|shard| shard.lock().offline_len())
            .fold((0, 0), add)
    }
}
