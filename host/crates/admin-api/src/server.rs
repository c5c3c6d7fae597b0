//! The server: one listener, all routes, and its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use broker::Broker;
use parking_lot::Mutex;
use pipeline::control::Control;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api_error::ApiError;
use crate::doors::{Doors, Refused};
use crate::failures::Failures;
use crate::guard::{Guard, guard};
use crate::listener::{LimitedListener, Peer};
use crate::rules_folder::{FolderState, RulesFolder};
use crate::sign_in::SignIn;
use crate::tls::{AdminCertificate, LoadAdminCertificateError, Tls};
use crate::token::TokenHash;
use crate::{access_keys, apsaramq, audit, permission, sign_in, tokens, unread_body, users};
use crate::{
    apply, clients, dead_letters, events, groups, instances, messages, openapi, plugin_versions,
    plugins, rule_history, rule_test, rules, status,
};

/// Requests that are still running at the end of the host get this long.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Port 0 picks a free one. Beyond loopback there must be a certificate.
    pub listen: SocketAddr,
    /// With one, the listener speaks TLS only.
    pub certificate: Option<AdminCertificate>,
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
    /// A folder whose files say which rules there are.
    pub rules_folder: Option<PathBuf>,
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
pub enum BindAdminError {
    /// The port cannot be had.
    #[error("admin listener {listen} cannot be opened")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The token would cross a network as it is.
    #[error(
        "admin listener {listen} is beyond loopback, which needs admin.tls-cert and admin.tls-key"
    )]
    Plain {
        /// Where.
        listen: SocketAddr,
    },
    /// There is no certificate to show.
    #[error("admin.tls-cert and admin.tls-key cannot be used")]
    Certificate(#[source] LoadAdminCertificateError),
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
    /// Who is let in.
    pub(crate) doors: Arc<Doors>,
    /// Who holds its permit uploads a plugin.
    pub(crate) uploads: Arc<Semaphore>,
    /// Of the signatures of the compatible actions.
    pub(crate) nonces: Arc<apsaramq::Nonces>,
    pub(crate) started: Instant,
    /// What is known of the folder of rules, if there is one.
    pub(crate) rules_folder: Option<Arc<Mutex<FolderState>>>,
    /// Ends answers that would go on for long.
    pub(crate) shutdown: CancellationToken,
}

/// A server that has its port and does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    served: Served,
    folder: Option<RulesFolder>,
}

