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
        /// The codes beside those of the control side.
        #[cfg(test)]
        pub(crate) const OWN_CODES: &[(&str, StatusCode)] = &[$(($text, StatusCode::$status),)*];

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
    invalid_if_match = "invalid_if_match", BAD_REQUEST;
    invalid_page_token = "invalid_page_token", UNPROCESSABLE_ENTITY;
    invalid_selection = "invalid_selection", UNPROCESSABLE_ENTITY;
    unauthorized = "unauthorized", UNAUTHORIZED;
    invalid_sign_in_code = "invalid_sign_in_code", UNAUTHORIZED;
    not_allowed = "not_allowed", FORBIDDEN;
    too_many_failures = "too_many_failures", TOO_MANY_REQUESTS;
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

    /// Each of its problems in one line; without a list of them, itself.
    pub(crate) fn problems(&self) -> Vec<String> {
        let line = |problem: &Value| {
            let text = |name: &str| {
                problem
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let (subject, message, code) = (text("subject"), text("message"), text("code"));
            match subject {
                "" => format!("{message} ({code})"),
                subject => format!("{subject}: {message} ({code})"),
            }
        };
        match self.more.get("problems").and_then(Value::as_array) {
            Some(problems) => problems.iter().map(line).collect(),
            None => vec![format!("{} ({})", self.message, self.code)],
        }
    }

    /// A number of its own in the body.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.more.get(name)?.as_u64()
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
            ControlErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
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
            ) => Self::topic_not_found(format!("{text}; correct its name, or create it")),
            ReadTopicError::Route(RouteError::Denied { .. }) => {
                let remedy = "check what the access key of the instance may do with the topic";
                Self::of(ControlCode::RocketmqDenied, format!("{text}; {remedy}"))
            }
            ReadTopicError::Route(RouteError::Unreachable { .. })
            | ReadTopicError::Broker { .. } => {
                let remedy = "start it, or correct name-servers";
                Self::of(
                    ControlCode::RocketmqUnreachable,
                    format!("{text}; {remedy}"),
                )
            }
        }
    }
}
