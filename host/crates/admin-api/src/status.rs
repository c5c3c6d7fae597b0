//! `/v1/status`, `/healthz`, `/readyz`, `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pipeline::control::{EventCounts, RuleStatus};
use serde::Serialize;

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
    oldest_ms: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleStatusOut {
    rule_id: String,
    health: &'static str,
    reason: Option<String>,
    events: EventsOut,
}

#[derive(Debug, Serialize)]
struct EventsOut {
    observed: u64,
    matched: u64,
    unmatched: u64,
    recorded: u64,
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
        outbox: OutboxOut {
            bytes: status.outbox_bytes,
            oldest_ms: status.outbox_oldest_ms,
        },
        rules: status.rules.into_iter().map(RuleStatusOut::from).collect(),
    })
}

/// The process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// The host takes clients.
pub(crate) async fn ready(State(served): State<Served>) -> Result<&'static str, ApiError> {
    match (served.probes.not_ready)() {
        None => Ok("ok\n"),
        Some(reason) => Err(ApiError::not_ready(format!("not ready: {reason}"))),
    }
}

pub(crate) async fn metrics(State(served): State<Served>) -> Response {
    let content_type = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    (content_type, (served.probes.metrics)()).into_response()
}
