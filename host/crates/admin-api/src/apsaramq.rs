//! The actions of the ApsaraMQ for MQTT OpenAPI (product `OnsMqtt`, version 2020-04-20) that make sense
//! here, so that its SDKs work with another endpoint and an access key of use `api`.
//!
//! Requests come to `/`, in the RPC style: parameters in the query or in a form. They are signed in
//! one of two ways, by today's SDKs (ACS3-HMAC-SHA256) or the older ones (HMAC-SHA1). Answers and errors have
//! the shape of that API, not of ours.

mod action;
mod call;
mod failure;
mod replay;
mod signature;
mod time_window;

#[cfg(test)]
mod tests;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use domain::{Actor, Clock as _, SystemClock};
use pipeline::control::{AuditOutcome, NewAuditEntry};
use serde_json::Value;
use tokio::time::Instant;

use crate::guard::OwnErrorBody;
use crate::listener::Peer;
use crate::server::Served;
use crate::sign_in;

pub(crate) use replay::Nonces;

use call::{ACTION_HEADER, Call};
use failure::Failure;

/// Bytes of a form: the largest is ten client ids.
const FORM_BYTES_MAX: usize = 64 << 10;

/// Whether a request to `/` means one of these actions; if not it is somebody who looks for a page.
fn is_meant(headers: &HeaderMap, query: Option<&str>) -> bool {
    let names = |pair: &str| pair.starts_with("Action=") || pair.starts_with("Signature=");
    headers.contains_key(ACTION_HEADER) || query.is_some_and(|query| query.split('&').any(names))
}

/// `GET /`: an action, or the page.
pub(crate) async fn act_or_page(
    served: State<Served>,
    peer: ConnectInfo<Peer>,
    request: Request,
) -> Response {
    if is_meant(request.headers(), request.uri().query()) {
        act(served, peer, request).await
    } else {
        sign_in::page()
    }
}

/// Checks the signature, carries the action out.
pub(crate) async fn act(
    State(served): State<Served>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let request_id = call::request_id();
    let host = call::host(request.headers());
    match answer(&served, peer, request, &request_id).await {
        Ok(mut body) => {
            if let Some(body) = body.as_object_mut() {
                body.insert("RequestId".to_owned(), request_id.into());
            }
            let mut response = Json(body).into_response();
            // Nothing of it is true for longer than it takes to read it.
            let value = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, value);
            response
        }
        Err(failure) => {
            let (code, error) = (failure.code(), failure.message());
            tracing::debug!(request_id, code, error, "compatible action refused");
            let mut response = failure.into_response(&request_id, &host);
            response.extensions_mut().insert(OwnErrorBody);
            response
        }
    }
}

async fn answer(
    served: &Served,
    peer: Peer,
    request: Request,
    request_id: &str,
) -> Result<Value, Failure> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| {
        Failure::parameter(format!(
            "The form has more than {FORM_BYTES_MAX} bytes, or was cut off."
        ))
    })?;
    let call = Call::read(&parts, &body)?;
    let access = served.control.access();
    let now_ms = SystemClock.now_ms();
    let verified = signature::verify(
        &call,
        &body,
        |id| access.api_secret(id),
        now_ms,
        &served.nonces,
    );
    let key = match verified {
        Ok(key) => key,
        Err(failure) if failure.is_about_a_secret() => {
            // As with tokens: so many wrong ones are heard, then one a second.
            let charged = served.doors.failures.charge(peer.0.ip(), Instant::now());
            return Err(charged.map_or_else(Failure::too_many, |()| failure));
        }
        Err(failure) => return Err(failure),
    };
    let done = action::carry_out(served, &call).await?;
    // The answer of an action that found nothing to do is a success of HTTP all the same.
    let is_done = done.get("Success") != Some(&Value::Bool(false));
    if is_done && action::changes(call.action()) {
        let entry = NewAuditEntry {
            actor: Actor::access_key(&key),
            peer: peer.0.to_string(),
            method: parts.method.to_string(),
            resource: action::resource(&call),
            outcome: AuditOutcome::Done,
            request_id: request_id.to_owned(),
            revision: None,
        };
        access.note(entry).await;
    }
    Ok(done)
}
