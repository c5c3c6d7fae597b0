//! `/v1/rules`.

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Actor, AnyRuleDraft, GroupId, QueueName, RuleType};
use pipeline::control::{ControlCode, EditTerms, PendingEvents, RuleView};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{By, IfMatch, JSON_BYTES_MAX, JsonBody, Path, Query, read_body};
use crate::groups::parse_group_id;
use crate::openapi::words;
use crate::page::{Page, PageRequest};
use crate::rule_in::{RuleIn, parse_rule, parse_rule_id};
use crate::rule_out::RuleOut;
use crate::server::Served;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only rules with this status.
    #[param(value_type = Option<words::RuleStatusWord>)]
    status: Option<String>,
    /// Only rules of this group.
    #[param(value_type = Option<words::GroupIdText>)]
    group_id: Option<String>,
    /// Only rules of this type.
    #[param(value_type = Option<words::RuleTypeWord>)]
    r#type: Option<String>,
    /// Only rules with this text in id, description, group or topic; case does not matter.
    q: Option<String>,
    /// Items of the page, at most; 100 by default.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `nextPageToken` of the page before; none: the first page.
    page_token: Option<String>,
}

#[utoipa::path(
    get, path = "/v1/rules", tag = "Rules", operation_id = "listRules",
    summary = "Rules, sorted by id",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<RuleOut>)),
    extensions(("x-errors" = json!(["invalid_group_id", "invalid_page_token"]))),
)]
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
    rule_type: Option<RuleType>,
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
        let known = |name: &str| RuleType::ALL.into_iter().find(|it| it.as_str() == name);
        let rule_type = match query.r#type.as_deref() {
            None => None,
            Some(name) => Some(known(name).ok_or_else(|| {
                let names = RuleType::ALL.map(RuleType::as_str);
                ApiError::invalid_query(format!(
                    "type is {name:?}; it must be {}",
                    names.join(", ")
                ))
            })?),
        };
        Ok(Self {
            enabled,
            rule_type,
            group_id: query.group_id.as_deref().map(parse_group_id).transpose()?,
            text: query.q.unwrap_or_default().to_lowercase(),
        })
    }

    fn matches(&self, view: &RuleView) -> bool {
        let draft = view.rule.draft();
        let (group_id, mqtt_topic) = match &draft {
            AnyRuleDraft::Status(draft) => (Some(&draft.group_id), ""),
            AnyRuleDraft::Data(draft) => (None, draft.mqtt_topic.as_str()),
        };
        let texts = [
            draft.rule_id().as_str(),
            draft.description(),
            group_id.map(GroupId::as_str).unwrap_or_default(),
            mqtt_topic,
            draft.rocketmq().topic.as_str(),
        ];
        self.enabled
            .is_none_or(|enabled| enabled == draft.is_enabled())
            && self
                .rule_type
                .is_none_or(|rule_type| rule_type == draft.rule_type())
            && (self.group_id.is_none() || self.group_id.as_ref() == group_id)
            && (self.text.is_empty()
                || texts
                    .iter()
                    .any(|text| text.to_lowercase().contains(&self.text)))
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ForceQuery {
    /// A missing topic or name server is only a warning: the rule is saved and is `retrying`.
    #[serde(default)]
    force: bool,
}

/// Under which conditions a rule is to be changed: [`ForceQuery`] and `If-Match`.
pub(crate) struct Terms(pub(crate) EditTerms);

impl<S: Send + Sync> FromRequestParts<S> for Terms {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<ForceQuery>::from_request_parts(parts, state).await?;
        let IfMatch(if_revision) = IfMatch::from_request_parts(parts, state).await?;
        Ok(Self(EditTerms {
            if_revision,
            is_forced: query.force,
        }))
    }
}

async fn read_rule(request: Request) -> Result<RuleIn, ApiError> {
    let too_large = || {
        ApiError::payload_too_large(format!(
            "the rule has more than {JSON_BYTES_MAX} bytes, the most that one may have; shorten its configuration"
        ))
    };
    parse_rule(&read_body(request, JSON_BYTES_MAX, too_large).await?)
}

