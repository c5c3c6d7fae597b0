//! What every request passes: a request id, the check of `Host` and `Origin`, the token.
//!
//! `Host` must be a loopback name or the listener's own address: a page of a foreign site whose name
//! was rebound to this machine has another one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{debug, error, info};

use crate::api_error::ApiError;
use crate::listener::Peer;
use crate::token::TokenHash;

const REQUEST_ID: &str = "x-request-id";
const READINESS: &str = "/readyz";
/// Random bytes of a request id.
const REQUEST_ID_BYTES: usize = 8;

/// What the checks need.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) listen: SocketAddr,
    pub(crate) token: TokenHash,
}

/// The checks, then the handler, then the error's body.
pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let request_id = request_id();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match guard.check(request.headers(), &path, peer) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let failure = response
            .extensions_mut()
            .remove::<ApiError>()
            .unwrap_or_else(|| ApiError::of_status(status));
        let allow = response.headers_mut().remove(header::ALLOW);
        response = failure.body(&request_id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        // A probe comes every few seconds: that the host is not ready is its answer, and logged where it begins.
        if status.is_server_error() && path != READINESS {
            error!(request_id, %method, path, code = failure.code(), error = failure.message(), "request failed");
        } else {
            debug!(request_id, %method, path, code = failure.code(), error = failure.message(), "request refused");
        }
    } else if matches!(method, Method::GET | Method::HEAD) {
        debug!(request_id, %method, path, "request answered");
    } else {
        // An operator's action.
        info!(request_id, %method, path, status = status.as_u16(), "request carried out");
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
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

impl Guard {
    fn check(&self, headers: &HeaderMap, path: &str, peer: Peer) -> Result<(), ApiError> {
        self.check_host(headers)?;
        let is_open = match path {
            "/healthz" | READINESS => true,
            "/metrics" => peer.0.ip().is_loopback(),
            _ => false,
        };
        if is_open || self.has_token(headers) {
            return Ok(());
        }
        Err(ApiError::unauthorized(
            "a token is needed: send Authorization: Bearer with the content of <data-dir>/admin-token",
        ))
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !self.is_ours(host) {
            return Err(ApiError::forbidden_host(format!(
                "the request is for host {host:?}, which is not this one; use localhost or {}",
                self.listen
            )));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        if origin.as_bytes() == format!("http://{host}").as_bytes() {
            Ok(())
        } else {
            Err(ApiError::forbidden_host(
                "requests from pages of other sites are not allowed",
            ))
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => host.split(':').next(),
        };
        let name = name.unwrap_or_default();
        name.eq_ignore_ascii_case("localhost")
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback() || address == self.listen.ip())
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = value.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && self.token.matches(token.trim())
    }
}

#[cfg(test)]
mod tests;
