//! Own requests to name servers and brokers: one connection per request.
//!
//! They are rare (routes every few seconds, topics, reading), so a connection each costs less than
//! keeping connections healthy would.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use domain::{RouteError, TopicName};
use rocketmq_protocol::protocol::SerializeType;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;
use rocketmq_transport::api::{
    AdmissionController, AdmissionLimits, FrameLimits, OneShotTransportClient, RequestDeadline,
    TlsConfig,
};

use tokio::sync::Semaphore;

use crate::compatibility::{CompatibilityHook, Refusal, code};
use crate::runtime::RocketmqRuntime;

/// How long one request may take, connecting included.
const REQUEST_MAX: Duration = Duration::from_secs(3);
/// A response may hold one message of RocketMQ's 4 MiB, or a name server's whole cluster.
const RESPONSE_BODY_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Names of one instance that are looked up at a time.
const LOOKUPS_MAX: usize = 2;
/// What this client says it is; servers change formats by it only from 4.9.4 (401) on.
const VERSION: i32 = 399;

/// Why there is no usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server answered and refused.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer came.
    #[error("{address}: {detail}")]
    Failed { address: String, detail: String },
}

impl CallError {
    pub(crate) fn failed(address: &str, detail: &dyn fmt::Display) -> Self {
        Self::Failed {
            address: address.to_owned(),
            detail: detail.to_string(),
        }
    }

    /// What a refusal says of `topic`; `None` if it is about something else, or no refusal.
    pub(crate) fn topic_refusal(&self, topic: &TopicName) -> Option<RouteError> {
        let Self::Refused(refusal) = self else {
            return None;
        };
        match refusal.code {
            code::TOPIC_NOT_EXIST => Some(RouteError::TopicNotFound {
                topic: topic.clone(),
            }),
            code::NO_PERMISSION => Some(RouteError::Denied {
                detail: refusal.remark.clone(),
            }),
            _ => None,
        }
    }
}

/// A request: its code and fields.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) code: i32,
    pub(crate) fields: &'a [(&'static str, String)],
}

/// Sends requests and waits for their responses.
pub(crate) struct RemotingClient {
    transport: OneShotTransportClient,
    hook: Arc<CompatibilityHook>,
    tls: TlsConfig,
    lookups: Arc<Semaphore>,
}

impl RemotingClient {
    pub(crate) fn new(
        runtime: &RocketmqRuntime,
        hook: Arc<CompatibilityHook>,
        tls: bool,
    ) -> Result<Self, rocketmq_error::SharedError> {
        let admission = Arc::new(AdmissionController::new(AdmissionLimits::default()));
        let limits = FrameLimits {
            max_body_bytes: RESPONSE_BODY_BYTES_MAX,
            ..FrameLimits::default()
        };
        let transport = OneShotTransportClient::try_new(runtime.remoting_context(), admission)?
            .try_with_frame_limits(limits)?;
        Ok(Self {
            transport,
            hook,
            tls: TlsConfig {
                enable: tls,
                ..TlsConfig::default()
            },
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        })
    }

    /// The response, if its code is 0 or one of `accepted`.
    pub(crate) async fn call(
        &self,
        address: &str,
        request: Request<'_>,
        accepted: &[i32],
    ) -> Result<RemotingCommand, CallError> {
        let call = Box::pin(self.exchange(address, request));
        let response = tokio::time::timeout(REQUEST_MAX, call)
            .await
            .map_err(|_| {
                CallError::failed(address, &format_args!("no answer within {REQUEST_MAX:?}"))
            })??;
        if response.code() == code::SUCCESS || accepted.contains(&response.code()) {
            Ok(response)
        } else {
            Err(CallError::Refused(Refusal::of(&response)))
        }
    }

    async fn exchange(
        &self,
        address: &str,
        request: Request<'_>,
    ) -> Result<RemotingCommand, CallError> {
        let to = self.resolve(address).await?;
        let mut command = RemotingCommand::with_resolved_defaults(VERSION, SerializeType::JSON);
        command.set_code_ref(request.code);
        for (name, value) in request.fields {
            command.add_ext_field(*name, value.as_str());
        }
        self.hook
            .sign(to, &mut command)
            .map_err(|error| CallError::failed(address, &error))?;
        self.transport
            .invoke_with_config(to, command, &self.tls, RequestDeadline::after(REQUEST_MAX))
            .await
            .map_err(|error| CallError::failed(address, &domain::ErrorChain(error.as_ref())))
    }

    /// A lookup cannot be ended early: one that hangs keeps its permit, so that names that are not
    /// answered cannot take all of the host's threads for blocking work.
    async fn resolve(&self, address: &str) -> Result<SocketAddr, CallError> {
        if let Ok(address) = address.parse() {
            return Ok(address);
        }
        let failed = |error: &dyn fmt::Display| CallError::failed(address, error);
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let permit = permit.map_err(|error| failed(&error))?;
        let name = address.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let found = name.to_socket_addrs().map(|mut all| all.next());
            drop(permit);
            found
        });
        let found = lookup.await.map_err(|error| failed(&error))?;
        found
            .map_err(|error| failed(&error))?
            .ok_or_else(|| failed(&"the name has no address"))
    }
}
