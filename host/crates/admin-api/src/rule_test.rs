//! `/v1/rules/{ruleId}/sample` and `/test`: what became of events, and what would become of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{ErrorChain, OutboundMessage};
use pipeline::control::{
    ControlCode, DryRun, DryRunEvent, DryRunOutcome, EventIn, GuestLine, Sample, SampleOutcome,
    SampledMessage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api_error::ApiError;
use crate::dead_letters::EventOut;
use crate::extract::{JsonBody, Path, Query};
use crate::messages::PropertiesOut;
use crate::openapi::words;
use crate::page::{Page, PageQuery};
use crate::rule_in::parse_rule_id;
use crate::server::Served;
use crate::strict_json;

/// An event with what became of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Sample)]
pub(crate) struct SampleOut {
    /// For `test`: 1 is the last event.
    number: usize,
    event: EventOut,
    /// `delivered`, `skipped`, `buried` or `retried`.
    #[schema(value_type = words::SampleOutcomeWord)]
    outcome: &'static str,
    /// The first of its messages.
    messages: Vec<SampledMessageOut>,
    /// Of all its messages.
    message_count: usize,
    /// Why, if it was not delivered.
    reason: Option<String>,
    /// How the plugin failed on it, if it did.
    fault: Option<String>,
    /// Of the plugin that mapped it.
    plugin_version: Option<u32>,
    /// UNIX milliseconds.
    #[schema(value_type = words::TimeMs)]
    at: u64,
}

/// The beginning of a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SampledMessage)]
struct SampledMessageOut {
    tag: Option<String>,
    keys: Vec<String>,
    /// If it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// If it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Of the whole body.
    body_bytes: usize,
}

impl From<SampledMessage> for SampledMessageOut {
    fn from(message: SampledMessage) -> Self {
        let (body, body_base64) = body(message.body, message.body_bytes);
        Self {
            tag: message.tag,
            keys: message.keys,
            body,
            body_base64,
            body_bytes: message.body_bytes,
        }
    }
}

/// A body as text, else in Base64. One that was cut may end within a character.
fn body(bytes: Vec<u8>, whole_bytes: usize) -> (Option<String>, Option<String>) {
    match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => {
            let (valid, bytes) = (error.utf8_error(), error.into_bytes());
            let is_cut = bytes.len() < whole_bytes && valid.error_len().is_none();
            let text = bytes.get(..valid.valid_up_to()).map(<[u8]>::to_vec);
            match text.and_then(|text| String::from_utf8(text).ok()) {
                Some(text) if is_cut => (Some(text), None),
                _ => (None, Some(STANDARD.encode(bytes))),
            }
        }
    }
}

#[utoipa::path(
    get, path = "/v1/rules/{ruleId}/sample", tag = "Rules", operation_id = "listRuleSamples",
    summary = "The last events of a rule with what they became, newest first",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule"), PageQuery),
    responses((status = 200, description = "All in one page: a ring that moves has no second one", body = Page<SampleOut>)),
    extensions(("x-errors" = json!(["invalid_rule_id", "rule_not_found", "invalid_page_token"]))),
)]
pub(crate) async fn sample(
    State(served): State<Served>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SampleOut>>, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let request = query.request()?;
    if served.control.rule(&id).is_none() {
        return Err(ApiError::of(
            ControlCode::RuleNotFound,
            format!("there is no rule {id}; see `rulemill rule list`"),
        ));
    }
    let samples = served.control.samples(&id);
    let total = samples.len();
    let numbered = (1..).zip(samples).take(request.limit);
    let items = numbered.map(|(number, sample)| sample_out(number, sample, &served));
    // A ring that moves has no second page.
    Ok(Json(Page::new(items.collect(), None, total)))
}

fn sample_out(number: usize, sample: Sample, served: &Served) -> SampleOut {
    let outcome = sample.outcome.as_str();
    let (messages, message_count, reason) = match sample.outcome {
        SampleOutcome::Delivered { messages, count } => (messages, count, None),
        SampleOutcome::Skipped { reason } => (Vec::new(), 0, reason),
        SampleOutcome::Buried { reason, detail } => (
            Vec::new(),
            0,
            Some(format!("{}: {detail}", reason.as_str())),
        ),
        SampleOutcome::Retried { reason } => (Vec::new(), 0, Some(reason)),
    };
    SampleOut {
        number,
        event: EventOut::of(&sample.event, &served.node, &served.instance),
        outcome,
        messages: messages.into_iter().map(Into::into).collect(),
        message_count,
        reason,
        fault: sample.fault,
        plugin_version: sample.plugin_version,
        at: sample.at_ms,
    }
}

