//! A recording status sink and clients without sockets, for the tests of the broker.

mod channels;
mod messages;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use domain::{
    Admission, BoxFuture, ChannelFacts, ChannelId, ChannelTicket, ClientId, Clock, CloseReason,
    EventType, GroupId, MqttVersion, RefuseConnectError, Sequence, StatusSink,
};
use parking_lot::Mutex;

use crate::{
    Broker, BrokerConfig, ConnectRequest, Connected, Credit, Message, NextDelivery, Outbound,
    Properties, QoS, SubscriptionOptions, Will,
};

/// One call of the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    client: String,
    channel: ChannelId,
    event_type: EventType,
    reason: Option<CloseReason>,
}

#[derive(Debug, Default)]
struct RecordingSink {
    seen: Mutex<Vec<Seen>>,
    refuse: Mutex<Option<RefuseConnectError>>,
    /// Admissions that were neither used nor given back.
    open_admissions: AtomicI64,
    sequence: AtomicU64,
}

impl RecordingSink {
    fn record(&self, facts: &ChannelFacts, event_type: EventType, reason: Option<CloseReason>) {
        let client = facts.client_id.as_str().to_owned();
        self.seen.lock().push(Seen {
            client,
            channel: facts.channel_id,
            event_type,
            reason,
        });
    }

    /// What happened since the last call, as text.
    fn take(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock());
        let reason = |seen: &Seen| {
            seen.reason
                .map_or(String::new(), |reason| format!(" {}", reason.as_str()))
        };
        seen.iter()
            .map(|one| format!("{} {}{}", one.client, one.event_type.as_str(), reason(one)))
            .collect()
    }
}

impl StatusSink for RecordingSink {
    fn admit(&self, _: Option<&GroupId>) -> Result<Admission, RefuseConnectError> {
        if let Some(error) = *self.refuse.lock() {
            return Err(error);
        }
        self.open_admissions.fetch_add(1, Ordering::SeqCst);
        Ok(Admission { incarnation: None })
    }

    fn release(&self, _: Admission) {
        self.open_admissions.fetch_sub(1, Ordering::SeqCst);
    }

    fn opened(&self, _: Admission, channel: &Arc<ChannelFacts>) -> ChannelTicket {
        self.open_admissions.fetch_sub(1, Ordering::SeqCst);
        self.record(channel, EventType::Connect, None);
        let opened = Sequence(self.sequence.fetch_add(1, Ordering::SeqCst));
        ChannelTicket {
            incarnation: None,
            opened,
            opened_at_ms: 1_000,
        }
    }

    fn closing(
        &self,
        _: ChannelTicket,
        channel: &Arc<ChannelFacts>,
        event_type: EventType,
        reason: CloseReason,
    ) {
        self.record(channel, event_type, Some(reason));
    }

    fn committed(&self) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
}

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> u64 {
        2_000
    }
}

fn broker_with(change: impl FnOnce(&mut BrokerConfig)) -> (Arc<Broker>, Arc<RecordingSink>) {
    let mut config = BrokerConfig::with_connections_max(1_000);
    change(&mut config);
    let sink = Arc::<RecordingSink>::default();
    let broker = Broker::new(
        config,
        Arc::clone(&sink) as Arc<dyn StatusSink>,
        Arc::new(FixedClock),
    );
    (broker, sink)
}

fn broker() -> (Arc<Broker>, Arc<RecordingSink>) {
    broker_with(|_| {})
}

fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

/// A clean start without a session that outlives the connection.
fn request(client: &str) -> ConnectRequest {
    ConnectRequest {
        client_id: id(client),
        version: MqttVersion::V5,
        peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
        listener: "tcp",
        username: None,
        keep_alive_seconds: 60,
        clean_start: true,
        session_expiry_seconds: 0,
        will: None,
    }
}

/// A session that goes on and lasts an hour.
fn lasting(client: &str) -> ConnectRequest {
    ConnectRequest {
        clean_start: false,
        session_expiry_seconds: 3_600,
        ..request(client)
    }
}

fn connect(broker: &Arc<Broker>, request: ConnectRequest) -> Connected {
    broker.connect(request).unwrap()
}

fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    Message {
        topic: topic.into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        retain: false,
        properties: Properties::default(),
        expires_at: None,
        publisher: id("publisher"),
    }
}

fn will(topic: &str, delay_seconds: u32) -> Will {
    Will {
        message: message(topic, "gone", QoS::AtLeastOnce),
        delay_seconds,
        expiry_seconds: None,
    }
}

fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        id: None,
    }
}

/// Takes everything that waits, as `topic=payload` with `*n` for the packet id and `!` for DUP.
fn drain(outbound: &Outbound) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match outbound.next(Credit::Available) {
            NextDelivery::Publish {
                delivery,
                packet_id,
                again,
            } => {
                let payload = String::from_utf8_lossy(&delivery.message.payload).into_owned();
                let id = packet_id.map_or(String::new(), |id| format!("*{id}"));
                let again = if again { "!" } else { "" };
                all.push(format!("{}={payload}{id}{again}", delivery.message.topic));
            }
            NextDelivery::Release { packet_id } => all.push(format!("release*{packet_id}")),
            NextDelivery::Wait { .. } | NextDelivery::Gone => return all,
        }
    }
}
