//! Why a CONNECT is refused, in the kinds that both versions have codes for.

use std::fmt;

use broker::{RefusalReason, RefuseClientError};
use domain::{RefuseAccessError, RefuseConnectError};

/// The kinds of refusals that the versions have codes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    ClientId,
    Credentials,
    NotAuthorized,
    Throttled,
    Quota,
    Unavailable,
    Busy,
    WillTopic,
}

/// Why a CONNECT is refused, and what MQTT 5 tells the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, text: impl fmt::Display) -> Self {
        Self {
            kind,
            text: text.to_string(),
        }
    }
}

impl From<RefuseClientError> for Refusal {
    fn from(error: RefuseClientError) -> Self {
        let kind = match error {
            RefuseClientError::ConnectionsMax => RefusalKind::Quota,
            RefuseClientError::WillTopic(_) => RefusalKind::WillTopic,
            RefuseClientError::Events(events) => match events {
                RefuseConnectError::RecorderFull
                | RefuseConnectError::ShareFull
                | RefuseConnectError::OutboxFull => RefusalKind::Quota,
                RefuseConnectError::StoreFailed => RefusalKind::Unavailable,
                RefuseConnectError::ShuttingDown => RefusalKind::Busy,
                RefuseConnectError::UnknownGroup => RefusalKind::NotAuthorized,
            },
        };
        Self::new(kind, domain::ErrorChain(&error))
    }
}

impl From<RefuseAccessError> for Refusal {
    fn from(error: RefuseAccessError) -> Self {
        let kind = match error {
            RefuseAccessError::BadCredentials
            | RefuseAccessError::Malformed(_)
            | RefuseAccessError::UnknownMethod => RefusalKind::Credentials,
            RefuseAccessError::Anonymous => RefusalKind::NotAuthorized,
            RefuseAccessError::Throttled => RefusalKind::Throttled,
            RefuseAccessError::Unavailable => RefusalKind::Unavailable,
        };
        Self::new(kind, error)
    }
}

/// How a refused authentication is counted. The finer kinds are counted where they are decided.
pub(crate) fn reason(error: RefuseAccessError) -> RefusalReason {
    match error {
        RefuseAccessError::BadCredentials
        | RefuseAccessError::Malformed(_)
        | RefuseAccessError::UnknownMethod => RefusalReason::Credentials,
        RefuseAccessError::Anonymous => RefusalReason::NotAuthorized,
        RefuseAccessError::Throttled => RefusalReason::Throttled,
        RefuseAccessError::Unavailable => RefusalReason::AccessUnavailable,
    }
}
