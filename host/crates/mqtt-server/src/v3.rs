//! The handlers of MQTT 3.1.1.

use std::rc::Rc;

use broker::{RefusalReason, SubscriptionOptions};
use domain::{CloseReason, MqttVersion};
use ntex::io::types::PeerAddr;
use ntex::time::Seconds;
use ntex_mqtt::v3::codec::{ConnectAckReason, Encoded};
use ntex_mqtt::v3::control::Subscribe;
use ntex_mqtt::v3::{Connect, ConnectAck, ProtocolMessage, ProtocolMessageAck, Publish, Session};
use ntex_mqtt::{Control, QoS};

use crate::admission::{Admitted, Gate, Hello};
use crate::close_reason::{self, Fault};
use crate::link::Link;
use crate::packet;
use crate::pump::Pump;
use crate::refusal::{Refusal, RefusalKind};
use crate::server::MAX_IN_FLIGHT;
use crate::writer::Writer;

fn code(refusal: &Refusal) -> ConnectAckReason {
    match refusal.kind {
        RefusalKind::ClientId => ConnectAckReason::IdentifierRejected,
        RefusalKind::Credentials => ConnectAckReason::BadUserNameOrPassword,
        RefusalKind::NotAuthorized | RefusalKind::WillTopic => ConnectAckReason::NotAuthorized,
        RefusalKind::Throttled
        | RefusalKind::Quota
        | RefusalKind::Unavailable
        | RefusalKind::Busy => ConnectAckReason::ServiceUnavailable,
    }
}

pub(crate) async fn connect(gate: Rc<Gate>, connect: Connect) -> Result<ConnectAck<Link>, Fault> {
    let packet = connect.packet().clone();
    // An id of the server's choice cannot be told, so it is good for one connection [MQTT-3.1.3-8].
    if packet.client_id.is_empty() && !packet.clean_session {
        gate.broker.stats().count_refused(RefusalReason::ClientId);
        return Ok(connect.identifier_rejected());
    }
    let hello = Hello {
        client_id: &packet.client_id,
        version: MqttVersion::V311,
        peer: connect.io().query::<PeerAddr>().get().map(|peer| peer.0),
        username: packet.username.as_deref(),
        password: packet.password.as_deref(),
        keep_alive_seconds: packet.keep_alive,
        clean_start: packet.clean_session,
        session_expiry_seconds: if packet.clean_session { 0 } else { u32::MAX },
    };
    let will = |client_id: &_| {
        packet
            .last_will
            .as_ref()
            .map(|will| packet::will_v3(will, client_id))
    };
    let admitted = match gate.admit(hello, will).await {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(connect.failed(code(&refusal))),
    };
    let Admitted {
        link,
        outbound,
        session_present,
        ..
    } = admitted;
    let pump = Pump {
        writer: Writer::V3(connect.sink()),
        io: connect.io().get_ref(),
        outbound,
        pumped: Rc::clone(&link.pumped),
    };
    let mut ack = connect
        .ack(link, session_present)
        .max_send(Some(MAX_IN_FLIGHT));
    if packet.keep_alive == 0 {
        ack = ack.idle_timeout(Seconds::ZERO);
    }
    pump.start();
    Ok(ack)
}

pub(crate) async fn publish(
    session: &Session<Link>,
    publish: Publish,
    bytes_max: u32,
) -> Result<(), Fault> {
    let packet = publish.packet();
    if packet.payload_size > bytes_max {
        return Err(Fault(CloseReason::PacketTooLarge));
    }
    let payload = publish
        .read_all()
        .await
        .map_err(|_| Fault(CloseReason::ConnectionLost))?;
    let connection = &session.connection;
    let message = packet::message_v3(packet, &payload, &connection.facts().client_id);
    let packet_id = packet.packet_id.filter(|_| packet.qos == QoS::ExactlyOnce);
    // MQTT 3.1.1 has no other way to refuse a PUBLISH than to close the connection [MQTT-3.3.5-2].
    connection.publish(message, packet_id).map_err(|error| {
        tracing::debug!(client_id = %connection.facts().client_id, %error, "publish is refused");
        Fault(CloseReason::ProtocolError)
    })?;
    Ok(())
}

pub(crate) fn protocol(session: &Session<Link>, message: ProtocolMessage) -> ProtocolMessageAck {
    let connection = &session.connection;
    match message {
        ProtocolMessage::Subscribe(packet) => subscribe(session, packet),
        ProtocolMessage::Unsubscribe(packet) => {
            for filter in packet.iter() {
                // UNSUBACK of MQTT 3.1.1 says nothing about filters that were not there.
                connection.unsubscribe(filter);
            }
            packet.ack()
        }
        ProtocolMessage::Disconnect(packet) => {
            connection.disconnect(CloseReason::ClientDisconnect, None);
            packet.ack()
        }
        ProtocolMessage::PublishRelease(packet) => packet.ack(),
        ProtocolMessage::Ping(packet) => packet.ack(),
    }
}

fn subscribe(session: &Session<Link>, mut packet: Subscribe) -> ProtocolMessageAck {
    let connection = &session.connection;
    let mut accepted = Vec::new();
    for mut subscription in &mut packet {
        let options = SubscriptionOptions {
            qos: packet::qos_from(subscription.qos()),
            no_local: false,
            retain_as_published: false,
            id: None,
        };
        match connection.subscribe(subscription.topic(), options) {
            Ok(_) => {
                subscription.confirm(subscription.qos());
                accepted.push((subscription.topic().clone(), options));
            }
            Err(error) => {
                tracing::debug!(client_id = %connection.facts().client_id, %error, "subscribe is refused");
                subscription.fail();
            }
        }
    }
    for (filter, options) in accepted {
        connection.send_retained(&filter, options);
    }
    packet.ack()
}

pub(crate) fn control(session: &Session<Link>, control: &Control<Fault>) -> Option<Encoded> {
    if let Control::Stop(stop) = control {
        session.socket_closed(close_reason::of_stop(stop));
    }
    None
}