/// [`EventIn`] as a schema.
#[derive(utoipa::ToSchema)]
#[schema(as = StatusEventRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "describes a type of another crate")]
struct EventGiven {
    /// `connect` if left out.
    #[schema(value_type = words::EventTypeWord, required = false)]
    event_type: Option<String>,
    /// `GID_Example@@@device-1` if left out.
    #[schema(value_type = words::ClientIdText, required = false)]
    client_id: Option<String>,
    /// The part of the client id before `@@@`; may be said, and must fit then.
    group_id: Option<String>,
    /// 32 hex characters; zeros if left out.
    channel_id: Option<String>,
    /// `address:port`.
    client_ip: Option<String>,
    /// UNIX milliseconds; the start of 2026 if left out.
    #[schema(value_type = words::TimeMs, required = false)]
    time: Option<u64>,
    /// 1 if left out.
    #[schema(value_type = words::SequenceNumber, required = false)]
    sequence: Option<u64>,
    /// 32 hex characters; zeros if left out.
    event_id: Option<String>,
    /// Why the connection ended; nothing on a `connect`.
    #[schema(value_type = words::CloseReasonWord, required = false)]
    reason: Option<String>,
    /// As an event shows them; `node` and `instance` are the host's own.
    #[schema(required = false)]
    attributes: std::collections::BTreeMap<String, String>,
}

/// The event to try: one as the API shows it, or the number of a sample.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RuleTest)]
pub(crate) struct TestIn {
    /// An event as the API shows it; what is left out gets a fixed value. Either this or `sample`.
    #[schema(value_type = Option<EventGiven>)]
    event: Option<Value>,
    /// The number of a sampled event; 1 is the last. Either this or `event`.
    #[schema(minimum = 1, maximum = 1000)]
    sample: Option<usize>,
}

impl TestIn {
    fn event(self) -> Result<DryRunEvent, ApiError> {
        let wrong = |message: String| ApiError::of(ControlCode::InvalidEvent, message);
        let mut event = match (self.event, self.sample) {
            (Some(event), None) => event,
            (None, Some(number)) => return Ok(DryRunEvent::Sampled(number)),
            (Some(_), Some(_)) | (None, None) => {
                return Err(wrong(
                    "say either event, such as {\"eventType\": \"connect\"}, or sample, such as 1 for the last event"
                        .to_owned(),
                ));
            }
        };
        // What the host adds by itself, so that a shown event can be tried as it is.
        if let Some(Value::Object(attributes)) = event.pointer_mut("/attributes") {
            attributes.remove("node");
            attributes.remove("instance");
        }
        let event: EventIn =
            strict_json::from_value(&event).map_err(|error| wrong(format!("event: {error}")))?;
        let event = event
            .read()
            .map_err(|error| wrong(format!("event.{}", ErrorChain(&error))))?;
        Ok(DryRunEvent::Given(Arc::new(event)))
    }
}

/// What would become of an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleTestResult)]
pub(crate) struct TestOut {
    event: EventOut,
    /// `mapped`, `skipped`, `rejected`, `retry`, `configRefused` or `fault`.
    #[schema(value_type = words::TestOutcomeWord)]
    outcome: &'static str,
    messages: Vec<TriedMessageOut>,
    /// Why, if it was not mapped.
    reason: Option<String>,
    /// The kind of fault, if it is one.
    fault: Option<&'static str>,
    logs: Vec<LogOut>,
    /// Lines beyond those that are shown.
    logs_dropped: u64,
    /// The plugin's call, microseconds.
    time_us: u64,
    /// The most linear memory that the instance had.
    memory_bytes: u64,
    /// Of the plugin that was tried.
    plugin_version: u32,
    #[schema(value_type = words::PluginDigestText)]
    plugin_digest: String,
}

