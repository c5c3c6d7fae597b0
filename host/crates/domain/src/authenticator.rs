//! The seam between who reads a CONNECT (mqtt-server) and who decides whether it comes in (access).
//!
//! What the client presents is borrowed and exactly as it was sent. The answer is one of a closed set,
//! and none of it tells a client whether the user or the password was the wrong one.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::BoxFuture;

/// The listener that a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerFacts {
    /// `tcp`, `ws`, `tls` or `wss`.
    pub kind: &'static str,
    /// What it is bound to.
    pub address: SocketAddr,
}

/// What a CONNECT presents.
#[derive(Clone, Copy)]
pub struct ConnectAttempt<'a> {
    /// As presented: an id that the server assigns is not in here, since the client cannot sign it.
    pub client_id: &'a str,
    /// As presented; `None` if the packet has none.
    pub username: Option<&'a [u8]>,
    /// As presented; `None` if the packet has none.
    pub password: Option<&'a [u8]>,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Where it came in.
    pub listener: ListenerFacts,
}

impl fmt::Debug for ConnectAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectAttempt")
            .field("client_id", &self.client_id)
            .field("username", &self.username.map(String::from_utf8_lossy))
            .field("password", &self.password.map(|_| "***"))
            .field("peer", &self.peer)
            .field("listener", &self.listener)
            .finish()
    }
}

/// How a client proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthenticationMethod {
    /// Not at all.
    Anonymous,
    /// `ApsaraMQ` Signature: HMAC over the client id.
    Signature,
    /// A user of the user list and the password.
    UserList,
}

impl AuthenticationMethod {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Anonymous, Self::Signature, Self::UserList];

    /// The name in logs and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Signature => "signature",
            Self::UserList => "user-list",
        }
    }
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The access key's id or the user's name; `None`: anonymous.
    pub name: Option<Arc<str>>,
    /// How that was proved.
    pub method: AuthenticationMethod,
}

impl Principal {
    /// Someone who proved nothing.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: None,
            method: AuthenticationMethod::Anonymous,
        }
    }
}

/// Why a CONNECT is refused before the broker hears of it. Safe to be shown to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefuseAccessError {
    /// No such user or access key, or another password.
    #[error("user name or password is wrong")]
    BadCredentials,
    /// User name or password has not the form that it must have.
    #[error("{0}")]
    Malformed(&'static str),
    /// The user name names a method that is not offered here.
    #[error("the authentication method that the user name names is not offered here")]
    UnknownMethod,
    /// Too many failures from this address or for this user, or too many verifications at once.
    #[error("too many authentications failed or are under way; try again later")]
    Throttled,
    /// Nothing was presented, where something must be.
    #[error(
        "anonymous clients may connect on loopback listeners only, unless access.anonymous says otherwise"
    )]
    Anonymous,
    /// Nobody can tell now.
    #[error("authentication is not possible now")]
    Unavailable,
}

impl RefuseAccessError {
    /// The names of [`RefuseAccessError::kind`].
    pub const KINDS: &'static [&'static str] = &[
        "bad-credentials",
        "malformed",
        "unknown-method",
        "throttled",
        "anonymous",
        "unavailable",
    ];

    /// The name in logs and metric labels; one of [`RefuseAccessError::KINDS`].
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::BadCredentials => "bad-credentials",
            Self::Malformed(_) => "malformed",
            Self::UnknownMethod => "unknown-method",
            Self::Throttled => "throttled",
            Self::Anonymous => "anonymous",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Decides who a client is. Called on socket threads: it may await, it never blocks.
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Who presents `attempt`.
    ///
    /// # Errors
    ///
    /// Refuses whoever does not prove it.
    fn authenticate<'a>(
        &'a self,
        attempt: ConnectAttempt<'a>,
    ) -> BoxFuture<'a, Result<Principal, RefuseAccessError>>;
}
