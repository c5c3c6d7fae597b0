//! Reads the JSON of RocketMQ 4.x servers, whose serialiser leaves numeric keys unquoted (`{0:"…"}`).

use std::str::Utf8Error;

use serde_json::Value;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseBodyError {
    #[error("the body is not UTF-8")]
    NotUtf8(#[source] Utf8Error),
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the body lacks what it should have")]
    WrongShape(#[source] serde_json::Error),
}

/// Parses `body`, with its numeric keys quoted if it is not valid JSON without.
pub(crate) fn parse(body: &[u8]) -> Result<Value, ParseBodyError> {
    let text = std::str::from_utf8(body).map_err(ParseBodyError::NotUtf8)?;
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&quote_numeric_keys(text)))
        .map_err(ParseBodyError::NotJson)
}

/// Parses `body` into `T`.
pub(crate) fn parse_into<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ParseBodyError> {
    serde_json::from_value(parse(body)?).map_err(ParseBodyError::WrongShape)
}

fn quote_numeric_keys(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    let (mut in_string, mut escaped, mut key_may_start) = (false, false, false);
    while let Some(c) = chars.next() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            quoted.push(c);
        } else if key_may_start && (c.is_ascii_digit() || c == '-') {
            let mut number = String::from(c);
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                number.push(digit);
            }
            // A number in an array follows a comma, too; only a key is followed by a colon.
            if chars.peek() == Some(&':') {
                number = format!("\"{number}\"");
            }
            quoted.push_str(&number);
            key_may_start = false;
        } else {
            in_string = c == '"';
            key_may_start = match c {
                '{' | ',' => true,
                c if c.is_whitespace() => key_may_start,
                _ => false,
            };
            quoted.push(c);
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numeric_keys_are_quoted() {
        let text = r#"{0:"a,1:b", -1 :"x", 12:{3:[1,2]},"k":"\"{4:5"}"#;
        let wanted = r#"{"0":"a,1:b", -1 :"x", "12":{"3":[1,2]},"k":"\"{4:5"}"#;
        assert_eq!(quote_numeric_keys(text), wanted);
    }

    #[test]
    fn a_body_that_is_neither_is_refused() {
        assert!(matches!(parse(b"{0"), Err(ParseBodyError::NotJson(_))));
        assert!(matches!(parse(&[0xff]), Err(ParseBodyError::NotUtf8(_))));
    }
}
