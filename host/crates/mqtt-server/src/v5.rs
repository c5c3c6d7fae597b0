//! The handlers of MQTT 5.

use std::num::NonZeroU32;
use std::rc::Rc;

use broker::{Published, RefusalReason, SubscribeError, SubscriptionOptions};
use domain::{CloseReason, MqttVersion};
use ntex::io::types::PeerAddr;
use ntex::util::ByteString;
use ntex_mqtt::v5::codec::{
    self, ConnectAckReason, DisconnectReasonCode, Encoded, PublishAckReason, RetainHandling,
    SubscribeAckReason, UnsubscribeAckReason,
};
use ntex_mqtt::v5::control::{Disconnect, Subscribe, Unsubscribe};
use ntex_mqtt::v5::{
    Connect, ConnectAck, ProtocolMessage, ProtocolMessageAck, Publish, PublishAck, Session,
};
use ntex_mqtt::{Control, QoS, Reason};

use crate::MqttServerConfig;
use crate::admission::{Admitted, Gate, Hello};
use crate::close_reason::{self, Fault};
use crate::link::Link;
use crate::packet::{self, TopicAliases};
use crate::pump::Pump;
use crate::refusal::{Refusal, RefusalKind};
use crate::server::MAX_IN_FLIGHT;
use crate::writer::Writer;

/// A CONNACK without its reason string: more than what is there, since the codec adds properties.
const CONNACK_BYTES: usize = 64;

fn refuse(connect: Connect, refusal: &Refusal) -> ConnectAck<Link> {
    let reason_code = match refusal.kind {
        RefusalKind::ClientId => ConnectAckReason::ClientIdentifierNotValid,
        RefusalKind::Credentials => ConnectAckReason::BadUserNameOrPassword,
        RefusalKind::NotAuthorized => ConnectAckReason::NotAuthorized,
        RefusalKind::Throttled => ConnectAckReason::ConnectionRateExceeded,
        RefusalKind::Quota => ConnectAckReason::QuotaExceeded,
        RefusalKind::Unavailable => ConnectAckReason::ServerUnavailable,
        RefusalKind::Busy => ConnectAckReason::ServerBusy,
        RefusalKind::WillTopic => ConnectAckReason::TopicNameInvalid,
    };
    // A client may have little room for words; the code comes in any case.
    let room = connect
        .packet()
        .max_packet_size
        .map_or(u32::MAX, NonZeroU32::get);
    let has_room = u32::try_from(refusal.text.len() + CONNACK_BYTES).is_ok_and(|size| size <= room);
    let reason_string = has_room.then(|| ByteString::from(refusal.text.as_str()));
    connect.fail_with(codec::ConnectAck {
        reason_code,
        reason_string,
        ..codec::ConnectAck::default()
    })
}

pub(crate) async fn connect(gate: Rc<Gate>, connect: Connect) -> Result<ConnectAck<Link>, Fault> {
    let packet = connect.packet().clone();
    if packet.auth_method.is_some() {
        gate.broker
            .stats()
            .count_refused(RefusalReason::NotAuthorized);
        return Ok(connect.failed(ConnectAckReason::BadAuthenticationMethod));
    }
    let hello = Hello {
        client_id: &packet.client_id,
        version: MqttVersion::V5,
        peer: connect.io().query::<PeerAddr>().get().map(|peer| peer.0),
        username: packet.username.as_deref(),
        password: packet.password.as_deref(),
        keep_alive_seconds: packet.keep_alive,
        clean_start: packet.clean_start,
        session_expiry_seconds: packet.session_expiry_interval_secs,
    };
    let will = |client_id: &_| {
        packet
            .last_will
            .as_ref()
            .map(|will| packet::will_v5(will, client_id))
    };
    let admitted = match gate.admit(hello, will).await {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(refuse(connect, &refusal)),
    };
    let Admitted {
        link,
        outbound,
        client_id,
        session_present,
        session_expiry_seconds,
    } = admitted;
    let pump = Pump {
        writer: Writer::V5(
            connect.sink(),
            Rc::new(TopicAliases::new(packet.topic_alias_max)),
        ),
        io: connect.io().get_ref(),
        outbound,
        pumped: Rc::clone(&link.pumped),
    };
    let ack = connect.ack(link).max_send(Some(MAX_IN_FLIGHT)).with(|ack| {
        ack.session_present = session_present;
        if packet.client_id.is_empty() {
            ack.assigned_client_id = Some(ByteString::from(client_id.as_str()));
        }
        if session_expiry_seconds != packet.session_expiry_interval_secs {
            ack.session_expiry_interval_secs = Some(session_expiry_seconds);
        }
    });
    pump.start();
    Ok(keep_alive(ack, packet.keep_alive, &gate.config))
}

