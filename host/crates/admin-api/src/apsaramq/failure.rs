//! Errors in the shape of that API: `{"RequestId","HostId","Code","Message"}`, codes of its documentation.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use pipeline::control::{ControlCode, ControlError};
use serde_json::json;

/// Why an action was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    /// A parameter is missing or wrong.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ParameterCheckFailed", message)
    }

    /// The action is of that API, but not here.
    pub(crate) fn not_supported(action: &str) -> Self {
        let message = format!("Rulemill does not have the action {action}.");
        Self::new(StatusCode::NOT_FOUND, "ApiNotSupport", message)
    }

    /// There is no such action.
    pub(crate) fn no_action(action: &str) -> Self {
        let message = format!(
            "There is no action {action:?} in version 2020-04-20 of OnsMqtt; names are written as in its documentation."
        );
        Self::new(StatusCode::NOT_FOUND, "InvalidAction.NotFound", message)
    }

    /// Another version of the API.
    pub(crate) fn version(version: &str) -> Self {
        let message = format!("The version {version:?} is not served; it is 2020-04-20.");
        Self::new(StatusCode::BAD_REQUEST, "InvalidVersion", message)
    }

    /// The access key is not known, or opens MQTT only.
    pub(crate) fn access_key() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "InvalidAccessKeyId.NotFound",
            "There is no such access key of use api; add one with `rulemill access-key add ID --use api`.",
        )
    }

    /// Part of the signature is missing or has the wrong form.
    pub(crate) fn incomplete_signature(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "IncompleteSignature", message)
    }

    /// The signature is another one.
    pub(crate) fn signature(string_to_sign: &str) -> Self {
        let message = format!(
            "The signature is not that of the request. The server's string to sign is: {string_to_sign}"
        );
        Self::new(StatusCode::BAD_REQUEST, "SignatureDoesNotMatch", message)
    }

    /// The time of the request is too far from the host's.
    pub(crate) fn timestamp(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidTimeStamp.Expired", message)
    }

    /// The same request came before.
    pub(crate) fn nonce() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "SignatureNonceUsed",
            "The nonce was used before; a repeated request needs a nonce of its own.",
        )
    }

    /// Too many failed attempts came from where this one came from.
    pub(crate) fn too_many(wait: Duration) -> Self {
        let message = format!(
            "Too many requests with a wrong signature came from this address; try again in {} s.",
            wait.as_secs().max(1)
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Throttling", message)
    }

    /// Whether somebody may be guessing.
    pub(crate) fn is_about_a_secret(&self) -> bool {
        matches!(
            self.code,
            "SignatureDoesNotMatch" | "InvalidAccessKeyId.NotFound"
        )
    }

    /// Too many requests wait to be forgotten.
    pub(crate) fn throttled() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "SystemOverFlow",
            "More nonces came within the time window than the host keeps; try again later.",
        )
    }

    /// Another instance.
    pub(crate) fn instance(asked: &str, ours: &str) -> Self {
        let message = format!("There is no instance {asked:?} here; this host is {ours}.");
        Self::new(StatusCode::BAD_REQUEST, "InstanceNotFound", message)
    }

    /// What the control side refused.
    pub(crate) fn control(error: &ControlError) -> Self {
        let code = match error.code {
            ControlCode::GroupExists => "GroupIdAlreadyExsited",
            ControlCode::GroupNotFound | ControlCode::GroupInUse => "PermissionCheckFailed",
            ControlCode::StoreFailed => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return Self::new(status, "InternalError", error.message.clone());
            }
            _ => "ParameterCheckFailed",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.message.clone())
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_response(self, request_id: &str, host: &str) -> Response {
        let body = json!({
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
        });
        (self.status, Json(body)).into_response()
    }
}
