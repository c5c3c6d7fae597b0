//! What every request passes: a request id, the check of `Host` and `Origin`, the token, the role; and
//! after it the audit log.
//!
//! `Host` must be a loopback name, the listener's own address, or a name of its certificate: a page of a
//! foreign site whose name was rebound to this machine has another one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use pipeline::control::{AuditOutcome, NewAuditEntry, Role};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info};

use crate::api_error::ApiError;
use crate::doors::{Doors, RETRY_AFTER, Visitor, count};
use crate::listener::Peer;
use crate::permission::{self, SIGN_IN};

const REQUEST_ID: &str = "x-request-id";
const READINESS: &str = "/readyz";
/// Random bytes of a request id.
const REQUEST_ID_BYTES: usize = 8;

/// What the checks need.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) doors: Arc<Doors>,
    /// Changes under way: they go on when whoever asked goes away, so that each is noted.
    pub(crate) changes: TaskTracker,
}

/// A request, as the log and the audit log name it.
#[derive(Clone, Debug)]
struct Asked {
    request_id: String,
    method: Method,
    path: String,
    query: String,
    peer: Peer,
}

impl Asked {
    fn new(request: &Request, peer: Peer) -> Self {
        let uri = request.uri();
        Self {
            request_id: request_id(),
            method: request.method().clone(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            peer,
        }
    }

    fn is_change(&self) -> bool {
        permission::is_change(&self.method, &self.path)
    }
}

/// In the extensions of an answer to a request that could have changed something and did not: it is not noted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NothingChanged;

/// In the extensions of an answer to a request that changed several things: each is noted, too.
#[derive(Clone, Debug)]
pub(crate) struct ChangedThings(pub(crate) Vec<String>);

/// In the extensions of a failed answer that has a body of another shape, which stays as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnErrorBody;

/// Why a request is not let through, and who sent it, if that is known.
struct Turned {
    error: ApiError,
    visitor: Option<Visitor>,
}

impl From<ApiError> for Turned {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            visitor: None,
        }
    }
}

/// The checks, then the handler, then the error's body and the audit log.
pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked::new(&request, peer);
    let response = match guard.check(request.headers(), &asked) {
        // It may be one of the compatible actions, which notes itself.
        Ok(None) if asked.path == "/" => guard.to_its_end(next.run(request)).await,
        Ok(None) => next.run(request).await,
        Ok(Some(visitor)) => {
            request.extensions_mut().insert(visitor.actor.clone());
            request.extensions_mut().insert(visitor.role);
            if asked.is_change() {
                guard.change(&asked, visitor, request, next).await
            } else {
                until_revoked(next.run(request).await, &visitor)
            }
        }
        Err(Turned { error, visitor }) => {
            if let Some(visitor) = visitor.filter(|_| asked.is_change()) {
                let refused = entry(&asked, &visitor, AuditOutcome::Refused, &HeaderMap::new());
                guard.doors.access.note(refused).await;
            }
            error.into_response()
        }
    };
    finish(response, &asked)
}