#[utoipa::path(
    post, path = "/v1/rules", tag = "Rules", operation_id = "createRule",
    summary = "Creates a rule",
    params(ForceQuery),
    request_body(content = RuleIn, description = "At most 1 MiB"),
    responses((status = 201, description = "The rule as it was saved", body = RuleOut, headers(("ETag" = String, description = "The revision in double quotes"), ("Location" = String, description = "Where it is")))),
    extensions(("x-errors" = json!(["@save", "@load", "rule_exists", "too_many_rules"]))),
)]
pub(crate) async fn create(
    State(served): State<Served>,
    Query(query): Query<ForceQuery>,
    By(by): By,
    request: Request,
) -> Result<Response, ApiError> {
    let checked = read_rule(request).await?.check(None)?;
    let view = served
        .control
        .create_rule(checked.draft, query.force, &by)
        .await?;
    let location = HeaderValue::from_str(&format!("/v1/rules/{}", view.rule.rule_id()));
    let mut response = show_changed(StatusCode::CREATED, view, checked.warnings);
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[utoipa::path(
    get, path = "/v1/rules/{ruleId}", tag = "Rules", operation_id = "showRule",
    summary = "A rule",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule")),
    responses((status = 200, description = "The rule", body = RuleOut, headers(("ETag" = String, description = "The revision in double quotes")))),
    extensions(("x-errors" = json!(["invalid_rule_id", "rule_not_found"]))),
)]
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

#[utoipa::path(
    put, path = "/v1/rules/{ruleId}", tag = "Rules", operation_id = "replaceRule",
    summary = "Replaces all of a rule but its id",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule"), ForceQuery, ("If-Match" = Option<words::EntityTag>, Header, description = "The revision that is to be changed, as the `ETag` of the last answer; `*` or none: whatever it is")),
    request_body(content = RuleIn, description = "At most 1 MiB"),
    responses((status = 200, description = "The rule as it was saved", body = RuleOut, headers(("ETag" = String, description = "The revision in double quotes")))),
    extensions(("x-errors" = json!(["@save", "@load", "rule_not_found", "stale_revision"]))),
)]
pub(crate) async fn replace(
    State(served): State<Served>,
    Path(id): Path<String>,
    Terms(terms): Terms,
    By(by): By,
    request: Request,
) -> Result<Response, ApiError> {
    let (id, _) = parse_rule_id(&id)?;
    let checked = read_rule(request).await?.check(Some(&id))?;
    let view = served
        .control
        .replace_rule(checked.draft, terms, &by)
        .await?;
    Ok(show_changed(StatusCode::OK, view, checked.warnings))
}

async fn set_enabled(
    served: &Served,
    id: &str,
    enabled: bool,
    if_revision: Option<u64>,
    by: &Actor,
) -> Result<Response, ApiError> {
    let (id, _) = parse_rule_id(id)?;
    let view = served
        .control
        .set_rule_enabled(&id, enabled, if_revision, by)
        .await?;
    Ok(show_changed(StatusCode::OK, view, Vec::new()))
}

#[utoipa::path(
    post, path = "/v1/rules/{ruleId}/enable", tag = "Rules", operation_id = "enableRule",
    summary = "Enables a rule",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule"), ("If-Match" = Option<words::EntityTag>, Header, description = "The revision that is to be changed, as the `ETag` of the last answer; `*` or none: whatever it is")),
    responses((status = 200, description = "The rule as it is now", body = RuleOut, headers(("ETag" = String, description = "The revision in double quotes")))),
    extensions(("x-errors" = json!(["@save", "@load", "rule_not_found", "stale_revision"]))),
)]
pub(crate) async fn enable(
    State(served): State<Served>,
    Path(id): Path<String>,
    IfMatch(if_revision): IfMatch,
    By(by): By,
) -> Result<Response, ApiError> {
    set_enabled(&served, &id, true, if_revision, &by).await
}

#[utoipa::path(
    post, path = "/v1/rules/{ruleId}/disable", tag = "Rules", operation_id = "disableRule",
    summary = "Disables a rule",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule"), ("If-Match" = Option<words::EntityTag>, Header, description = "The revision that is to be changed, as the `ETag` of the last answer; `*` or none: whatever it is")),
    responses((status = 200, description = "The rule as it is now", body = RuleOut, headers(("ETag" = String, description = "The revision in double quotes")))),
    extensions(("x-errors" = json!(["@save", "@load", "rule_not_found", "stale_revision"]))),
)]
pub(crate) async fn disable(
    State(served): State<Served>,
    Path(id): Path<String>,
    IfMatch(if_revision): IfMatch,
    By(by): By,
) -> Result<Response, ApiError> {
    set_enabled(&served, &id, false, if_revision, &by).await
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// What becomes of events that are queued; `deliver` by default.
    #[param(value_type = Option<words::PendingWord>)]
    pending: Option<String>,
}

#[utoipa::path(
    delete, path = "/v1/rules/{ruleId}", tag = "Rules", operation_id = "deleteRule",
    summary = "Deletes a rule",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule"), DeleteQuery, ("If-Match" = Option<words::EntityTag>, Header, description = "The revision that is to be changed, as the `ETag` of the last answer; `*` or none: whatever it is")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["invalid_rule_id", "rule_not_found", "stale_revision", "managed_by_file"]))),
)]
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

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RetireQueue)]
pub(crate) struct RetireQueueIn {
    /// `broker:number`.
    #[schema(pattern = "^.+:[0-9]{1,9}$", example = "broker-a:3")]
    queue: String,
}

/// How many slots left the queue.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RetiredQueue)]
pub(crate) struct RetiredOut {
    /// How many slots of clients left it.
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

#[utoipa::path(
    post, path = "/v1/rules/{ruleId}/retire-queue", tag = "Rules", operation_id = "retireQueue",
    summary = "Takes a queue of the rule's topic out of use",
    params(("ruleId" = words::RuleIdText, Path, description = "The rule")),
    request_body(content = RetireQueueIn),
    responses((status = 200, description = "It is out of use", body = RetiredOut)),
    extensions(("x-errors" = json!(["invalid_rule_id", "rule_not_found", "invalid_queue", "queue_not_found", "only_queue", "queue_busy", "data_rule_held"]))),
)]
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
pub(crate) fn show_changed(status: StatusCode, view: RuleView, warnings: Vec<String>) -> Response {
    let mut rule = RuleOut::from(view);
    rule.warn_first(warnings);
    let etag: [(HeaderName, String); 1] = [(header::ETAG, format!("\"{}\"", rule.revision()))];
    (status, etag, Json(rule)).into_response()
}
