//! Messages between clients, as the broker keeps them: shared, immutable, free of any codec.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use domain::ClientId;
use tokio::time::Instant;

/// How surely a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// 0.
    AtMostOnce,
    /// 1.
    AtLeastOnce,
    /// 2.
    ExactlyOnce,
}

/// The properties of a PUBLISH of MQTT 5 that travel with the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// Content Type.
    pub content_type: Option<Arc<str>>,
    /// Response Topic.
    pub response_topic: Option<Arc<str>>,
    /// User Properties, in order.
    pub user: Vec<(Arc<str>, Arc<str>)>,
    /// Payload Format Indicator: the payload is UTF-8.
    pub utf8_payload: bool,
}

/// A published message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The topic name.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// With what it was published.
    pub qos: QoS,
    /// Whether it is to be kept for later subscribers.
    pub retain: bool,
    /// What came with it.
    pub properties: Properties,
    /// When it must no longer be delivered.
    pub expires_at: Option<Instant>,
    /// Who published it.
    pub publisher: ClientId,
}

impl Message {
    /// What it counts against byte limits: its own bytes and a round figure for its frame.
    pub(crate) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + 128
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The options of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The most that the subscriber wants.
    pub qos: QoS,
    /// Not what the subscriber itself published.
    pub no_local: bool,
    /// Keep the retain flag of the publisher.
    pub retain_as_published: bool,
    /// Subscription Identifier.
    pub id: Option<NonZeroU32>,
}

/// A message on its way to one client.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// With what it is delivered.
    pub qos: QoS,
    /// The retain flag of the PUBLISH.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched.
    pub subscription_ids: Vec<NonZeroU32>,
}
