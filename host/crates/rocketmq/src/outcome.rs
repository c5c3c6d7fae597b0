//! Turns what the client library says about a send into what the courier must know.

use std::error::Error;

use domain::{SendError, StoredAs};
use rocketmq_client_rust::{ClientError, MQClientException};
use rocketmq_model::result::SendStatus;

use crate::compatibility::{CompatibilityHook, code};

/// The library's own codes for "no such broker" and "no such topic".
const NO_ROUTE_CODES: [i32; 3] = [code::TOPIC_NOT_EXIST, 10_003, 10_005];

/// All of the library's statuses mean stored.
pub(crate) fn stored_as(status: SendStatus) -> StoredAs {
    match status {
        SendStatus::SendOk => StoredAs::Ok,
        SendStatus::FlushDiskTimeout => StoredAs::FlushDiskTimeout,
        SendStatus::FlushSlaveTimeout => StoredAs::FlushSlaveTimeout,
        SendStatus::SlaveNotAvailable => StoredAs::SlaveNotAvailable,
    }
}

/// Reads an error of a send.
pub(crate) fn send_error(error: &ClientError, hook: &CompatibilityHook) -> SendError {
    let broker_code = error.broker_response_code();
    // The library keeps a broker's words to itself; its own errors have their text.
    let remark = broker_code
        .and_then(|code| hook.last_remark(code))
        .filter(|remark| !remark.is_empty());
    let code = broker_code.or_else(|| {
        error
            .source_ref::<MQClientException>()
            .map(MQClientException::response_code)
    });
    let detail = remark.unwrap_or_else(|| chain(error.shared_error().as_ref()));
    classify(code, detail)
}

fn classify(code: Option<i32>, detail: String) -> SendError {
    match code {
        Some(code::MESSAGE_ILLEGAL) => SendError::Refused { detail },
        Some(code) if NO_ROUTE_CODES.contains(&code) => SendError::NoRoute { detail },
        Some(code::NO_PERMISSION) => SendError::Denied { detail },
        Some(code::SYSTEM_BUSY | code::SERVICE_NOT_AVAILABLE) => SendError::Busy { detail },
        // The library wraps "no route" of the name server into an argument error without a code.
        _ if detail.contains("CODE: 17") || detail.contains("No topic route") => {
            SendError::NoRoute { detail }
        }
        _ => SendError::Transport { detail },
    }
}

/// The error with its causes, without the library's help texts.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(error.to_string().lines().next().unwrap_or_default());
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: Option<i32>, detail: &str) -> &'static str {
        classify(code, detail.to_owned()).kind()
    }

    #[test]
    fn codes_become_what_the_courier_must_do() {
        let cases = [
            (Some(13), "refused"),
            (Some(17), "no_route"),
            (Some(10_003), "no_route"),
            (Some(10_005), "no_route"),
            (Some(16), "denied"),
            (Some(2), "busy"),
            (Some(14), "busy"),
            (Some(1), "transport"),
            (None, "transport"),
        ];
        for (code, wanted) in cases {
            assert_eq!(kind(code, ""), wanted, "{code:?}");
        }
    }

    #[test]
    fn a_missing_route_in_an_argument_error_is_no_route() {
        let error = ClientError::from(MQClientException::new_with_code(17, "No topic route info"));
        let hook = CompatibilityHook::new(None);
        assert_eq!(send_error(&error, &hook).kind(), "no_route");
        assert_eq!(kind(None, "x: CODE: 17  DESC: No topic route"), "no_route");
    }

    #[test]
    fn a_broker_that_does_not_answer_is_a_transport_error() {
        let error = ClientError::timeout("send", 3_000);
        assert_eq!(
            send_error(&error, &CompatibilityHook::new(None)).kind(),
            "transport"
        );
    }
}
