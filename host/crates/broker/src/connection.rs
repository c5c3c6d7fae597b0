//! One accepted connection as its socket's thread holds it, and what it may ask of the broker.
//!
//! Dropping it closes the channel, as the last resort: a socket may vanish between the CONNECT and
//! the first read. Nothing in here waits.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use domain::{ChannelFacts, ClientId, CloseReason, MqttVersion, RefuseConnectError};
use tokio::time::Instant;

use crate::channel::Channel;
use crate::message::{Delivery, Message, SubscriptionOptions};
use crate::outbound::Outbound;
use crate::router::Subscriber;
use crate::session::Session;
use crate::topic::{self, CheckTopicError};
use crate::{Broker, RefusalReason, Will};

/// A CONNECT, checked and authenticated.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// Who.
    pub client_id: ClientId,
    /// What it speaks.
    pub version: MqttVersion,
    /// Its address.
    pub peer: SocketAddr,
    /// `tcp` or `ws`.
    pub listener: &'static str,
    /// The user name it presented.
    pub username: Option<Arc<str>>,
    /// Keep alive, seconds.
    pub keep_alive_seconds: u16,
    /// Clean Start (5) or Clean Session (3.1.1).
    pub clean_start: bool,
    /// How long the session is to outlive the connection, seconds; `u32::MAX`: as long as possible.
    pub session_expiry_seconds: u32,
    /// Its will.
    pub will: Option<Will>,
}

/// What an accepted CONNECT gets.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// What is to be written to its socket.
    pub outbound: Outbound,
    /// An earlier session goes on.
    pub session_present: bool,
    /// How long the session outlives the connection, seconds; less than asked for at the limit.
    pub session_expiry_seconds: u32,
}

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefuseClientError {
    /// Its events could not be kept.
    #[error(transparent)]
    Events(#[from] RefuseConnectError),
    /// As many connections are open as may be.
    #[error("the host has as many connections as it may have")]
    ConnectionsMax,
    /// The will's topic is none.
    #[error("the will's topic is not allowed")]
    WillTopic(#[source] CheckTopicError),
}

impl RefuseClientError {
    /// As what it is counted.
    #[must_use]
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::ConnectionsMax => RefusalReason::ConnectionsMax,
            Self::WillTopic(_) => RefusalReason::WillTopic,
            Self::Events(events) => match events {
                RefuseConnectError::RecorderFull => RefusalReason::RecorderFull,
                RefuseConnectError::ShareFull => RefusalReason::ShareFull,
                RefuseConnectError::OutboxFull => RefusalReason::OutboxFull,
                RefuseConnectError::StoreFailed => RefusalReason::StoreFailed,
                RefuseConnectError::UnknownGroup => RefusalReason::UnknownGroup,
                RefuseConnectError::ShuttingDown => RefusalReason::ShuttingDown,
            },
        }
    }
}

/// Why a subscription is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The filter is malformed.
    #[error(transparent)]
    Filter(#[from] CheckTopicError),
    /// The client has as many as it may have.
    #[error("a client may have {subscriptions_max} subscriptions")]
    TooMany {
        /// The limit.
        subscriptions_max: usize,
    },
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

/// What became of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It went to so many sessions.
    Routed(usize),
    /// `QoS` 2, not released yet: it is the one that came before.
    Again,
    /// The connection is closed.
    Closed,
}

/// One accepted connection.
pub struct Connection {
    broker: Arc<Broker>,
    channel: Arc<Channel>,
    session: Arc<Session>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(broker: Arc<Broker>, channel: Arc<Channel>, session: Arc<Session>) -> Self {
        Self {
            broker,
            channel,
            session,
        }
    }

    /// What is known of it.
    #[must_use]
    pub fn facts(&self) -> &Arc<ChannelFacts> {
        &self.channel.facts
    }

    /// The client's DISCONNECT: emits `Disconnect`. `session_expiry_seconds` replaces that of the
    /// CONNECT. A late one, on a closed channel, is nothing.
    pub fn disconnect(&self, reason: CloseReason, session_expiry_seconds: Option<u32>) {
        self.broker
            .disconnect(&self.channel, reason, session_expiry_seconds);
    }

