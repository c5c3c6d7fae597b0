//! A JSON body that holds a secret: what is wrong with it is said by place, never by quoting it.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::api_error::ApiError;
use crate::extract::read_body;

/// Names, roles and secrets of a few kilobytes.
const BYTES_MAX: usize = 16 * 1024;

/// The JSON body as `T`.
pub(crate) struct SecretBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for SecretBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let too_large = || {
            ApiError::payload_too_large(format!(
                "the body has more than {BYTES_MAX} bytes, the most that this takes; send less"
            ))
        };
        let bytes = Zeroizing::new(read_body(request, BYTES_MAX, too_large).await?);
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(ApiError::invalid_json(
                "the body is not as expected: an array stands where an object belongs".to_owned(),
            ));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let problem = match error.classify() {
                Category::Eof => "it ends too early",
                Category::Syntax | Category::Io => "it is no JSON",
                Category::Data => "a field is missing, unknown or of the wrong type",
            };
            ApiError::invalid_json(format!(
                "the body is not as expected: {problem} (line {}, column {})",
                error.line(),
                error.column()
            ))
        })
    }
}