/// 1.5 times the client's keep alive [MQTT-3.1.2-22]. Above the limit, Server Keep Alive says what
/// holds instead; ntex closes after 1.2 times of that one.
fn keep_alive(
    ack: ConnectAck<Link>,
    client_seconds: u16,
    config: &MqttServerConfig,
) -> ConnectAck<Link> {
    let max = u16::try_from(config.keep_alive_max.as_secs()).unwrap_or(u16::MAX);
    if max > 0 && (client_seconds == 0 || client_seconds > max) {
        return ack.with(|ack| ack.server_keepalive_sec = Some(max));
    }
    match client_seconds.saturating_add(client_seconds.div_ceil(2)) {
        0 => ack.with(|ack| ack.server_keepalive_sec = Some(0)),
        timeout => ack.keep_alive(timeout),
    }
}

pub(crate) async fn publish(
    session: &Session<Link>,
    publish: Publish,
    bytes_max: u32,
) -> Result<PublishAck, Fault> {
    let packet = publish.packet();
    if packet.payload_size > bytes_max {
        return Err(Fault(CloseReason::PacketTooLarge));
    }
    let payload = publish
        .read_all()
        .await
        .map_err(|_| Fault(CloseReason::ConnectionLost))?;
    let connection = &session.connection;
    let message = packet::message_v5(packet, &payload, &connection.facts().client_id);
    let packet_id = packet.packet_id.filter(|_| packet.qos == QoS::ExactlyOnce);
    Ok(match connection.publish(message, packet_id) {
        Ok(Published::Routed(0)) => PublishAck::new(PublishAckReason::NoMatchingSubscribers),
        Ok(Published::Routed(_) | Published::Again | Published::Closed) => publish.ack(),
        Err(error) => PublishAck::new(PublishAckReason::TopicNameInvalid)
            .reason(ByteString::from(error.to_string())),
    })
}

pub(crate) fn protocol(session: &Session<Link>, message: ProtocolMessage) -> ProtocolMessageAck {
    match message {
        ProtocolMessage::Subscribe(packet) => subscribe(session, packet),
        ProtocolMessage::Unsubscribe(packet) => unsubscribe(session, packet),
        ProtocolMessage::Disconnect(packet) => disconnect(session, packet),
        other => other.ack(),
    }
}

fn disconnect(session: &Session<Link>, packet: Disconnect) -> ProtocolMessageAck {
    let reason = match packet.packet().reason_code {
        DisconnectReasonCode::NormalDisconnection => CloseReason::ClientDisconnect,
        // Any other reason wants the will, too: only 0x00 deletes it [MQTT-3.14.4-3].
        _ => CloseReason::ClientDisconnectWithWill,
    };
    session
        .connection
        .disconnect(reason, packet.packet().session_expiry_interval_secs);
    packet.ack()
}

fn subscribe(session: &Session<Link>, mut packet: Subscribe) -> ProtocolMessageAck {
    let connection = &session.connection;
    let id = packet.packet().id;
    let mut accepted = Vec::new();
    for mut subscription in &mut packet {
        let asked = *subscription.options();
        let options = SubscriptionOptions {
            qos: packet::qos_from(asked.qos),
            no_local: asked.no_local,
            retain_as_published: asked.retain_as_published,
            id,
        };
        match connection.subscribe(subscription.topic(), options) {
            Ok(is_new) => {
                subscription.confirm(asked.qos);
                let wants_retained = match asked.retain_handling {
                    RetainHandling::AtSubscribe => true,
                    RetainHandling::AtSubscribeNew => is_new,
                    RetainHandling::NoAtSubscribe => false,
                };
                if wants_retained {
                    accepted.push((subscription.topic().clone(), options));
                }
            }
            Err(error) => subscription.fail(match error {
                SubscribeError::Filter(_) => SubscribeAckReason::TopicFilterInvalid,
                SubscribeError::TooMany { .. } => SubscribeAckReason::QuotaExceeded,
                SubscribeError::Closed => SubscribeAckReason::UnspecifiedError,
            }),
        }
    }
    for (filter, options) in accepted {
        connection.send_retained(&filter, options);
    }
    packet.ack()
}

fn unsubscribe(session: &Session<Link>, mut packet: Unsubscribe) -> ProtocolMessageAck {
    for mut subscription in &mut packet {
        if session.connection.unsubscribe(subscription.topic()) {
            subscription.success();
        } else {
            subscription.fail(UnsubscribeAckReason::NoSubscriptionExisted);
        }
    }
    packet.ack()
}

pub(crate) fn control(session: &Session<Link>, control: &Control<Fault>) -> Option<Encoded> {
    let Control::Stop(stop) = control else {
        return None;
    };
    let reason = close_reason::of_stop(stop);
    session.socket_closed(reason);
    // For protocol errors ntex itself sends the matching DISCONNECT.
    matches!(stop, Reason::Error(_)).then(|| {
        let code = close_reason::to_disconnect(reason);
        Encoded::Packet(codec::Packet::from(codec::Disconnect::new(code)))
    })
}