    /// Whether a rule records its events.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.channel.ticket.incarnation.is_some()
    }

    /// The socket is gone: emits `TcpClean`, once; what came first names the reason.
    pub fn close(&self, reason: CloseReason) {
        self.broker.close(&self.channel, reason);
    }

    /// A PUBLISH came. `packet_id` is that of `QoS` 2.
    ///
    /// # Errors
    ///
    /// Refuses a malformed topic name.
    pub fn publish(
        &self,
        message: Message,
        packet_id: Option<NonZeroU16>,
    ) -> Result<Published, CheckTopicError> {
        topic::check_name(&message.topic, self.broker.config().topic_levels_max)?;
        let accepted = self.session.owned_by(&self.channel, |state| {
            packet_id.is_none_or(|packet_id| state.accept(packet_id))
        });
        match accepted {
            None => Ok(Published::Closed),
            Some(false) => Ok(Published::Again),
            Some(true) => {
                self.broker.stats().count_received();
                Ok(Published::Routed(self.broker.route(&Arc::new(message))))
            }
        }
    }

    /// A PUBREL came.
    pub fn release(&self, packet_id: NonZeroU16) {
        self.session
            .owned_by(&self.channel, |state| state.release(packet_id));
    }

    /// A message to the client is done: see [`Outbound::completed`].
    pub fn completed(&self, packet_id: NonZeroU16) {
        self.session
            .owned_by(&self.channel, |state| state.completed(packet_id));
        self.channel.changed.notify_one();
    }

    /// Adds or changes a subscription; true: it is new.
    ///
    /// # Errors
    ///
    /// Refuses a malformed filter and one more than the client may have.
    pub fn subscribe(
        &self,
        filter: &str,
        options: SubscriptionOptions,
    ) -> Result<bool, SubscribeError> {
        let config = self.broker.config();
        let parsed = topic::parse_filter(filter, config.topic_levels_max)?;
        let subscriptions_max = config.subscriptions_max;
        let added = self.session.owned_by(&self.channel, |state| {
            let known = state.subscriptions.contains_key(filter);
            if !known && state.subscriptions.len() >= subscriptions_max {
                return Err(SubscribeError::TooMany { subscriptions_max });
            }
            state.subscriptions.insert(filter.into(), options);
            let session = Arc::clone(&self.session);
            self.broker
                .router()
                .write()
                .add(parsed, Subscriber { session, options });
            Ok(!known)
        });
        added.unwrap_or(Err(SubscribeError::Closed))
    }

    /// Queues the retained messages that a new subscription gets; none for a shared one [MQTT-3.8.4-7].
    pub fn send_retained(&self, filter: &str, options: SubscriptionOptions) {
        let parsed = topic::parse_filter(filter, self.broker.config().topic_levels_max);
        let Ok(topic::Filter {
            share: None,
            pattern,
        }) = parsed
        else {
            return;
        };
        // Ends the lock before the loop: a guard in the loop's head would live through it.
        let messages = self
            .broker
            .retained()
            .read()
            .matching(pattern, Instant::now());
        for message in messages {
            let delivery = Delivery {
                qos: options.qos.min(message.qos),
                message,
                retain: true,
                subscription_ids: options.id.into_iter().collect(),
            };
            self.broker.queue(&self.session, delivery);
        }
    }

    /// Removes a subscription; false: there was none.
    pub fn unsubscribe(&self, filter: &str) -> bool {
        let removed = self.session.owned_by(&self.channel, |state| {
            let known = state.subscriptions.remove(filter).is_some();
            if known && let Ok(parsed) = topic::parse_filter(filter, usize::MAX) {
                self.broker
                    .router()
                    .write()
                    .remove(parsed, self.session.number());
            }
            known
        });
        removed.unwrap_or(false)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(CloseReason::ConnectionLost);
    }
}
