//! Converts between ntex's packets and the broker's messages. Payloads are copied: a slice of ntex's
//! read page would keep the whole page alive for as long as the message waits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use broker::{Delivery, Message, Properties, QoS, Will};
use domain::ClientId;
use ntex::util::{ByteString, Bytes};
use ntex_mqtt::{v3, v5};
use tokio::time::Instant;

/// Topic aliases that are used towards one client at most.
const TOPIC_ALIASES_MAX: u16 = 32;

pub(crate) fn qos_from(qos: ntex_mqtt::QoS) -> QoS {
    match qos {
        ntex_mqtt::QoS::AtMostOnce => QoS::AtMostOnce,
        ntex_mqtt::QoS::AtLeastOnce => QoS::AtLeastOnce,
        ntex_mqtt::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn qos_to(qos: QoS) -> ntex_mqtt::QoS {
    match qos {
        QoS::AtMostOnce => ntex_mqtt::QoS::AtMostOnce,
        QoS::AtLeastOnce => ntex_mqtt::QoS::AtLeastOnce,
        QoS::ExactlyOnce => ntex_mqtt::QoS::ExactlyOnce,
    }
}

fn text(text: &ByteString) -> Arc<str> {
    Arc::from(&**text)
}

fn bytes(bytes: &Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

pub(crate) fn payload(message: &Message) -> Bytes {
    Bytes::copy_from_slice(&message.payload)
}

fn payload_size(message: &Message) -> u32 {
    // A payload came in a packet, so it is far below 4 GiB.
    u32::try_from(message.payload.len()).unwrap_or(u32::MAX)
}

pub(crate) fn message_v3(
    packet: &v3::codec::Publish,
    payload: &Bytes,
    publisher: &ClientId,
) -> Message {
    Message {
        topic: text(&packet.topic),
        payload: bytes(payload),
        qos: qos_from(packet.qos),
        retain: packet.retain,
        properties: Properties::default(),
        expires_at: None,
        publisher: publisher.clone(),
    }
}

pub(crate) fn message_v5(
    packet: &v5::codec::Publish,
    payload: &Bytes,
    publisher: &ClientId,
) -> Message {
    let properties = &packet.properties;
    let expiry = properties.message_expiry_interval;
    Message {
        topic: text(&packet.topic),
        payload: bytes(payload),
        qos: qos_from(packet.qos),
        retain: packet.retain,
        properties: Properties {
            correlation_data: properties.correlation_data.as_ref().map(bytes),
            content_type: properties.content_type.as_ref().map(text),
            response_topic: properties.response_topic.as_ref().map(text),
            user: properties
                .user_properties
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            utf8_payload: properties.is_utf8_payload,
        },
        expires_at: expiry.map(|seconds| Instant::now() + Duration::from_secs(seconds.into())),
        publisher: publisher.clone(),
    }
}

pub(crate) fn will_v3(will: &v3::codec::LastWill, publisher: &ClientId) -> Will {
    Will {
        message: Message {
            topic: text(&will.topic),
            payload: bytes(&will.message),
            qos: qos_from(will.qos),
            retain: will.retain,
            properties: Properties::default(),
            expires_at: None,
            publisher: publisher.clone(),
        },
        delay_seconds: 0,
        expiry_seconds: None,
    }
}

pub(crate) fn will_v5(will: &v5::codec::LastWill, publisher: &ClientId) -> Will {
    Will {
        message: Message {
            topic: text(&will.topic),
            payload: bytes(&will.message),
            qos: qos_from(will.qos),
            retain: will.retain,
            properties: Properties {
                correlation_data: will.correlation_data.as_ref().map(bytes),
                content_type: will.content_type.as_ref().map(text),
                response_topic: will.response_topic.as_ref().map(text),
                user: will
                    .user_properties
                    .iter()
                    .map(|(name, value)| (text(name), text(value)))
                    .collect(),
                utf8_payload: will.is_utf8_payload.unwrap_or(false),
            },
            expires_at: None,
            publisher: publisher.clone(),
        },
        delay_seconds: will.will_delay_interval_sec.unwrap_or(0),
        expiry_seconds: will.message_expiry_interval,
    }
}

/// One PUBLISH to a client.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) delivery: Delivery,
    /// `None`: `QoS` 0.
    pub(crate) packet_id: Option<NonZeroU16>,
    /// It was sent on an earlier connection.
    pub(crate) dup: bool,
}

pub(crate) fn publish_v3(outgoing: &Outgoing) -> v3::codec::Publish {
    let Outgoing {
        delivery,
        packet_id,
        dup,
    } = outgoing;
    v3::codec::Publish {
        dup: *dup,
        retain: delivery.retain,
        qos: qos_to(delivery.qos),
        topic: ByteString::from(&*delivery.message.topic),
        packet_id: *packet_id,
        payload_size: payload_size(&delivery.message),
    }
}

pub(crate) fn publish_v5(outgoing: &Outgoing, aliases: &TopicAliases) -> v5::codec::Publish {
    let Outgoing {
        delivery,
        packet_id,
        dup,
    } = outgoing;
    let message = &delivery.message;
    let (topic, topic_alias) = aliases.shorten(&message.topic);
    let known = &message.properties;
    let left = message
        .expires_at
        .map(|at| at.saturating_duration_since(Instant::now()));
    let new_text = |text: &Arc<str>| ByteString::from(&**text);
    v5::codec::Publish {
        dup: *dup,
        retain: delivery.retain,
        qos: qos_to(delivery.qos),
        packet_id: *packet_id,
        topic,
        payload_size: payload_size(message),
        properties: v5::codec::PublishProperties {
            topic_alias,
            correlation_data: known
                .correlation_data
                .as_ref()
                .map(|data| Bytes::copy_from_slice(data)),
            // Rounded up: a message that may still be delivered has not expired yet.
            message_expiry_interval: left
                .map(|left| u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)),
            content_type: known.content_type.as_ref().map(new_text),
            user_properties: known
                .user
                .iter()
                .map(|(name, value)| (new_text(name), new_text(value)))
                .collect(),
            is_utf8_payload: known.utf8_payload,
            response_topic: known.response_topic.as_ref().map(new_text),
            subscription_ids: delivery.subscription_ids.clone(),
        },
    }
}

/// The topic aliases of one connection, towards the client: given to the first topics that come, for
/// as long as the connection lasts.
#[derive(Debug)]
pub(crate) struct TopicAliases {
    max: u16,
    given: RefCell<HashMap<Arc<str>, Alias>>,
}

#[derive(Debug)]
struct Alias {
    number: NonZeroU16,
    /// The client knows it, so it stands for the topic.
    introduced: bool,
}

impl TopicAliases {
    /// `client_max` is what the client's CONNECT allows.
    pub(crate) fn new(client_max: u16) -> Self {
        Self {
            max: client_max.min(TOPIC_ALIASES_MAX),
            given: RefCell::default(),
        }
    }

    fn shorten(&self, topic: &Arc<str>) -> (ByteString, Option<NonZeroU16>) {
        let full = || ByteString::from(&**topic);
        let mut given = self.given.borrow_mut();
        if let Some(alias) = given.get_mut(topic) {
            let known = std::mem::replace(&mut alias.introduced, true);
            let topic = if known { ByteString::new() } else { full() };
            return (topic, Some(alias.number));
        }
        let next = u16::try_from(given.len())
            .unwrap_or(u16::MAX)
            .saturating_add(1);
        if next > self.max {
            return (full(), None);
        }
        let number = NonZeroU16::new(next);
        given.extend(number.map(|number| {
            let introduced = true;
            (Arc::clone(topic), Alias { number, introduced })
        }));
        (full(), number)
    }

    /// The packet that introduced the topic's alias was not written: the next one introduces it. The
    /// number stays the topic's, since later topics have the numbers after it.
    pub(crate) fn take_back(&self, topic: &str) {
        if let Some(alias) = self.given.borrow_mut().get_mut(topic) {
            alias.introduced = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TopicAliases;
    use std::num::NonZeroU16;

    #[test]
    fn an_alias_is_introduced_once_and_used_afterwards() {
        let aliases = TopicAliases::new(1);
        let one = NonZeroU16::new(1);
        assert_eq!(aliases.shorten(&"a".into()), ("a".into(), one));
        assert_eq!(aliases.shorten(&"a".into()), ("".into(), one));
        assert_eq!(aliases.shorten(&"b".into()), ("b".into(), None));
        assert_eq!(
            TopicAliases::new(0).shorten(&"a".into()),
            ("a".into(), None)
        );
    }

    #[test]
    fn an_alias_that_was_taken_back_is_introduced_again_with_its_number() {
        let aliases = TopicAliases::new(3);
        let [one, two, three] = [1, 2, 3].map(NonZeroU16::new);
        assert_eq!(aliases.shorten(&"a".into()), ("a".into(), one));
        assert_eq!(aliases.shorten(&"b".into()), ("b".into(), two));
        aliases.take_back("a");
        assert_eq!(aliases.shorten(&"c".into()), ("c".into(), three));
        assert_eq!(aliases.shorten(&"a".into()), ("a".into(), one));
        assert_eq!(aliases.shorten(&"a".into()), ("".into(), one));
        assert_eq!(aliases.shorten(&"b".into()), ("".into(), two));
    }
}
