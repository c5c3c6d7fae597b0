//! The server: one loopback listener, all routes, and its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use broker::Broker;
use pipeline::control::Control;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api_error::ApiError;
use crate::guard::{Guard, guard};
use crate::listener::{LimitedListener, Peer};
use crate::token::TokenHash;
use crate::{clients, dead_letters, groups, instances, messages, plugins, rules, status};

/// Requests that are still running at the end of the host get this long.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// A loopback address; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Whose bearer may do everything.
    pub token: TokenHash,
    /// The largest component that can be uploaded, bytes.
    pub component_bytes_max: usize,
    /// `node.id`, for the status and the attribute of events.
    pub node: String,
    /// `instance.id`, for the attribute of events.
    pub instance: String,
    /// The host's version, for the status.
    pub version: String,
}

/// What the assembly answers for the whole host.
pub struct Probes {
    /// Why the host takes no clients now, beside what the pipeline says; `None` if it does.
    pub not_ready: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// All metrics in the `OpenMetrics` text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[error("admin listener {listen} cannot be opened")]
pub struct BindAdminError {
    listen: SocketAddr,
    source: io::Error,
}

/// What the handlers work with.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) control: Arc<Control>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) probes: Arc<Probes>,
    pub(crate) node: String,
    pub(crate) instance: String,
    pub(crate) version: String,
    pub(crate) component_bytes_max: usize,
    /// Who holds its permit uploads a plugin.
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) started: Instant,
    /// Ends answers that would go on for long.
    pub(crate) shutdown: CancellationToken,
}

/// A server that has its port and does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    served: Served,
    token: TokenHash,
}

impl AdminServer {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn bind(
        config: AdminConfig,
        control: Arc<Control>,
        broker: Arc<Broker>,
        probes: Probes,
    ) -> Result<Self, BindAdminError> {
        let fail = |source| BindAdminError {
            listen: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let served = Served {
            control,
            broker,
            probes: Arc::new(probes),
            node: config.node,
            instance: config.instance,
            version: config.version,
            component_bytes_max: config.component_bytes_max,
            uploads: Arc::new(Semaphore::new(1)),
            started: Instant::now(),
            shutdown: CancellationToken::new(),
        };
        Ok(Self {
            listener,
            address,
            served,
            token: config.token,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`; requests that run then get two seconds.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.served.shutdown = shutdown.clone();
        let routes = guarded(routes().with_state(self.served), self.address, self.token);
        let service = routes.into_make_service_with_connect_info::<Peer>();
        let serve = axum::serve(LimitedListener::new(self.listener), service)
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let end_of_grace = async {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        tokio::select! {
            // Axum retries failed accepts; it ends only when it was told to.
            _ = serve.into_future() => {}
            () = end_of_grace => {}
        }
    }
}

fn routes() -> Router<Served> {
    Router::new()
        .route("/v1/rules", get(rules::list).post(rules::create))
        .route(
            "/v1/rules/{rule_id}",
            get(rules::show).put(rules::replace).delete(rules::delete),
        )
        .route("/v1/rules/{rule_id}/enable", post(rules::enable))
        .route("/v1/rules/{rule_id}/disable", post(rules::disable))
        .route(
            "/v1/rules/{rule_id}/retire-queue",
            post(rules::retire_queue),
        )
        .route("/v1/plugins", get(plugins::list))
        .route(
            "/v1/plugins/{name}",
            get(plugins::show).delete(plugins::delete),
        )
        .route(
            "/v1/plugins/{name}/versions",
            get(plugins::versions).post(plugins::push),
        )
        .route("/v1/groups", get(groups::list).post(groups::create))
        .route(
            "/v1/groups/{group_id}",
            get(groups::show).delete(groups::delete),
        )
        .route("/v1/clients", get(clients::list))
        .route("/v1/clients:query", post(clients::query))
        .route(
            "/v1/clients/{client_id}",
            get(clients::show).delete(clients::close),
        )
        .route("/v1/rocketmq-instances", get(instances::list))
        .route(
            "/v1/rocketmq-instances/{instance_id}/topics",
            post(instances::create_topic),
        )
        .route(
            "/v1/rocketmq-instances/{instance_id}/topics/{topic}/messages",
            get(messages::read),
        )
        .route(
            "/v1/dead-letters",
            get(dead_letters::list).delete(dead_letters::delete_many),
        )
        .route("/v1/dead-letters:replay", post(dead_letters::replay_many))
        .route(
            "/v1/dead-letters/{id}",
            get(dead_letters::show).delete(dead_letters::delete),
        )
        .route("/v1/dead-letters/{id}/replay", post(dead_letters::replay))
        .route("/v1/status", get(status::show))
        .route("/healthz", get(status::live))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(status::metrics))
}

/// Adds the checks and the answers of paths and methods that are not there.
pub(crate) fn guarded(routes: Router, listen: SocketAddr, token: TokenHash) -> Router {
    routes
        .fallback(|| async {
            ApiError::not_found("there is no such resource; all of the API is under /v1")
        })
        .method_not_allowed_fallback(|| async {
            ApiError::method_not_allowed(
                "this resource does not have this method; see the Allow header",
            )
        })
        .layer(from_fn_with_state(Arc::new(Guard { listen, token }), guard))
}