/// Gives an error its body, logs, and names the request.
fn finish(mut response: Response, asked: &Asked) -> Response {
    let Asked {
        request_id,
        method,
        path,
        ..
    } = asked;
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    if is_failure && response.extensions().get::<OwnErrorBody>().is_none() {
        let failure = response
            .extensions_mut()
            .remove::<ApiError>()
            .unwrap_or_else(|| ApiError::of_status(status));
        let allow = response.headers_mut().remove(header::ALLOW);
        response = failure.body(request_id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = failure.number(RETRY_AFTER) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        // A probe comes every few seconds: that the host is not ready is its answer, and logged where it begins.
        if status.is_server_error() && path != READINESS {
            error!(request_id, %method, path, code = failure.code(), error = failure.message(), "request failed");
        } else {
            debug!(request_id, %method, path, code = failure.code(), error = failure.message(), "request refused");
        }
    } else if is_failure || permission::is_safe(method) {
        let status = status.as_u16();
        debug!(request_id, %method, path, status, "request answered");
    } else {
        // An operator's action.
        info!(request_id, %method, path, status = status.as_u16(), "request carried out");
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn request_id() -> String {
    let mut bytes = [0; REQUEST_ID_BYTES];
    // Without randomness the id is all zeros: it only names a line of the log.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = [0; REQUEST_ID_BYTES];
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// An answer that goes on for long ends with the token that it was given to.
fn until_revoked(response: Response, visitor: &Visitor) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let (revoked, expires_in) = (visitor.revoked.clone(), visitor.expires_in);
    let end = async move {
        match expires_in {
            Some(time) => tokio::select! {
                () = revoked.cancelled() => {}
                () = tokio::time::sleep(time) => {}
            },
            None => revoked.cancelled().await,
        }
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(end))))
}

/// Who changed what, or wanted to; `headers` are those of the answer.
fn entry(
    asked: &Asked,
    visitor: &Visitor,
    outcome: AuditOutcome,
    headers: &HeaderMap,
) -> NewAuditEntry {
    let text = |name| headers.get(name)?.to_str().ok();
    // The name of what is new is known only now.
    let made = text(header::LOCATION).filter(|place| place.starts_with("/v1/"));
    let revision = text(header::ETAG).and_then(|tag| tag.trim_matches('"').parse().ok());
    NewAuditEntry {
        actor: visitor.actor.clone(),
        peer: asked.peer.0.ip().to_string(),
        method: asked.method.to_string(),
        resource: made.map_or_else(
            || permission::resource(&asked.path, &asked.query),
            str::to_owned,
        ),
        outcome,
        request_id: asked.request_id.clone(),
        revision,
    }
}

impl Guard {
    /// Runs a change to its end, also if whoever asked for it goes away, and notes it.
    async fn change(
        &self,
        asked: &Asked,
        visitor: Visitor,
        request: Request,
        next: Next,
    ) -> Response {
        let (doors, asked) = (Arc::clone(&self.doors), asked.clone());
        let change = async move {
            let mut response = next.run(request).await;
            let outcome = match response.status() {
                _ if response.extensions().get::<NothingChanged>().is_some() => None,
                status if status.is_success() => Some(AuditOutcome::Done),
                status if status.is_server_error() => Some(AuditOutcome::Failed),
                // It was wrong or came too late, and nothing was changed.
                _ => None,
            };
            if let Some(outcome) = outcome {
                let entry = entry(&asked, &visitor, outcome, response.headers());
                doors.access.note(entry.clone()).await;
                let things = response.extensions_mut().remove::<ChangedThings>();
                for resource in things.map_or_else(Vec::new, |it| it.0) {
                    let entry = NewAuditEntry {
                        resource,
                        ..entry.clone()
                    };
                    doors.access.note(entry).await;
                }
            }
            response
        };
        self.to_its_end(change).await
    }

    /// Goes on when whoever asked for it goes away.
    async fn to_its_end(&self, work: impl Future<Output = Response> + Send + 'static) -> Response {
        match self.changes.spawn(work).await {
            Ok(response) => response,
            Err(error) => {
                ApiError::internal(format!("the request broke off: {error}")).into_response()
            }
        }
    }

    /// Who asks; nobody where no token is needed.
    fn check(&self, headers: &HeaderMap, asked: &Asked) -> Result<Option<Visitor>, Turned> {
        self.check_host(headers)
            .inspect_err(|_| count(&self.doors.refused.host))?;
        let path = asked.path.as_str();
        let is_open = match path {
            "/healthz" | READINESS | "/openapi.json" | "/" | "/sign-in.js" => true,
            "/metrics" => asked.peer.0.ip().is_loopback(),
            SIGN_IN => asked.method == Method::POST,
            _ => false,
        };
        if is_open {
            return Ok(None);
        }
        let Some(visitor) = self.doors.recognise(headers, asked.peer)? else {
            count(&self.doors.refused.no_token);
            return Err(ApiError::unauthorized(
                "a token is needed: send Authorization: Bearer with the content of <data-dir>/admin-token, or a token of `rulemill token create`",
            )
            .into());
        };
        let needed = permission::needed(&asked.method, path);
        if visitor.role >= needed {
            return Ok(Some(visitor));
        }
        count(&self.doors.refused.role);
        let error = refuse_role(&visitor, needed, asked);
        Err(Turned {
            error,
            visitor: Some(visitor),
        })
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !self.is_ours(host) {
            let names = match &self.doors.tls {
                Some(_) => ", or a name of the certificate",
                None => "",
            };
            return Err(ApiError::forbidden_host(format!(
                "the request is for host {host:?}, which is not this one; use localhost or {}{names}",
                self.doors.listen
            )));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let scheme = match &self.doors.tls {
            Some(_) => "https",
            None => "http",
        };
        if origin.as_bytes() == format!("{scheme}://{host}").as_bytes() {
            Ok(())
        } else {
            Err(ApiError::forbidden_host(
                "the Origin header names a page of another site; ask from a page of this host, or without a browser",
            ))
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => host.split(':').next(),
        };
        let name = name.unwrap_or_default();
        let listen = self.doors.listen.ip();
        // No name can be rebound to an address that is written out.
        let is_ours =
            |address: IpAddr| address.is_loopback() || address == listen || listen.is_unspecified();
        name.eq_ignore_ascii_case("localhost")
            || name.parse().is_ok_and(is_ours)
            || self.doors.tls.as_ref().is_some_and(|tls| tls.is_for(name))
    }
}

fn refuse_role(visitor: &Visitor, needed: Role, asked: &Asked) -> ApiError {
    ApiError::not_allowed(format!(
        "{} {} needs the role {needed}, and {} has the role {}",
        asked.method, asked.path, visitor.actor, visitor.role
    ))
}

#[cfg(test)]
mod tests;
