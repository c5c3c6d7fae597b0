//! `/v1/status`, `/healthz`, `/readyz`, `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pipeline::control::{EventCounts, OutboxView, RuleStatus};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::server::Served;

/// The host at a glance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusOut {
    node: String,
    version: String,
    uptime_ms: u64,
    connections: usize,
    events: EventsOut,
    outbox: OutboxOut,
    rules: Vec<RuleStatusOut>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OutboxOut {
    bytes: u64,
    bytes_max: u64,
    share_bytes_max: u64,
    oldest_ms: u64,
    uncommitted: u64,
    dead_letters: u64,
    dead_letter_bytes: u64,
    dead_letter_bytes_max: u64,
}

impl From<OutboxView> for OutboxOut {
    fn from(view: OutboxView) -> Self {
        Self {
            bytes: view.bytes,
            bytes_max: view.bytes_max,
            share_bytes_max: view.share_bytes_max,
            oldest_ms: view.oldest_ms,
            uncommitted: view.uncommitted,
            dead_letters: view.dead_letters,
            dead_letter_bytes: view.dead_letter_bytes,
            dead_letter_bytes_max: view.dead_letter_bytes_max,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleStatusOut {
    rule_id: String,
    health: &'static str,
    reason: Option<String>,
    events: EventsOut,
    pending_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventsOut {
    observed: u64,
    matched: u64,
    unmatched: u64,
    recorded: u64,
    recorded_since_start: u64,
    refused: u64,
    replayed: u64,
    delivered: u64,
    skipped: u64,
    buried: u64,
    expired: u64,
    discarded: u64,
    pending: u64,
}

impl From<EventCounts> for EventsOut {
    fn from(counts: EventCounts) -> Self {
        Self {
            observed: counts.observed,
            matched: counts.matched,
            unmatched: counts.unmatched,
            recorded: counts.recorded,
            recorded_since_start: counts.recorded_since_start,
            refused: counts.refused,
            replayed: counts.replayed,
            delivered: counts.delivered,
            skipped: counts.skipped,
            buried: counts.buried,
            expired: counts.expired,
            discarded: counts.discarded,
            pending: counts.pending,
        }
    }
}

impl From<RuleStatus> for RuleStatusOut {
    fn from(status: RuleStatus) -> Self {
        Self {
            rule_id: status.rule_id.to_string(),
            health: status.health.as_str(),
            reason: status.reason,
            events: status.events.into(),
            pending_bytes: status.pending_bytes,
        }
    }
}

pub(crate) async fn show(State(served): State<Served>) -> Json<StatusOut> {
    let status = served.control.status();
    Json(StatusOut {
        node: served.node.clone(),
        version: served.version.clone(),
        uptime_ms: u64::try_from(served.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        connections: served.broker.online(),
        events: status.events.into(),
        outbox: status.outbox.into(),
        rules: status.rules.into_iter().map(RuleStatusOut::from).collect(),
    })
}

/// The process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Whether the host takes events: 503 only when it takes none at all. Rules that do not work as they
/// should are listed in both cases.
pub(crate) async fn ready(State(served): State<Served>) -> Result<Json<Value>, ApiError> {
    let readiness = served.control.readiness();
    let degraded: Vec<Value> = readiness
        .degraded
        .into_iter()
        .map(|(rule_id, health, reason)| {
            json!({ "ruleId": rule_id.to_string(), "health": health.as_str(), "reason": reason })
        })
        .collect();
    let reason = (served.probes.not_ready)().or(readiness.not_ready);
    let body = json!({ "ready": reason.is_none(), "reason": reason, "degraded": degraded });
    match (reason, body) {
        (Some(reason), Value::Object(more)) => {
            Err(ApiError::not_ready(format!("not ready: {reason}")).with(more))
        }
        (_, body) => Ok(Json(body)),
    }
}

pub(crate) async fn metrics(State(served): State<Served>) -> Response {
    let content_type = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    (content_type, (served.probes.metrics)()).into_response()
}
