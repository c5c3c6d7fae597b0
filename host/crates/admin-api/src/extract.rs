//! What handlers take out of a request: JSON bodies, queries, names in the path. Each has a limit and
//! answers with an error of ours.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use pipeline::control::ControlCode;
use serde::de::DeserializeOwned;

use crate::api_error::ApiError;

/// A rule with a large configuration takes a hundredth of it.
pub(crate) const JSON_BYTES_MAX: usize = 1024 * 1024;
/// A body must be here by then, so that a stuck sender does not keep its place.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The JSON body as `T`.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let too_large = || {
            ApiError::payload_too_large(format!("the body has more than {JSON_BYTES_MAX} bytes"))
        };
        let bytes = read_body(request, JSON_BYTES_MAX, too_large).await?;
        parse_json(&bytes).map(Self)
    }
}

/// Broken JSON is `invalid_json`; JSON that is no `T` is so, too.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let hint = if bytes.is_empty() {
            "the body is empty"
        } else {
            "the body is not as expected"
        };
        ApiError::invalid_json(format!("{hint}: {error}"))
    })
}

/// The whole body, at most `bytes_max`.
pub(crate) async fn read_body(
    request: Request,
    bytes_max: usize,
    too_large: impl Fn() -> ApiError,
) -> Result<Vec<u8>, ApiError> {
    // Asked first: a client that waits for `100 Continue` then sends nothing in vain.
    if content_length(request.headers()).is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        // Axum's limit and a broken connection look alike; nobody reads the answer of the latter.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(ApiError::request_timeout("the body did not come in time")),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The query as `T`.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => Err(ApiError::invalid_query(error.body_text())),
        }
    }
}

/// Names in the path, percent-decoded.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(error) => Err(ApiError::invalid_path(error.body_text())),
        }
    }
}

/// The revision that `If-Match` wants; `None` if anything goes.
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let revision = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|number| number.parse().ok());
        match revision {
            Some(revision) => Ok(Self(Some(revision))),
            // An ETag that this server never gave cannot be the present one.
            None => Err(ApiError::of(
                ControlCode::StaleRevision,
                format!(
                    "If-Match is {text:?}, which no rule ever had; send the rule's ETag, such as \"3\""
                ),
            )),
        }
    }
}