/// A message that would be sent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TriedMessage)]
struct TriedMessageOut {
    topic: String,
    tag: Option<String>,
    keys: Vec<String>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    properties: PropertiesOut,
    /// If it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// If it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl TriedMessageOut {
    fn of(topic: &str, message: OutboundMessage) -> Self {
        let bytes = message.body.len();
        let (body, body_base64) = body(message.body, bytes);
        Self {
            topic: topic.to_owned(),
            tag: message.tag,
            keys: message.keys,
            properties: PropertiesOut(message.properties),
            body,
            body_base64,
        }
    }
}

/// A line that the plugin logged.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = GuestLog)]
struct LogOut {
    level: &'static str,
    text: String,
}

impl From<GuestLine> for LogOut {
    fn from(line: GuestLine) -> Self {
        Self {
            level: line.level,
            text: line.text,
        }
    }
}

#[utoipa::path(
    post, path = "/v1/rules/{ruleId}/test", tag = "Rules", operation_id = "testRule",
    summary = "Maps an event; nothing is sent",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule")),
    request_body(content = TestIn),
    responses((status = 200, description = "What would become of it", body = TestOut)),
    extensions(("x-errors" = json!(["invalid_rule_id", "rule_not_found", "invalid_event", "sample_not_found", "data_rule_held", "@load"]))),
)]
pub(crate) async fn test(
    State(served): State<Served>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<TestIn>,
) -> Result<Json<TestOut>, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let run = served.control.dry_run(&id, body.event()?).await?;
    Ok(Json(test_out(run, &served)))
}

fn test_out(run: DryRun, served: &Served) -> TestOut {
    let (mut messages, mut reason, mut fault) = (Vec::new(), None, None);
    let outcome = match run.outcome {
        DryRunOutcome::Mapped(mapped) if mapped.is_empty() => "skipped",
        DryRunOutcome::Mapped(mapped) => {
            messages = mapped;
            "mapped"
        }
        DryRunOutcome::Rejected(text) => {
            reason = Some(text);
            "rejected"
        }
        DryRunOutcome::Retry(text) => {
            reason = Some(text);
            "retry"
        }
        DryRunOutcome::ConfigRefused(text) => {
            reason = Some(text);
            "configRefused"
        }
        DryRunOutcome::Fault(kind, text) => {
            (reason, fault) = (Some(text), Some(kind));
            "fault"
        }
    };
    let topic = run.destination.topic.as_str();
    TestOut {
        event: EventOut::of(&run.event, &served.node, &served.instance),
        outcome,
        messages: messages
            .into_iter()
            .map(|message| TriedMessageOut::of(topic, message))
            .collect(),
        reason,
        fault,
        logs: run.lines.into_iter().map(Into::into).collect(),
        logs_dropped: run.lines_dropped,
        time_us: u64::try_from(run.took.as_micros()).unwrap_or(u64::MAX),
        memory_bytes: run.memory_bytes,
        plugin_version: run.plugin_version,
        plugin_digest: run.plugin_digest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{TestIn, body};

    #[test]
    fn a_body_is_text_where_it_is_text() {
        assert_eq!(body(b"ok".to_vec(), 2).0.as_deref(), Some("ok"));
        // Cut within a character.
        assert_eq!(body(vec![b'a', 0xc3], 9).0.as_deref(), Some("a"));
        assert_eq!(body(vec![b'a', 0xc3], 2).1.as_deref(), Some("YcM="));
        assert_eq!(body(vec![0xff, b'a'], 9).1.as_deref(), Some("/2E="));
    }

    #[test]
    fn a_test_has_one_event() {
        let read = |value| serde_json::from_value::<TestIn>(value).unwrap().event();
        assert!(read(json!({ "sample": 1 })).is_ok());
        assert!(read(json!({ "event": {} })).is_ok());
        assert!(
            read(json!({ "event": { "attributes": { "node": "n", "instance": "i" } } })).is_ok()
        );
        for wrong in [
            json!({}),
            json!({ "event": {}, "sample": 1 }),
            json!({ "event": { "eventType": "gone" } }),
            json!({ "event": { "evenType": "connect" } }),
            json!({ "event": 1 }),
        ] {
            assert_eq!(read(wrong).unwrap_err().code(), "invalid_event");
        }
    }
}