impl AdminServer {
    /// Takes the port, and makes the folder of rules true if there is one.
    ///
    /// # Errors
    ///
    /// When the port cannot be had, or the certificate cannot be used or is missing.
    pub async fn bind(
        config: AdminConfig,
        control: Arc<Control>,
        broker: Arc<Broker>,
        probes: Probes,
    ) -> Result<Self, BindAdminError> {
        let fail = |source| BindAdminError::Listen {
            listen: config.listen,
            source,
        };
        let tls = config.certificate.map(Tls::load).transpose();
        let tls = tls.map_err(BindAdminError::Certificate)?.map(Arc::new);
        if tls.is_none() && !config.listen.ip().is_loopback() {
            let listen = config.listen;
            return Err(BindAdminError::Plain { listen });
        }
        let listener = TcpListener::bind(config.listen).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let mut folder = config
            .rules_folder
            .map(|path| RulesFolder::new(path, Arc::clone(&control)));
        match &mut folder {
            Some(folder) => folder.begin().await,
            None => control.release_rules().await,
        }
        let doors = Doors {
            file_token: config.token,
            access: Arc::clone(control.access()),
            sign_in: SignIn::default(),
            failures: Failures::default(),
            code_failures: Failures::default(),
            refused: Refused::default(),
            listen: address,
            tls,
        };
        let served = Served {
            doors: Arc::new(doors),
            rules_folder: folder.as_ref().map(RulesFolder::state),
            control,
            broker,
            probes: Arc::new(probes),
            node: config.node,
            instance: config.instance,
            version: config.version,
            component_bytes_max: config.component_bytes_max,
            uploads: Arc::new(Semaphore::new(1)),
            nonces: Arc::default(),
            started: Instant::now(),
            shutdown: CancellationToken::new(),
        };
        Ok(Self {
            listener,
            address,
            served,
            folder,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.served.doors.tls.is_some()
    }

    /// A link that signs a browser in, once, within ten minutes.
    ///
    /// # Errors
    ///
    /// When the machine gives no random numbers.
    pub fn sign_in_link(&self) -> io::Result<String> {
        let doors = &self.served.doors;
        let (code, _) = doors.sign_in.new_code(Instant::now())?;
        Ok(doors.link(&code))
    }

    /// Answers until `shutdown`; requests that run then get two seconds.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.served.shutdown = shutdown.clone();
        let folder = self.folder.take();
        let watch = async {
            match folder {
                Some(folder) => folder.watch(shutdown.clone()).await,
                None => shutdown.cancelled().await,
            }
        };
        let doors = Arc::clone(&self.served.doors);
        let guard = Guard {
            doors: Arc::clone(&doors),
            changes: TaskTracker::new(),
        };
        let changes = guard.changes.clone();
        let routes = guarded(routes().with_state(self.served), guard);
        let service = routes.into_make_service_with_connect_info::<Peer>();
        let serve = axum::serve(
            LimitedListener::new(self.listener, doors.tls.clone()),
            service,
        )
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let end_of_grace = async {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        let answer = async {
            tokio::select! {
                // Axum retries failed accepts; it ends only when it was told to.
                _ = serve.into_future() => {}
                () = end_of_grace => {}
            }
        };
        tokio::join!(answer, watch, doors.keep(&shutdown));
        // What was begun is noted, unless it takes too long.
        changes.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, changes.wait())
            .await
            .is_err()
        {
            tracing::warn!("a change was still under way at the end of the host");
        }
        doors.store_last_uses().await;
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
        .route("/v1/rules/{rule_id}/history", get(rule_history::history))
        .route("/v1/rules/{rule_id}/rollback", post(rule_history::rollback))
        .route("/v1/rules/{rule_id}/sample", get(rule_test::sample))
        .route("/v1/rules/{rule_id}/test", post(rule_test::test))
        .route(
            "/v1/rules/{rule_id}/retire-queue",
            post(rules::retire_queue),
        )
        .merge(plugin_routes())
        .route("/v1/apply", post(apply::apply))
        .route("/v1/export", get(apply::export))
        .route("/v1/components", post(apply::stage))
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
            "/v1/rocketmq-instances/{instance_id}/probe",
            post(instances::probe),
        )
        .route(
            "/v1/rocketmq-instances/{instance_id}/topics",
            get(instances::topics).post(instances::create_topic),
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
        .route("/v1/events", get(events::events))
        .route("/v1/status", get(status::show))
        .merge(access_routes())
        .route("/openapi.json", get(openapi::show))
        .route("/healthz", get(status::live))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(status::metrics))
}

fn plugin_routes() -> Router<Served> {
    Router::new()
        .route("/v1/plugins", get(plugins::list))
        .route(
            "/v1/plugins/{name}",
            get(plugins::show).delete(plugins::delete),
        )
        .route(
            "/v1/plugins/{name}/versions",
            get(plugins::versions).post(plugins::push),
        )
        .route(
            "/v1/plugins/{name}/versions/{version}",
            get(plugin_versions::show).delete(plugin_versions::delete),
        )
        .route(
            "/v1/plugins/{name}/rollback",
            post(plugin_versions::roll_back),
        )
}

/// Signing in, and who may do what.
fn access_routes() -> Router<Served> {
    Router::new()
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route(
            "/v1/tokens/{name}",
            get(tokens::show).delete(tokens::revoke),
        )
        .route("/v1/users", get(users::list).post(users::add))
        .route(
            "/v1/users/{name}",
            get(users::show)
                .put(users::set_password)
                .delete(users::delete),
        )
        .route(
            "/v1/access-keys",
            get(access_keys::list).post(access_keys::add),
        )
        .route(
            "/v1/access-keys/{access_key_id}",
            get(access_keys::show).delete(access_keys::delete),
        )
        .route("/v1/audit", get(audit::list))
        .route(
            permission::SIGN_IN,
            post(sign_in::exchange).delete(sign_in::end),
        )
        .route("/v1/sign-in-codes", post(sign_in::create_code))
        .route("/", get(apsaramq::act_or_page).post(apsaramq::act))
        .route("/sign-in.js", get(sign_in::script))
}

/// Adds the checks and the answers of paths and methods that are not there.
pub(crate) fn guarded(routes: Router, guard_with: Guard) -> Router {
    routes
        .fallback(|| async {
            ApiError::not_found("there is no such resource; all of the API is under /v1")
        })
        .method_not_allowed_fallback(|| async {
            ApiError::method_not_allowed(
                "this resource does not have this method; see the Allow header",
            )
        })
        .layer(from_fn_with_state(Arc::new(guard_with), guard))
        .layer(from_fn(unread_body::drain))
}
