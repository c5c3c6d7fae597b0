//! Why a connection ended: from what ntex says to a `CloseReason`, and from there to the reason code
//! of a DISCONNECT of MQTT 5.

use std::io;

use domain::CloseReason;
use ntex_mqtt::Reason;
use ntex_mqtt::error::{DecodeError, MqttProtocolError};
use ntex_mqtt::v5::codec::DisconnectReasonCode;

/// The error of all handlers: the connection must be closed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection is closed as {}", .0.as_str())]
pub(crate) struct Fault(pub(crate) CloseReason);

impl TryFrom<Fault> for ntex_mqtt::v5::PublishAck {
    type Error = Fault;

    fn try_from(fault: Fault) -> Result<Self, Fault> {
        Err(fault)
    }
}

/// The reason of a stopped dispatcher.
pub(crate) fn of_stop(stop: &Reason<Fault>) -> CloseReason {
    match stop {
        Reason::Error(error) => error.get_ref().0,
        Reason::Protocol(error) => of_protocol_error(error.get_ref()),
        Reason::PeerGone(gone) => gone.err().map_or(CloseReason::ConnectionLost, of_io_error),
    }
}

fn of_protocol_error(error: &MqttProtocolError) -> CloseReason {
    match error {
        MqttProtocolError::KeepAliveTimeout => CloseReason::KeepAliveTimeout,
        MqttProtocolError::Decode(DecodeError::MaxSizeExceeded { .. }) => {
            CloseReason::PacketTooLarge
        }
        MqttProtocolError::Decode(_) | MqttProtocolError::ProtocolViolation(_) => {
            CloseReason::ProtocolError
        }
        // The peer neither takes nor gives: as good as gone.
        MqttProtocolError::ReadTimeout | MqttProtocolError::WriteTimeout => {
            CloseReason::ConnectionLost
        }
        MqttProtocolError::Encode(_) => CloseReason::InternalError,
    }
}

fn of_io_error(error: &io::Error) -> CloseReason {
    match error.kind() {
        // A write after the peer's reset reads as a broken pipe.
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => CloseReason::ConnectionReset,
        _ => CloseReason::ConnectionLost,
    }
}

/// What MQTT 5 tells the client.
pub(crate) fn to_disconnect(reason: CloseReason) -> DisconnectReasonCode {
    match reason {
        CloseReason::ClientDisconnect | CloseReason::ClientDisconnectWithWill => {
            DisconnectReasonCode::NormalDisconnection
        }
        CloseReason::KeepAliveTimeout => DisconnectReasonCode::KeepAliveTimeout,
        CloseReason::ProtocolError => DisconnectReasonCode::ProtocolError,
        CloseReason::PacketTooLarge => DisconnectReasonCode::PacketTooLarge,
        CloseReason::TakenOver => DisconnectReasonCode::SessionTakenOver,
        CloseReason::Kicked => DisconnectReasonCode::AdministrativeAction,
        CloseReason::NotAuthorized => DisconnectReasonCode::NotAuthorized,
        CloseReason::QuotaExceeded => DisconnectReasonCode::QuotaExceeded,
        CloseReason::HostShutdown | CloseReason::HostRestart => {
            DisconnectReasonCode::ServerShuttingDown
        }
        CloseReason::ConnectionLost | CloseReason::ConnectionReset | CloseReason::InternalError => {
            DisconnectReasonCode::UnspecifiedError
        }
    }
}

#[cfg(test)]
mod tests {
    use ntex_mqtt::error::EncodeError;

    use super::*;

    #[test]
    fn every_end_of_a_connection_has_a_reason() {
        let of = of_protocol_error;
        let too_large = DecodeError::MaxSizeExceeded {
            size: 2,
            max_size: 1,
        };
        assert_eq!(
            of(&MqttProtocolError::KeepAliveTimeout),
            CloseReason::KeepAliveTimeout
        );
        assert_eq!(
            of(&MqttProtocolError::Decode(too_large)),
            CloseReason::PacketTooLarge
        );
        assert_eq!(
            of(&MqttProtocolError::Decode(DecodeError::MalformedPacket)),
            CloseReason::ProtocolError
        );
        assert_eq!(
            of(&MqttProtocolError::generic_violation("x")),
            CloseReason::ProtocolError
        );
        assert_eq!(
            of(&MqttProtocolError::WriteTimeout),
            CloseReason::ConnectionLost
        );
        assert_eq!(
            of(&MqttProtocolError::Encode(EncodeError::InvalidLength)),
            CloseReason::InternalError
        );
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(of_io_error(&reset), CloseReason::ConnectionReset);
        let timed_out = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(of_io_error(&timed_out), CloseReason::ConnectionLost);
    }
}
