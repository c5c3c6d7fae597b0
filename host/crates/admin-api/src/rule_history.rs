//! `/v1/rules/{ruleId}/history` and `/rollback`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use pipeline::control::RevisionRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api_error::ApiError;
use crate::difference::{self, Difference};
use crate::extract::{By, JsonBody, Path, Query};
use crate::openapi::words;
use crate::page::{Page, PageQuery};
use crate::rule_in::parse_rule_id;
use crate::rule_out::{RuleBody, RuleOut};
use crate::rules::{ForceQuery, Terms, show_changed};
use crate::server::Served;

/// A rule as one change made it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleRevision)]
pub(crate) struct RevisionOut {
    revision: u64,
    /// `created`, `edited`, `enabled`, `disabled` or `rolledBack`.
    #[schema(value_type = words::ChangeWord)]
    change: &'static str,
    /// Who made it: `token:<name>`, `access-key:<id>`, `file:<name>` or `host`.
    by: String,
    /// UNIX milliseconds.
    #[schema(value_type = words::TimeMs)]
    at: u64,
    /// From the revision before; empty if that is not kept any more.
    difference: Vec<Difference>,
    /// What the rule was.
    #[schema(value_type = RuleBody)]
    rule: Value,
}

/// Newest first.
#[utoipa::path(
    get, path = "/v1/rules/{ruleId}/history", tag = "Rules", operation_id = "listRuleHistory",
    summary = "Revisions of a rule, newest first",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule"), PageQuery),
    responses((status = 200, description = "A page", body = Page<RevisionOut>)),
    extensions(("x-errors" = json!(["invalid_rule_id", "rule_not_found", "invalid_page_token"]))),
)]
pub(crate) async fn history(
    State(served): State<Served>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RevisionOut>>, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let request = query.request()?;
    let before = match request.after.as_deref().map(str::parse::<u64>) {
        None => u64::MAX,
        Some(Ok(revision)) => revision,
        Some(Err(_)) => {
            return Err(ApiError::invalid_page_token(
                "pageToken is not one that this list gave; start without it",
            ));
        }
    };
    let records = served.control.rule_history(&id).await?;
    let total = records.len();
    let mut all = shown(&records)?;
    all.reverse();
    let mut rest = all.into_iter().filter(|it| it.revision < before);
    let items: Vec<RevisionOut> = rest.by_ref().take(request.limit).collect();
    let next = rest
        .next()
        .and(items.last())
        .map(|it| it.revision.to_string());
    Ok(Json(Page::new(items, next.as_deref(), total)))
}

fn shown(records: &[RevisionRecord]) -> Result<Vec<RevisionOut>, ApiError> {
    let mut before: Option<Value> = None;
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        let rule = body(record)?;
        all.push(RevisionOut {
            revision: record.rule.revision(),
            change: record.change.as_str(),
            by: record.by.to_string(),
            at: record.at_ms,
            difference: before
                .as_ref()
                .map(|before| difference::between(before, &rule))
                .unwrap_or_default(),
            rule: rule.clone(),
        });
        before = Some(rule);
    }
    Ok(all)
}

fn body(record: &RevisionRecord) -> Result<Value, ApiError> {
    serde_json::to_value(RuleBody::from(record.rule.draft()))
        .map_err(|error| ApiError::internal(format!("a revision cannot be shown: {error}")))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RuleRollback)]
pub(crate) struct RollbackIn {
    /// One of the history.
    revision: u64,
}

#[utoipa::path(
    post, path = "/v1/rules/{ruleId}/rollback", tag = "Rules", operation_id = "rollBackRule",
    summary = "Makes a rule what it was in a revision",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule"), ForceQuery, ("If-Match" = Option<words::EntityTag>, Header, description = "The revision that is to be changed, as the `ETag` of the last answer; `*` or none: whatever it is")),
    request_body(content = RollbackIn),
    responses((status = 200, description = "The rule as it is now", body = RuleOut, headers(("ETag" = String, description = "The revision in double quotes")))),
    extensions(("x-errors" = json!(["@save", "@load", "rule_not_found", "revision_not_found", "stale_revision"]))),
)]
pub(crate) async fn rollback(
    State(served): State<Served>,
    Path(id): Path<String>,
    Terms(terms): Terms,
    By(by): By,
    JsonBody(body): JsonBody<RollbackIn>,
) -> Result<Response, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let view = served
        .control
        .rollback_rule(&id, body.revision, terms, &by)
        .await?;
    Ok(show_changed(StatusCode::OK, view, Vec::new()))
}
