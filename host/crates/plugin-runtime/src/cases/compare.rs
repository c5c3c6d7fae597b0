//! Whether an answer is what a case says. Only the fields that a case names are compared.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Mapping, OutboundMessage, RejectEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, Case};

/// What a difference shows of each side, characters.
const SHOWN_CHARS_MAX: usize = 400;
/// The same of a fault, whose remedy is at its end.
const FAULT_CHARS_MAX: usize = 1500;

/// A message as a case describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectedMessage {
    /// The tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// All keys in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// Properties that it has, among others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// The body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as JSON: compared as values, not as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_json: Option<Value>,
    /// The body as Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

impl ExpectedMessage {
    /// Describes `message` completely: what a case says after an update.
    #[must_use]
    pub fn of(message: &OutboundMessage) -> Self {
        let text = String::from_utf8(message.body.clone()).ok();
        let json = text
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .filter(|value: &Value| value.is_object() || value.is_array());
        let is_json = json.is_some();
        let is_text = text.is_some();
        Self {
            tag: message.tag.clone(),
            keys: Some(message.keys.clone()),
            properties: message.properties.iter().cloned().collect(),
            body_json: json,
            body: text.filter(|_| !is_json),
            body_base64: (!is_text).then(|| STANDARD.encode(&message.body)),
        }
    }
}

/// One difference between a case and an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where.
    pub place: String,
    /// What the case says.
    pub expected: String,
    /// What the plugin did.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            expected,
            found,
        } = self;
        write!(f, "{place}: expected {expected}, got {found}")
    }
}

fn mismatch(
    place: impl Into<String>,
    expected: impl AsRef<str>,
    found: impl AsRef<str>,
) -> Mismatch {
    Mismatch {
        place: place.into(),
        expected: shown(expected.as_ref(), SHOWN_CHARS_MAX),
        found: shown(found.as_ref(), SHOWN_CHARS_MAX),
    }
}

fn shown(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

pub(super) fn compare(case: &Case, answer: &Answer) -> Vec<Mismatch> {
    let expected = expected_outcome(case);
    match (answer, case) {
        (Answer::Mapped(Mapping::Deliver(messages)), case) if !case.message.is_empty() => {
            compare_messages(&case.message, messages)
        }
        (answer, _) => {
            let found = outcome(answer);
            if found == expected {
                return Vec::new();
            }
            let chars_max = match answer {
                Answer::Fault(_) => FAULT_CHARS_MAX,
                _ => SHOWN_CHARS_MAX,
            };
            vec![Mismatch {
                found: shown(&found, chars_max),
                ..mismatch("outcome", expected, "")
            }]
        }
    }
}

fn expected_outcome(case: &Case) -> String {
    match case {
        Case {
            rejected: Some(reason),
            ..
        } => format!("rejected: {reason}"),
        Case {
            retry: Some(reason),
            ..
        } => format!("retry: {reason}"),
        Case {
            config_refused: Some(reason),
            ..
        } => format!("configuration refused: {reason}"),
        Case { skipped: true, .. } => "skipped".to_owned(),
        case => count(case.message.len()),
    }
}

fn outcome(answer: &Answer) -> String {
    match answer {
        Answer::Mapped(Mapping::Deliver(messages)) if messages.is_empty() => "skipped".to_owned(),
        Answer::Mapped(Mapping::Deliver(messages)) => count(messages.len()),
        Answer::Mapped(Mapping::Reject(RejectEvent::Rejected(reason))) => {
            format!("rejected: {reason}")
        }
        Answer::Mapped(Mapping::Reject(RejectEvent::Retry(reason))) => format!("retry: {reason}"),
        Answer::ConfigRefused(reason) => format!("configuration refused: {reason}"),
        Answer::Fault(fault) => format!("a fault: {fault}"),
    }
}

fn count(messages: usize) -> String {
    match messages {
        1 => "1 message".to_owned(),
        many => format!("{many} messages"),
    }
}

fn compare_messages(expected: &[ExpectedMessage], found: &[OutboundMessage]) -> Vec<Mismatch> {
    if expected.len() != found.len() {
        return vec![mismatch(
            "outcome",
            count(expected.len()),
            count(found.len()),
        )];
    }
    let mut all = Vec::new();
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let place = |field: &str| format!("message {}, {field}", index + 1);
        compare_message(expected, found, &place, &mut all);
    }
    all
}

fn compare_message(
    expected: &ExpectedMessage,
    found: &OutboundMessage,
    place: &dyn Fn(&str) -> String,
    all: &mut Vec<Mismatch>,
) {
    if let Some(tag) = &expected.tag
        && found.tag.as_ref() != Some(tag)
    {
        let found = found.tag.as_deref().unwrap_or("none");
        all.push(mismatch(place("tag"), tag, found));
    }
    if let Some(keys) = &expected.keys
        && *keys != found.keys
    {
        all.push(mismatch(
            place("keys"),
            format!("{keys:?}"),
            format!("{:?}", found.keys),
        ));
    }
    for (name, value) in &expected.properties {
        let actual = found.properties.iter().find(|(it, _)| it == name);
        let actual = actual.map(|(_, value)| value.as_str());
        if actual != Some(value) {
            let place = place(&format!("property {name}"));
            all.push(mismatch(place, value, actual.unwrap_or("none")));
        }
    }
    let text = String::from_utf8_lossy(&found.body);
    if let Some(body) = &expected.body
        && body.as_bytes() != found.body.as_slice()
    {
        all.push(mismatch(place("body"), body, &text));
    }
    if let Some(json) = &expected.body_json {
        match serde_json::from_slice::<Value>(&found.body) {
            Ok(actual) if actual == *json => {}
            Ok(actual) => all.push(mismatch(
                place("body-json"),
                json.to_string(),
                actual.to_string(),
            )),
            Err(_) => all.push(mismatch(place("body-json"), json.to_string(), &text)),
        }
    }
    if let Some(base64) = &expected.body_base64 {
        let actual = STANDARD.encode(&found.body);
        if actual != *base64 {
            all.push(mismatch(place("body-base64"), base64, actual));
        }
    }
}
