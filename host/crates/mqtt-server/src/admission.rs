//! Decides about a CONNECT, the same for both versions: who may come in, under which id, and what a
//! refusal says.

use std::net::SocketAddr;
use std::sync::Arc;

use broker::{Broker, ConnectRequest, Connected, Outbound, RefusalReason, RefuseClientError, Will};
use domain::{
    Authenticator, ChannelId, ClientId, CloseReason, MqttVersion, RefuseConnectError, StatusSink,
};

use crate::link::{Link, Live};
use crate::listen::Kind;
use crate::refusal::{Refusal, RefusalKind};
use crate::refusal_log::RefusalLog;
use crate::{ClientIdPolicy, MqttServerConfig};

/// What a listener's connections have in common.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) broker: Arc<Broker>,
    pub(crate) sink: Arc<dyn StatusSink>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) refusal_log: Arc<RefusalLog>,
    pub(crate) config: Arc<MqttServerConfig>,
    pub(crate) live: Arc<Live>,
    pub(crate) kind: Kind,
    /// What it is bound to.
    pub(crate) address: SocketAddr,
}

/// A CONNECT, whatever its version.
pub(crate) struct Hello<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) version: MqttVersion,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
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

impl Gate {
    /// As large as the largest packet.
    pub(crate) fn frame_bytes(&self) -> usize {
        usize::try_from(self.config.packet_bytes_max.get()).unwrap_or(usize::MAX)
    }

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

    /// Accepts the client or says why not. `will` gets the client's id.
    pub(crate) async fn admit(
        &self,
        hello: Hello<'_>,
        will: impl FnOnce(&ClientId) -> Option<Will>,
    ) -> Result<Admitted, Refusal> {
        let principal = self.authenticate(&hello).await?;
        let client_id = self.client_id(hello.client_id).inspect_err(|refusal| {
            self.broker.stats().count_refused(RefusalReason::ClientId);
            tracing::debug!(peer = ?hello.peer, reason = refusal.text, "connect is refused");
        })?;
        tracing::debug!(%client_id, method = principal.method.as_str(), "client is known");
        let request = ConnectRequest {
            will: will(&client_id),
            client_id: client_id.clone(),
            version: hello.version,
            peer: hello.peer_or_nowhere(),
            listener: self.kind.as_str(),
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
