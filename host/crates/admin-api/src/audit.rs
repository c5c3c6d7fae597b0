//! `/v1/audit`: who changed what, when; newest first.

use axum::Json;
use axum::extract::State;
use pipeline::control::{AuditEntry, AuditFilter, AuditOutcome};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::Query;
use crate::openapi::words;
use crate::page::{Page, PageRequest};
use crate::server::Served;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only changes by it, such as `token:admin`.
    actor: Option<String>,
    /// Only changes by this method.
    method: Option<String>,
    /// Only changes of resources that begin with it.
    resource: Option<String>,
    /// Only those with this outcome.
    #[param(value_type = Option<words::AuditOutcomeWord>)]
    outcome: Option<String>,
    /// Not before.
    #[param(value_type = Option<words::TimeMs>)]
    since: Option<u64>,
    /// Not after.
    #[param(value_type = Option<words::TimeMs>)]
    until: Option<u64>,
    /// Items of the page, at most; 100 by default.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `nextPageToken` of the page before; none: the first page.
    page_token: Option<String>,
}

/// One entry.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub(crate) struct EntryOut {
    id: u64,
    #[schema(value_type = words::TimeMs)]
    at: u64,
    actor: String,
    peer: String,
    method: String,
    resource: String,
    #[schema(value_type = words::AuditOutcomeWord)]
    outcome: &'static str,
    request_id: String,
    /// The revision of a rule that it made.
    revision: Option<u64>,
}

impl From<AuditEntry> for EntryOut {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, record } = entry;
        Self {
            id,
            at: record.at_ms,
            actor: record.actor.to_string(),
            peer: record.peer,
            method: record.method,
            resource: record.resource,
            outcome: record.outcome.as_str(),
            request_id: record.request_id,
            revision: record.revision,
        }
    }
}

impl ListQuery {
    fn filter(self, request: &PageRequest) -> Result<AuditFilter, ApiError> {
        let outcome = self.outcome.map(|text| {
            AuditOutcome::parse(&text).ok_or_else(|| {
                ApiError::invalid_query(format!(
                    "outcome is {text:?}; it must be done, refused or failed"
                ))
            })
        });
        let before = request.after.as_deref().map(|text| {
            text.parse().map_err(|_| {
                ApiError::invalid_page_token(
                    "pageToken is not one that this list gave; start without it",
                )
            })
        });
        Ok(AuditFilter {
            actor: self.actor,
            method: self.method.map(|method| method.to_ascii_uppercase()),
            resource: self.resource,
            outcome: outcome.transpose()?,
            since_ms: self.since,
            until_ms: self.until,
            before: before.transpose()?,
        })
    }
}

#[utoipa::path(
    get, path = "/v1/audit", tag = "Access", operation_id = "listAudit",
    summary = "Who changed what, when; newest first",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<EntryOut>)),
    extensions(("x-errors" = json!(["invalid_page_token"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<EntryOut>>, ApiError> {
    let request = PageRequest::new(query.limit, query.page_token.as_deref())?;
    let filter = query.filter(&request)?;
    let page = served.control.access().audit(filter, request.limit).await?;
    let last = page.entries.last().filter(|_| page.has_more);
    let last = last.map(|entry| entry.id.to_string());
    let items = page.entries.into_iter().map(EntryOut::from).collect();
    Ok(Json(Page::new(items, last.as_deref(), page.total)))
}
