//! Who is let in: the token file, stored tokens, sessions; and what becomes of those who are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use domain::Actor;
use pipeline::control::{AccessControl, Role};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api_error::ApiError;
use crate::failures::Failures;
use crate::listener::Peer;
use crate::sign_in::SignIn;
use crate::tls::Tls;
use crate::token::TokenHash;

/// In the body of a refusal: how long to wait.
pub(crate) const RETRY_AFTER: &str = "retryAfterSeconds";

/// Last uses are stored so often.
const STORE_USES_EVERY: Duration = Duration::from_secs(60);

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) actor: Actor,
    pub(crate) role: Role,
    /// How long what was presented still opens anything; `None`: for ever.
    pub(crate) expires_in: Option<Duration>,
    /// Cancelled when it is revoked.
    pub(crate) revoked: CancellationToken,
}

/// Requests that were refused before any handler saw them, by reason.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) no_token: AtomicU64,
    pub(crate) wrong_token: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) role: AtomicU64,
    pub(crate) host: AtomicU64,
}

// Relaxed is enough: the counters are only read for reporting.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The token in `<data-dir>/admin-token`.
    pub(crate) file_token: TokenHash,
    pub(crate) access: Arc<AccessControl>,
    pub(crate) sign_in: SignIn,
    pub(crate) failures: Failures,
    /// Of sign-in codes: whoever guesses those does not lock out tokens.
    pub(crate) code_failures: Failures,
    pub(crate) refused: Refused,
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// The token of the request, if it presents one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Doors {
    /// Who holds `token`, if it opens anything now.
    fn visitor(&self, token: &str) -> Option<Visitor> {
        let hash = TokenHash::of(token);
        if self.file_token.matches(token) {
            return Some(Visitor {
                actor: Actor::token("admin"),
                role: Role::Admin,
                expires_in: None,
                revoked: CancellationToken::new(),
            });
        }
        if let Some(found) = self.access.authenticate(hash.into()) {
            return Some(Visitor {
                actor: found.actor,
                role: found.role,
                expires_in: found.expires_in,
                revoked: found.revoked,
            });
        }
        let session = self.sign_in.session(hash, Instant::now())?;
        Some(Visitor {
            actor: Actor::token("sign-in"),
            role: Role::Admin,
            expires_in: Some(session.expires_in),
            revoked: session.over,
        })
    }

    /// Who sent the request; `None` if it presents no token.
    ///
    /// # Errors
    ///
    /// When it presents one that opens nothing.
    pub(crate) fn recognise(
        &self,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<Option<Visitor>, ApiError> {
        if !headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        if let Some(visitor) = bearer(headers).and_then(|token| self.visitor(token)) {
            return Ok(Some(visitor));
        }
        Err(self.failed(
            &self.failures,
            peer,
            ApiError::unauthorized(
                "this token opens nothing: it is wrong, revoked or expired; send Authorization: Bearer with the content of <data-dir>/admin-token, or a token of `rulemill token create`",
            ),
        ))
    }

    /// Notes a failed authentication; the answer is `error`, or that there were too many.
    pub(crate) fn failed(&self, failures: &Failures, peer: Peer, error: ApiError) -> ApiError {
        match failures.charge(peer.0.ip(), Instant::now()) {
            Ok(()) => {
                count(&self.refused.wrong_token);
                tracing::warn!(peer = %peer.0.ip(), code = error.code(), "authentication failed");
                error
            }
            Err(wait) => {
                count(&self.refused.throttled);
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let mut more = Map::new();
                more.insert(RETRY_AFTER.to_owned(), Value::from(seconds));
                ApiError::too_many_failures(format!(
                    "too many failed authentications from {}; wait {seconds} s, and correct the token",
                    peer.0.ip()
                ))
                .with(more)
            }
        }
    }

    /// Notes the last uses of tokens now and then, and takes new certificates, until `shutdown`.
    pub(crate) async fn keep(&self, shutdown: &CancellationToken) {
        let certificate = async {
            match self.tls.clone() {
                Some(tls) => tls.watch().await,
                None => std::future::pending().await,
            }
        };
        let uses = async {
            loop {
                tokio::time::sleep(STORE_USES_EVERY).await;
                self.store_last_uses().await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = certificate => {}
            () = uses => {}
        }
    }

    /// Notes the last uses of tokens.
    pub(crate) async fn store_last_uses(&self) {
        if let Err(error) = self.access.store_last_uses().await {
            tracing::warn!(%error, "the last uses of tokens were not stored");
        }
    }

    /// Where a browser finds the API.
    fn base(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        if self.listen.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", self.listen.port())
        } else {
            format!("{scheme}://{}", self.listen)
        }
    }

    /// The link that signs in with `code`.
    pub(crate) fn link(&self, code: &str) -> String {
        format!("{}/#code={code}", self.base())
    }

    /// What it counts, in the `OpenMetrics` text format.
    pub(crate) fn metrics(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = "# TYPE rulemill_admin_requests_refused counter\n".to_owned();
        for (reason, counter) in [
            ("no-token", &self.refused.no_token),
            ("wrong-token", &self.refused.wrong_token),
            ("throttled", &self.refused.throttled),
            ("role", &self.refused.role),
            ("host", &self.refused.host),
        ] {
            let n = read(counter);
            text += &format!("rulemill_admin_requests_refused_total{{reason=\"{reason}\"}} {n}\n");
        }
        let mut add = |name: &str, kind: &str, value: u64| {
            let suffix = if kind == "counter" { "_total" } else { "" };
            text += &format!("# TYPE rulemill_{name} {kind}\nrulemill_{name}{suffix} {value}\n");
        };
        let peers = u64::try_from(self.failures.peers().max(self.code_failures.peers()))
            .unwrap_or(u64::MAX);
        add("admin_peers_with_failures", "gauge", peers);
        let audit = self.access.audit_counts();
        add("audit_entries_forgotten", "counter", audit.forgotten);
        add("audit_entries_lost", "counter", audit.failed);
        if let Some(tls) = &self.tls {
            add(
                "admin_tls_handshakes_failed",
                "counter",
                read(&tls.handshakes_failed),
            );
            add(
                "admin_tls_certificate_reloads",
                "counter",
                read(&tls.reloads),
            );
            add(
                "admin_tls_certificate_reloads_failed",
                "counter",
                read(&tls.reloads_failed),
            );
        }
        text
    }
}
