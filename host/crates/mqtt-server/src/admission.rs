//! Decides about a CONNECT, the same for both versions: who may come in, under which id, and what a
//! refusal says. Nothing is authenticated yet: a presented user name is recorded, a password ignored.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use broker::{Broker, ConnectRequest, Connected, Outbound, RefusalReason, RefuseClientError, Will};
use domain::{ChannelId, ClientId, CloseReason, MqttVersion, RefuseConnectError, StatusSink};

use crate::link::{Link, Live};
use crate::{Anonymous, ClientIdPolicy, MqttServerConfig};

/// What a listener's connections have in common.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) broker: Arc<Broker>,
    pub(crate) sink: Arc<dyn StatusSink>,
    pub(crate) config: Arc<MqttServerConfig>,
    pub(crate) live: Arc<Live>,
    /// `tcp` or `ws`.
    pub(crate) kind: &'static str,
    /// What it is bound to.
    pub(crate) address: SocketAddr,
}

/// A CONNECT, whatever its version.
#[derive(Debug)]
pub(crate) struct Hello<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) version: MqttVersion,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) username: Option<&'a str>,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry_seconds: u32,
}

/// What an accepted CONNECT needs to be answered.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) link: Link,
    pub(crate) outbound: Outbound,
    pub(crate) client_id: ClientId,
    pub(crate) session_present: bool,
    pub(crate) session_expiry_seconds: u32,
}

/// The kinds of refusals that the versions have codes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    ClientId,
    NotAuthorized,
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
    fn new(kind: RefusalKind, text: impl fmt::Display) -> Self {
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

impl Gate {
    /// The client's id, or a random one for an empty id.
    pub(crate) fn client_id(&self, presented: &str) -> Result<ClientId, Refusal> {
        let assigned;
        let text = match self.config.client_ids {
            ClientIdPolicy::Any if presented.is_empty() => {
                assigned = format!("auto-{}", ChannelId::random());
                &assigned
            }
            ClientIdPolicy::Any | ClientIdPolicy::Apsaramq => presented,
        };
        let parsed = match self.config.client_ids {
            ClientIdPolicy::Any => ClientId::parse(text),
            ClientIdPolicy::Apsaramq => ClientId::parse_apsaramq(text),
        };
        parsed.map_err(|error| Refusal::new(RefusalKind::ClientId, error))
    }

    fn authorise(&self) -> Result<(), Refusal> {
        let allowed = match self.config.anonymous {
            Anonymous::Always => true,
            Anonymous::Never => false,
            Anonymous::Loopback => self.address.ip().is_loopback(),
        };
        if allowed {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::NotAuthorized,
            "anonymous clients may connect on loopback listeners only, unless access.anonymous says otherwise",
        ))
    }

    /// Accepts the client or says why not. `will` gets the client's id.
    pub(crate) async fn admit(
        &self,
        hello: Hello<'_>,
        will: impl FnOnce(&ClientId) -> Option<Will>,
    ) -> Result<Admitted, Refusal> {
        let client_id = self
            .authorise()
            .and_then(|()| self.client_id(hello.client_id));
        let client_id = client_id.inspect_err(|refusal| {
            let reason = match refusal.kind {
                RefusalKind::ClientId => RefusalReason::ClientId,
                _ => RefusalReason::NotAuthorized,
            };
            self.broker.stats().count_refused(reason);
            tracing::debug!(peer = ?hello.peer, reason = refusal.text, "connect is refused");
        })?;
        let request = ConnectRequest {
            will: will(&client_id),
            client_id: client_id.clone(),
            version: hello.version,
            peer: hello
                .peer
                .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            listener: self.kind,
            username: hello.username.map(Arc::from),
            keep_alive_seconds: hello.keep_alive_seconds,
            clean_start: hello.clean_start,
            session_expiry_seconds: hello.session_expiry_seconds,
        };
        let Connected {
            connection,
            outbound,
            session_present,
            session_expiry_seconds,
        } = self.broker.connect(request).map_err(|error| {
            tracing::debug!(peer = ?hello.peer, %error, "connect is refused");
            Refusal::from(error)
        })?;
        // From here on, dropping the link closes the channel.
        let link = Link::new(connection, Arc::clone(&self.live));
        // A client that no rule records has nothing to wait for, also while the store fails.
        let waits = self.config.connack_after_commit && link.connection.is_recorded();
        if waits && !self.sink.committed().await {
            link.connection.close(CloseReason::InternalError);
            self.broker
                .stats()
                .count_refused(RefusalReason::StoreFailed);
            return Err(RefuseClientError::from(RefuseConnectError::StoreFailed).into());
        }
        Ok(Admitted {
            link,
            outbound,
            client_id,
            session_present,
            session_expiry_seconds,
        })
    }
}
