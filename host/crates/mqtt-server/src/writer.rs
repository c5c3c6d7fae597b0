//! The writing side of a connection, the same for both versions.

use std::num::NonZeroU16;
use std::rc::Rc;

use broker::{Credit, Outbound, QoS};
use domain::CloseReason;
use ntex::io::IoRef;
use ntex_mqtt::error::SendPacketError;
use ntex_mqtt::{v3, v5};

use crate::close_reason;
use crate::packet::{self, Outgoing, TopicAliases};

/// A connection's sink, with what its version needs.
#[derive(Clone, Debug)]
pub(crate) enum Writer {
    V3(v3::MqttSink),
    V5(v5::MqttSink, Rc<TopicAliases>),
}

impl Writer {
    /// Whether one more message with `QoS` 1 or 2 may be in flight.
    pub(crate) fn credit(&self) -> Credit {
        let ready = match self {
            Self::V3(sink) => sink.is_ready(),
            Self::V5(sink, _) => sink.is_ready(),
        };
        if ready {
            Credit::Available
        } else {
            Credit::Exhausted
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::V3(sink) => sink.is_open(),
            Self::V5(sink, _) => sink.is_open(),
        }
    }

    /// Ends when there is credit, or when the connection is closed.
    pub(crate) async fn credit_again(&self) {
        match self {
            Self::V3(sink) => sink.ready().await,
            Self::V5(sink, _) => sink.ready().await,
        };
    }

    /// Closes the connection; MQTT 5 is told why.
    pub(crate) fn close(&self, reason: CloseReason) {
        match self {
            Self::V3(sink) => sink.close(),
            Self::V5(sink, _) => {
                let code = close_reason::to_disconnect(reason);
                sink.close_with_reason(v5::codec::Disconnect::new(code));
            }
        }
    }

    /// Sends with `QoS` 0.
    pub(crate) async fn send_once(&self, outgoing: &Outgoing) {
        let payload = packet::payload(&outgoing.delivery.message);
        let sent = match self {
            Self::V3(sink) => {
                let packet = packet::publish_v3(outgoing);
                sink.publish_pkt(packet).send_at_most_once(payload).await
            }
            Self::V5(sink, aliases) => {
                let packet = packet::publish_v5(outgoing, aliases);
                let introduced = !packet.topic.is_empty();
                let sent = sink.publish_pkt(packet).send_at_most_once(payload).await;
                if introduced && is_unwritten(&sent) {
                    aliases.take_back(&outgoing.delivery.message.topic);
                }
                sent
            }
        };
        log_unsent(sent);
    }

    /// Sends with `QoS` 1 or 2 and ends when the client acknowledged, or when the connection is closed:
    /// then the message stays in flight.
    pub(crate) async fn send_acknowledged(
        self,
        outbound: Outbound,
        outgoing: Outgoing,
        packet_id: NonZeroU16,
    ) {
        let sent = match &self {
            Self::V3(sink) => send_v3(sink, &outbound, &outgoing, packet_id).await,
            Self::V5(sink, aliases) => {
                let packet = packet::publish_v5(&outgoing, aliases);
                let introduced = !packet.topic.is_empty();
                let publish = sink.publish_pkt(packet);
                let sent = send_v5(publish, &outbound, &outgoing, packet_id).await;
                if introduced && is_unwritten(&sent) {
                    aliases.take_back(&outgoing.delivery.message.topic);
                }
                sent
            }
        };
        if sent != Err(SendPacketError::Disconnected) {
            outbound.completed(packet_id);
        }
        log_unsent(sent);
    }

    /// Sends PUBREL for a PUBREC of an earlier connection. ntex-mqtt has no call for it, so the packet
    /// goes past its book-keeping; `resume` keeps the PUBCOMP from it.
    pub(crate) fn release(&self, io: &IoRef, packet_id: NonZeroU16) {
        let sent = match self {
            Self::V3(_) => {
                let packet = v3::codec::Packet::PublishRelease { packet_id };
                io.encode(
                    v3::codec::Encoded::Packet(packet),
                    &v3::codec::Codec::default(),
                )
            }
            Self::V5(..) => {
                let packet = v5::codec::Packet::PublishRelease(v5::codec::PublishAck2 {
                    packet_id,
                    reason_code: v5::codec::PublishAck2Reason::Success,
                    properties: Vec::new(),
                    reason_string: None,
                });
                io.encode(
                    v5::codec::Encoded::Packet(packet),
                    &v5::codec::Codec::default(),
                )
            }
        };
        log_unsent(sent.map_err(SendPacketError::from));
    }
}

/// A message that the client cannot take (it is larger than its Maximum Packet Size) is dropped, as
/// [MQTT-3.1.2-25] says.
fn log_unsent(sent: Result<(), SendPacketError>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "message is not sent");
    }
}

/// The connection goes on without the packet, so the client did not see what it introduced.
fn is_unwritten(sent: &Result<(), SendPacketError>) -> bool {
    matches!(sent, Err(SendPacketError::Encode(_)))
}

async fn send_v3(
    sink: &v3::MqttSink,
    outbound: &Outbound,
    outgoing: &Outgoing,
    packet_id: NonZeroU16,
) -> Result<(), SendPacketError> {
    let publish = sink.publish_pkt(packet::publish_v3(outgoing));
    let payload = packet::payload(&outgoing.delivery.message);
    if outgoing.delivery.qos == QoS::ExactlyOnce {
        let received = publish.send_exactly_once(payload).await?;
        outbound.received(packet_id);
        received.release().await
    } else {
        publish.send_at_least_once(payload).await.map(drop)
    }
}

async fn send_v5(
    publish: v5::PublishBuilder,
    outbound: &Outbound,
    outgoing: &Outgoing,
    packet_id: NonZeroU16,
) -> Result<(), SendPacketError> {
    let payload = packet::payload(&outgoing.delivery.message);
    if outgoing.delivery.qos != QoS::ExactlyOnce {
        return publish.send_at_least_once(payload).await.map(drop);
    }
    let received = publish.send_exactly_once(payload).await?;
    outbound.received(packet_id);
    match received.release().await {
        // The client refused the message in its PUBREC: nothing is to be released.
        Err(SendPacketError::UnexpectedRelease) => Ok(()),
        released => released,
    }
}
