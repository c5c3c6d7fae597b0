//! `/v1/status`, `/healthz`, `/readyz`, `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pipeline::control::{DrainingStatus, EventCounts, OutboxView, PluginFolderView, RuleStatus};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::openapi::words;
use crate::server::Served;

/// The host at a glance.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HostStatus)]
pub(crate) struct StatusOut {
    node: String,
    version: String,
    /// Milliseconds.
    uptime_ms: u64,
    /// Clients that are online.
    connections: usize,
    events: EventsOut,
    outbox: OutboxOut,
    rules: Vec<RuleStatusOut>,
    /// What is pending of deleted rules; with that of `rules`, all that is pending.
    draining: Vec<DrainingOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_folder: Option<PluginFolderOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules_folder: Option<RulesFolderOut>,
}

/// The folder of rules, if there is one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RulesFolderStatus)]
struct RulesFolderOut {
    path: String,
    /// Why its files are not true now.
    reason: Option<String>,
    /// When they were last made true, UNIX milliseconds.
    applied_at: Option<u64>,
}

/// The watched plugin folder, if there is one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PluginFolderStatus)]
struct PluginFolderOut {
    path: String,
    /// Why it cannot be watched.
    reason: Option<String>,
    entries: usize,
    problem_count: usize,
    problems: Vec<FolderProblemOut>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FolderProblem)]
struct FolderProblemOut {
    file: String,
    outcome: &'static str,
    cause: String,
    remedy: &'static str,
}

impl From<&PluginFolderView> for PluginFolderOut {
    fn from(view: &PluginFolderView) -> Self {
        let problems = view.problems.iter().map(|problem| FolderProblemOut {
            file: problem.file.clone(),
            outcome: problem.outcome.as_str(),
            cause: problem.detail.clone(),
            remedy: problem.outcome.remedy(),
        });
        Self {
            path: view.path.display().to_string(),
            reason: view.reason.clone(),
            entries: view.entries,
            problem_count: view.problem_count,
            problems: problems.collect(),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OutboxStatus)]
struct OutboxOut {
    bytes: u64,
    bytes_max: u64,
    share_bytes_max: u64,
    /// The age of the oldest queued event, milliseconds.
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

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleStatus)]
struct RuleStatusOut {
    rule_id: String,
    #[schema(value_type = words::HealthWord)]
    health: &'static str,
    reason: Option<String>,
    events: EventsOut,
    pending_bytes: u64,
}

/// Pending events of a rule that is no more.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DrainingStatus)]
struct DrainingOut {
    /// None: of rules that `meta.redb` does not know, since it is older than the outbox.
    rule_id: Option<String>,
    #[schema(value_type = words::HealthWord)]
    health: &'static str,
    /// Why they are not delivered, if they are not.
    reason: Option<String>,
    /// Events.
    pending: u64,
    pending_bytes: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventCounts)]
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

impl From<DrainingStatus> for DrainingOut {
    fn from(status: DrainingStatus) -> Self {
        Self {
            rule_id: status.rule_id.map(|rule_id| rule_id.to_string()),
            health: status.health.as_str(),
            reason: status.reason,
            pending: status.pending,
            pending_bytes: status.pending_bytes,
        }
    }
}

#[utoipa::path(
    get, path = "/v1/status", tag = "Host", operation_id = "showStatus",
    summary = "The host at a glance",
    responses((status = 200, description = "How it is", body = StatusOut)),
)]
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
        draining: status.draining.into_iter().map(DrainingOut::from).collect(),
        plugin_folder: served.control.plugin_folder().as_deref().map(Into::into),
        rules_folder: served.rules_folder.as_ref().map(|state| {
            let state = state.lock();
            RulesFolderOut {
                path: state.path.display().to_string(),
                reason: state.problem.clone(),
                applied_at: state.applied_at_ms,
            }
        }),
    })
}

/// The process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "Host", operation_id = "showLiveness",
    summary = "Whether the process answers",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain; charset=utf-8")),
    security(()),
)]
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// The answer of a probe.
#[derive(utoipa::ToSchema)]
#[schema(as = Readiness)]
#[expect(dead_code, reason = "describes what is put together by hand")]
struct ReadinessOut {
    ready: bool,
    /// Why it takes none.
    reason: Option<String>,
    /// Rules that do not work as they should, and deleted ones whose events are not delivered.
    degraded: Vec<DegradedOut>,
}

/// A rule that does not work as it should.
#[derive(utoipa::ToSchema)]
#[schema(as = DegradedRule)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what is put together by hand")]
struct DegradedOut {
    /// None: of rules that `meta.redb` does not know.
    rule_id: Option<String>,
    #[schema(value_type = words::HealthWord)]
    health: String,
    reason: Option<String>,
}

/// Whether the host takes events: 503 only when it takes none at all. Rules that do not work as they
/// should are listed in both cases.
#[utoipa::path(
    get, path = "/readyz", tag = "Host", operation_id = "showReadiness",
    summary = "Whether the host takes events",
    responses((status = 200, description = "It does; rules that do not work as they should are listed", body = ReadinessOut),
    (status = 503, description = "It takes none", body = ReadinessOut)),
    extensions(("x-errors" = json!(["not_ready"]))),
    security(()),
)]
pub(crate) async fn ready(State(served): State<Served>) -> Result<Json<Value>, ApiError> {
    let readiness = served.control.readiness();
    let degraded: Vec<Value> = readiness
        .degraded
        .into_iter()
        .map(|(rule_id, health, reason)| {
            let rule_id = rule_id.map(|rule_id| rule_id.to_string());
            json!({ "ruleId": rule_id, "health": health.as_str(), "reason": reason })
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

#[utoipa::path(
    get, path = "/metrics", tag = "Host", operation_id = "showMetrics",
    summary = "All metrics; needs no token from loopback",
    responses((status = 200, description = "In the OpenMetrics text format", body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")),
    extensions(("x-errors" = json!(["unauthorized", "too_many_failures"]))),
    security((), ("token" = [])),
)]
pub(crate) async fn metrics(State(served): State<Served>) -> Response {
    let content_type = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    let all = (served.probes.metrics)();
    let text = all.strip_suffix("# EOF\n").unwrap_or(&all);
    let text = format!("{text}{}# EOF\n", served.doors.metrics());
    (content_type, text).into_response()
}
