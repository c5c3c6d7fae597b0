//! What handlers take out of a request: JSON bodies, queries, names in the path. Each has a limit and
//! answers with an error of ours.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use domain::Actor;
use pipeline::control::ControlCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api_error::ApiError;
use crate::strict_json;

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
            ApiError::payload_too_large(format!(
                "the body has more than {JSON_BYTES_MAX} bytes, the most that this takes; send less"
            ))
        };
        let bytes = read_body(request, JSON_BYTES_MAX, too_large).await?;
        parse_json(&bytes).map(Self)
    }
}

/// Broken JSON is `invalid_json`; JSON that is no `T` is so, too.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    read_json(bytes).map_err(|error| {
        let hint = if bytes.is_empty() {
            "the body is empty"
        } else {
            "the body is not as expected"
        };
        ApiError::invalid_json(format!("{hint}: {error}"))
    })
}

/// A whole number may be written `3.0`: in JSON that is the same, and some writers know floats only.
fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    // First as it stands, so that an error has its line and column.
    let read = serde_json::from_slice::<T>(bytes);
    let mut value = serde_json::from_slice::<Value>(bytes)?;
    match read {
        Ok(_) => strict_json::from_value(&value),
        Err(error) if make_whole(&mut value) => strict_json::from_value(&value).or(Err(error)),
        Err(error) => Err(error),
    }
}

/// Turns floats without a fraction into integers; returns whether there were any.
pub(crate) fn make_whole(value: &mut Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|it| it.fract() == 0.0);
            let whole = whole.and_then(|it| format!("{it:.0}").parse::<u64>().ok());
            whole.is_some_and(|whole| {
                *value = whole.into();
                true
            })
        }
        Value::Array(items) => make_all_whole(items.iter_mut()),
        Value::Object(fields) => make_all_whole(fields.values_mut()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn make_all_whole<'a>(values: impl Iterator<Item = &'a mut Value>) -> bool {
    let mut were_any = false;
    for value in values {
        // Each is turned, whatever the one before was.
        were_any |= make_whole(value);
    }
    were_any
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
        Err(_) => Err(ApiError::request_timeout(format!(
            "the body did not come within {} s; send it again",
            BODY_TIMEOUT.as_secs()
        ))),
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
        if text.is_empty() {
            // Whoever meant to send one must not overwrite what it has not seen.
            return Err(ApiError::of(
                ControlCode::StaleRevision,
                "If-Match is empty; send the rule's ETag, such as \"3\", or leave the header out",
            ));
        }
        let tag = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let Some(tag) = tag.filter(|tag| !tag.contains('"')) else {
            return Err(ApiError::invalid_if_match(format!(
                "If-Match is {text:?}; it must be the rule's ETag with its double quotes, such as \"3\", or *"
            )));
        };
        match tag.parse() {
            Ok(revision) => Ok(Self(Some(revision))),
            // An ETag that this server never gave cannot be the present one.
            Err(_) => Err(ApiError::of(
                ControlCode::StaleRevision,
                format!(
                    "If-Match is {text:?}, which no rule ever had; send the rule's ETag, such as \"3\""
                ),
            )),
        }
    }
}

/// Who sent the request.
pub(crate) struct By(pub(crate) Actor);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // The guard lets nobody through whom it does not know.
        let actor = parts.extensions.get::<Actor>().cloned();
        actor
            .map(Self)
            .ok_or_else(|| ApiError::internal("the request has no sender"))
    }
}

#[cfg(test)]
mod tests {
    use super::read_json;

    #[test]
    fn a_whole_number_may_be_written_as_a_float() {
        assert_eq!(
            read_json::<Vec<u64>>(b"[1, 2.0, 1e3]").unwrap(),
            [1, 2, 1000]
        );
        assert!(read_json::<Vec<u64>>(b"[1.5]").is_err());
        assert!(read_json::<Vec<u64>>(b"[-1.0]").is_err());
        let error = read_json::<Vec<u64>>(b"[1.0,\n\"x\"]").unwrap_err();
        assert_eq!(error.line(), 1);
    }
}
