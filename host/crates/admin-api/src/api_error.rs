//! The one place where a failure becomes an HTTP answer: `{"code","message","details","requestId"}`.
//!
//! A handler answers with the error itself in the response's extensions; the guard, which knows the
//! request id, writes the body. So no handler needs the id.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{ParseNameError, ReadTopicError, RouteError};
use pipeline::control::{ControlCode, ControlError, ControlErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// From a closed set.
    code: &'static str,
    /// For people: cause and remedy, in one line.
    message: String,
    /// Fields of the body beside those of every failure.
    more: Map<String, Value>,
}

/// The body; the order of its fields is the documented one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorOut<'a> {
    code: &'static str,
    message: &'a str,
    /// Nothing has details yet; the field is there so that readers may rely on it.
    details: Map<String, Value>,
    request_id: &'a str,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident;)*) => {
        impl ApiError {
            $($(#[$doc])* pub(crate) fn $name(message: impl Into<String>) -> Self {
                Self { status: StatusCode::$status, code: $text, message: message.into(), more: Map::new() }
            })*
        }
    };
}

// The codes beside those of the control side.
constructors! {
    invalid_json = "invalid_json", BAD_REQUEST;
    invalid_query = "invalid_query", BAD_REQUEST;
    invalid_path = "invalid_path", BAD_REQUEST;
    unauthorized = "unauthorized", UNAUTHORIZED;
    forbidden_host = "forbidden_host", FORBIDDEN;
    not_found = "not_found", NOT_FOUND;
    method_not_allowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    request_timeout = "request_timeout", REQUEST_TIMEOUT;
    payload_too_large = "payload_too_large", PAYLOAD_TOO_LARGE;
    unsupported_media_type = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    not_ready = "not_ready", SERVICE_UNAVAILABLE;
    client_not_found = "client_not_found", NOT_FOUND;
    invalid_client_id = "invalid_client_id", UNPROCESSABLE_ENTITY;
    instance_not_found = "instance_not_found", NOT_FOUND;
    invalid_topic = "invalid_topic", UNPROCESSABLE_ENTITY;
    invalid_queue = "invalid_queue", UNPROCESSABLE_ENTITY;
    internal = "internal", INTERNAL_SERVER_ERROR;
}

impl ApiError {
    /// The topic of the path does not exist. A rule's missing topic is [`ControlCode::TopicNotFound`].
    pub(crate) fn topic_not_found(message: impl Into<String>) -> Self {
        let code = ControlCode::TopicNotFound.as_str();
        Self {
            status: StatusCode::NOT_FOUND,
            code,
            message: message.into(),
            more: Map::new(),
        }
    }

    /// A code of the control side for what was found wrong before asking it.
    pub(crate) fn of(code: ControlCode, message: impl Into<String>) -> Self {
        ControlError::new(code, message).into()
    }

    /// A name of the request that is none.
    pub(crate) fn name(code: ControlCode, field: &str, error: &ParseNameError) -> Self {
        Self::of(code, format!("{field}: {error}"))
    }

    /// The answer of a response that has an error status and no error of ours.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let code = if status.is_server_error() {
            "internal"
        } else {
            "invalid_request"
        };
        let message = status
            .canonical_reason()
            .unwrap_or("the request failed")
            .to_ascii_lowercase();
        Self {
            status,
            code,
            message,
            more: Map::new(),
        }
    }

    /// The same with fields of its own in the body.
    pub(crate) fn with(self, more: Map<String, Value>) -> Self {
        Self { more, ..self }
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The body with its request id.
    pub(crate) fn body(&self, request_id: &str) -> Response {
        let body = ErrorOut {
            code: self.code,
            message: &self.message,
            details: Map::new(),
            request_id,
            more: &self.more,
        };
        (self.status, Json(body)).into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let status = match error.code.kind() {
            ControlErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ControlErrorKind::NotFound => StatusCode::NOT_FOUND,
            ControlErrorKind::Conflict => StatusCode::CONFLICT,
            ControlErrorKind::Stale => StatusCode::PRECONDITION_FAILED,
            ControlErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            code: error.code.as_str(),
            message: error.message,
            more: Map::new(),
        }
    }
}

impl From<ReadTopicError> for ApiError {
    fn from(error: ReadTopicError) -> Self {
        let text = error.to_string();
        match error {
            ReadTopicError::Route(
                RouteError::TopicNotFound { .. } | RouteError::NoWritableQueue { .. },
            ) => Self::topic_not_found(text),
            ReadTopicError::Route(RouteError::Denied { .. }) => {
                Self::of(ControlCode::RocketmqDenied, text)
            }
            ReadTopicError::Route(RouteError::Unreachable { .. })
            | ReadTopicError::Broker { .. } => Self::of(ControlCode::RocketmqUnreachable, text),
        }
    }
}
