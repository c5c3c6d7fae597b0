//! `/v1/rules`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{GroupId, QueueName, RuleType};
use pipeline::control::{ControlCode, PendingEvents, RuleView};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{IfMatch, JSON_BYTES_MAX, JsonBody, Path, Query, read_body};
use crate::groups::parse_group_id;
use crate::page::{Page, PageRequest};
use crate::rule_in::{RuleIn, parse_rule, parse_rule_id};
use crate::rule_out::RuleOut;
use crate::server::Served;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    status: Option<String>,
    group_id: Option<String>,
    r#type: Option<String>,
    q: Option<String>,
    limit: Option<usize>,
    page_token: Option<String>,
}

pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<RuleOut>>, ApiError> {
    let request = PageRequest::new(query.limit, query.page_token.as_deref())?;
    let filter = Filter::new(query)?;
    let rules = served
        .control
        .rules()
        .into_iter()
        .filter(|view| filter.matches(view));
    Ok(Json(Page::cut(
        rules.map(RuleOut::from).collect(),
        &request,
        RuleOut::rule_id,
    )))
}

struct Filter {
    enabled: Option<bool>,
    group_id: Option<GroupId>,
    /// In lower case; part of id, description, group or topic.
    text: String,
}

impl Filter {
    fn new(query: ListQuery) -> Result<Self, ApiError> {
        let enabled = match query.status.as_deref() {
            None => None,
            Some("enabled") => Some(true),
            Some("disabled") => Some(false),
            Some(other) => {
                return Err(ApiError::invalid_query(format!(
                    "status is {other:?}; it must be enabled or disabled"
                )));
            }
        };
        // There is one type only; a filter for it takes all.
        if let Some(other) = query.r#type
            && other != RuleType::ClientStatusNotification.as_str()
        {
            return Err(ApiError::invalid_query(format!(
                "type is {other:?}; it must be {}",
                RuleType::ClientStatusNotification.as_str()
            )));
        }
        Ok(Self {
            enabled,
            group_id: query.group_id.as_deref().map(parse_group_id).transpose()?,
            text: query.q.unwrap_or_default().to_lowercase(),
        })
    }

    fn matches(&self, view: &RuleView) -> bool {
        let draft = &view.rule.draft;
        let texts = [
            draft.rule_id.as_str(),
            &draft.description,
            draft.group_id.as_str(),
            draft.destination.topic.as_str(),
        ];
        self.enabled.is_none_or(|enabled| enabled == draft.enabled)
            && self
                .group_id
                .as_ref()
                .is_none_or(|group_id| *group_id == draft.group_id)
            && (self.text.is_empty()
                || texts
                    .iter()
                    .any(|text| text.to_lowercase().contains(&self.text)))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ForceQuery {
    #[serde(default)]
    force: bool,
}

async fn read_rule(request: Request) -> Result<RuleIn, ApiError> {
    let too_large =
        || ApiError::payload_too_large(format!("the rule has more than {JSON_BYTES_MAX} bytes"));
    parse_rule(&read_body(request, JSON_BYTES_MAX, too_large).await?)
}

pub(crate) async fn create(
    State(served): State<Served>,
    Query(query): Query<ForceQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let checked = read_rule(request).await?.check(None)?;
    let view = served
        .control
        .create_rule(checked.draft, query.force)
        .await?;
    let location = HeaderValue::from_str(&format!("/v1/rules/{}", view.rule.draft.rule_id));
    let mut response = show_changed(StatusCode::CREATED, view, checked.warnings);
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(crate) async fn show(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    match served.control.rule(&id) {
        Some(view) => Ok(show_changed(StatusCode::OK, view, Vec::new())),
        None => Err(ApiError::of(
            ControlCode::RuleNotFound,
            format!("there is no rule {id}; see `rulemill rule list`"),
        )),
    }
}

pub(crate) async fn replace(
    State(served): State<Served>,
    Path(id): Path<String>,
    Query(query): Query<ForceQuery>,
    IfMatch(if_revision): IfMatch,
    request: Request,
) -> Result<Response, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let checked = read_rule(request).await?.check(Some(&id))?;
    let view = served
        .control
        .replace_rule(checked.draft, if_revision, query.force)
        .await?;
    Ok(show_changed(StatusCode::OK, view, checked.warnings))
}

async fn set_enabled(
    served: &Served,
    id: &str,
    enabled: bool,
    if_revision: Option<u64>,
) -> Result<Response, ApiError> {
    let (id, _) = parse_rule_id(id)?;
    let view = served
        .control
        .set_rule_enabled(&id, enabled, if_revision)
        .await?;
    Ok(show_changed(StatusCode::OK, view, Vec::new()))
}

pub(crate) async fn enable(
    State(served): State<Served>,
    Path(id): Path<String>,
    IfMatch(if_revision): IfMatch,
) -> Result<Response, ApiError> {
    set_enabled(&served, &id, true, if_revision).await
}

pub(crate) async fn disable(
    State(served): State<Served>,
    Path(id): Path<String>,
    IfMatch(if_revision): IfMatch,
) -> Result<Response, ApiError> {
    set_enabled(&served, &id, false, if_revision).await
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    pending: Option<String>,
}

pub(crate) async fn delete(
    State(served): State<Served>,
    Path(id): Path<String>,
    Query(query): Query<DeleteQuery>,
    IfMatch(if_revision): IfMatch,
) -> Result<StatusCode, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let pending = match query.pending.as_deref() {
        None | Some("deliver") => PendingEvents::Deliver,
        Some("discard") => PendingEvents::Discard,
        Some(other) => {
            return Err(ApiError::invalid_query(format!(
                "pending is {other:?}; it must be deliver or discard"
            )));
        }
    };
    served
        .control
        .delete_rule(&id, pending, if_revision)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RetireQueueIn {
    /// `broker:number`.
    queue: String,
}

/// How many slots left the queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetiredOut {
    moved_slots: usize,
}

fn parse_queue(text: &str) -> Result<QueueName, ApiError> {
    let parsed = text.rsplit_once(':').and_then(|(broker, queue)| {
        let queue = queue.parse().ok()?;
        let broker = (!broker.is_empty()).then(|| broker.into())?;
        Some(QueueName { broker, queue })
    });
    parsed.ok_or_else(|| {
        ApiError::invalid_queue(format!(
            "queue is {text:?}; it must be a broker's name and a number, such as broker-a:3"
        ))
    })
}

pub(crate) async fn retire_queue(
    State(served): State<Served>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<RetireQueueIn>,
) -> Result<Json<RetiredOut>, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let queue = parse_queue(&body.queue)?;
    let moved_slots = served.control.retire_queue(&id, queue).await?;
    Ok(Json(RetiredOut { moved_slots }))
}

/// The rule with its `ETag`.
fn show_changed(status: StatusCode, view: RuleView, warnings: Vec<String>) -> Response {
    let mut rule = RuleOut::from(view);
    rule.warn_first(warnings);
    let etag: [(HeaderName, String); 1] = [(header::ETAG, format!("\"{}\"", rule.revision()))];
    (status, etag, Json(rule)).into_response()
}
