//! `/v1/dead-letters`: events that could not be mapped or sent.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use domain::{ClientId, RuleId, StatusEvent};
use pipeline::control::{
    ChosenDeadLetters, ControlCode, DeadLetter, DeadLetterFilter, DeadLetterReason, Replayed,
};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::clients::parse_client_id;
use crate::extract::{JSON_BYTES_MAX, JsonBody, Path, Query, parse_json, read_body};
use crate::openapi::words;
use crate::page::{Page, PageRequest};
use crate::rule_in::parse_rule_id;
use crate::server::Served;

/// Ids of one replay; as many as a page has at most.
const IDS_MAX: usize = 1000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only those of this rule.
    #[param(value_type = Option<words::RuleIdText>)]
    rule_id: Option<String>,
    /// Only those of this client.
    #[param(value_type = Option<words::ClientIdText>)]
    client_id: Option<String>,
    /// Only those for this reason.
    #[param(value_type = Option<words::DeadLetterReasonWord>)]
    reason: Option<String>,
    /// Items of the page, at most; 100 by default.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `nextPageToken` of the page before; none: the first page.
    page_token: Option<String>,
}

/// What a bulk deletion is about.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Only those of this rule.
    #[param(value_type = Option<words::RuleIdText>)]
    rule_id: Option<String>,
    /// Only those of this client.
    #[param(value_type = Option<words::ClientIdText>)]
    client_id: Option<String>,
    /// Only those for this reason.
    #[param(value_type = Option<words::DeadLetterReasonWord>)]
    reason: Option<String>,
    /// Needed without a filter.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeadLetterReplay)]
pub(crate) struct ReplayIn {
    /// Also if the rule changed since.
    #[serde(default)]
    force: bool,
}

/// A bulk replay: a rule's letters, or those with these ids.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeadLettersReplay)]
pub(crate) struct ReplayManyIn {
    /// All of this rule. Either this or `ids`.
    #[schema(value_type = Option<words::RuleIdText>)]
    rule_id: Option<String>,
    /// These, at most 1,000. Either this or `ruleId`.
    #[schema(max_items = 1000)]
    ids: Option<Vec<u64>>,
    /// Also if the rule changed since.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterOut {
    #[schema(value_type = words::DeadLetterIdNumber)]
    id: u64,
    event: EventOut,
    #[schema(value_type = words::RuleIdText)]
    rule_id: String,
    /// Of the rule, then.
    revision: u64,
    #[schema(value_type = Option<words::PluginDigestText>)]
    plugin_digest: Option<String>,
    #[schema(value_type = words::DeadLetterReasonWord)]
    reason: &'static str,
    /// What was wrong.
    detail: String,
    #[schema(value_type = words::TimeMs)]
    at: u64,
}

/// A status event as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatusEvent)]
pub(crate) struct EventOut {
    /// 32 hex characters.
    event_id: String,
    #[schema(value_type = words::EventTypeWord)]
    event_type: &'static str,
    #[schema(value_type = words::ClientIdText)]
    client_id: String,
    #[schema(value_type = Option<words::GroupIdText>)]
    group_id: Option<String>,
    /// Names the connection: 32 hex characters.
    channel_id: String,
    /// `address:port`.
    client_ip: String,
    #[schema(value_type = words::TimeMs)]
    time: u64,
    /// Grows from event to event of a client.
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::CloseReasonWord>)]
    reason: Option<&'static str>,
    /// More about the connection and the host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    attributes: BTreeMap<&'static str, String>,
}

/// What became of a bulk deletion.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DeletedDeadLetters)]
pub(crate) struct DeletedOut {
    deleted: u64,
}

/// What became of a replay.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReplayedDeadLetters)]
pub(crate) struct ReplayedOut {
    replayed: u64,
    skipped: u64,
    reasons: Vec<SkippedOut>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SkippedDeadLetter)]
struct SkippedOut {
    id: u64,
    reason: String,
}

impl EventOut {
    pub(crate) fn of(event: &StatusEvent, node: &str, instance: &str) -> Self {
        let attributes = event.attributes(node, instance);
        Self {
            event_id: event.event_id.to_string(),
            event_type: event.event_type.as_str(),
            client_id: event.channel.client_id.to_string(),
            group_id: event.channel.group_id.as_ref().map(ToString::to_string),
            channel_id: event.channel.channel_id.to_string(),
            client_ip: event.channel.client_address.to_string(),
            time: event.time_ms,
            sequence: event.sequence.0,
            reason: event.reason.map(domain::CloseReason::as_str),
            attributes: attributes
                .into_iter()
                .map(|(name, value)| (name, value.into_owned()))
                .collect(),
        }
    }
}

impl DeadLetterOut {
    fn of(letter: &DeadLetter, node: &str, instance: &str) -> Self {
        let burial = &letter.burial;
        Self {
            id: letter.id,
            event: EventOut::of(&letter.event, node, instance),
            rule_id: burial.rule_id.to_string(),
            revision: burial.revision,
            plugin_digest: burial.plugin_digest.map(|digest| digest.to_string()),
            reason: burial.reason.as_str(),
            detail: burial.detail.clone(),
            at: letter.at_ms,
        }
    }
}

impl From<Replayed> for ReplayedOut {
    fn from(replayed: Replayed) -> Self {
        let reasons = replayed.reasons.into_iter();
        Self {
            replayed: replayed.replayed,
            skipped: replayed.skipped,
            reasons: reasons
                .map(|it| SkippedOut {
                    id: it.id,
                    reason: it.reason,
                })
                .collect(),
        }
    }
}

fn parse_id(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::invalid_path(format!(
            "{text:?} is no dead letter id; ids are numbers, see `rulemill dead-letter list`"
        ))
    })
}

fn parse_filter(
    rule_id: Option<&str>,
    client_id: Option<&str>,
    reason: Option<&str>,
) -> Result<DeadLetterFilter, ApiError> {
    let rule_id: Option<RuleId> = match rule_id {
        Some(text) => Some(parse_rule_id(text)?.0),
        None => None,
    };
    let client_id: Option<ClientId> = client_id.map(parse_client_id).transpose()?;
    let reason = match reason {
        None => None,
        Some("rejected") => Some(DeadLetterReason::Rejected),
        Some("fault") => Some(DeadLetterReason::Fault),
        Some("refused") => Some(DeadLetterReason::Refused),
        Some(other) => {
            return Err(ApiError::invalid_query(format!(
                "reason is {other:?}; it must be rejected, fault or refused"
            )));
        }
    };
    Ok(DeadLetterFilter {
        rule_id,
        client_id,
        reason,
        before: None,
    })
}

#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "Dead letters", operation_id = "listDeadLetters",
    summary = "Dead letters, newest first",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<DeadLetterOut>)),
    extensions(("x-errors" = json!(["invalid_rule_id", "invalid_client_id", "invalid_page_token"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<DeadLetterOut>>, ApiError> {
    let request = PageRequest::new(query.limit, query.page_token.as_deref())?;
    let mut filter = parse_filter(
        query.rule_id.as_deref(),
        query.client_id.as_deref(),
        query.reason.as_deref(),
    )?;
    let not_given = |_| {
        ApiError::invalid_page_token("pageToken is not one that this list gave; start without it")
    };
    let before = request.after.as_deref().map(str::parse).transpose();
    filter.before = before.map_err(not_given)?;
    let page = served.control.dead_letters(filter, request.limit).await?;
    let last = page.letters.last().filter(|_| page.has_more);
    let last = last.map(|letter| letter.id.to_string());
    let items = page.letters.iter();
    let items = items.map(|letter| DeadLetterOut::of(letter, &served.node, &served.instance));
    let total = usize::try_from(page.total).unwrap_or(usize::MAX);
    Ok(Json(Page::new(items.collect(), last.as_deref(), total)))
}

#[utoipa::path(
    get, path = "/v1/dead-letters/{id}", tag = "Dead letters", operation_id = "showDeadLetter",
    summary = "A dead letter",
    params(("id" = words::DeadLetterIdNumber, Path, description = "The dead letter")),
    responses((status = 200, description = "The dead letter", body = DeadLetterOut)),
    extensions(("x-errors" = json!(["dead_letter_not_found"]))),
)]
pub(crate) async fn show(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<DeadLetterOut>, ApiError> {
    let letter = served.control.dead_letter(parse_id(&id)?).await?;
    Ok(Json(DeadLetterOut::of(
        &letter,
        &served.node,
        &served.instance,
    )))
}

#[utoipa::path(
    delete, path = "/v1/dead-letters/{id}", tag = "Dead letters", operation_id = "deleteDeadLetter",
    summary = "Deletes a dead letter",
    params(("id" = words::DeadLetterIdNumber, Path, description = "The dead letter")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["dead_letter_not_found"]))),
)]
pub(crate) async fn delete(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse_id(&id)?;
    // Says that there is none.
    served.control.dead_letter(id).await?;
    let chosen = ChosenDeadLetters::Ids(vec![id]);
    served.control.delete_dead_letters(chosen).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    delete, path = "/v1/dead-letters", tag = "Dead letters", operation_id = "deleteDeadLetters",
    summary = "Deletes dead letters that a filter names, or all",
    params(DeleteQuery),
    responses((status = 200, description = "How many", body = DeletedOut)),
    extensions(("x-errors" = json!(["invalid_selection", "invalid_rule_id", "invalid_client_id"]))),
)]
pub(crate) async fn delete_many(
    State(served): State<Served>,
    Query(query): Query<DeleteQuery>,
) -> Result<Json<DeletedOut>, ApiError> {
    let is_filtered =
        query.rule_id.is_some() || query.client_id.is_some() || query.reason.is_some();
    if is_filtered == query.all {
        return Err(ApiError::invalid_selection(
            "say which: ruleId, clientId or reason; or all=true and none of them",
        ));
    }
    let filter = parse_filter(
        query.rule_id.as_deref(),
        query.client_id.as_deref(),
        query.reason.as_deref(),
    )?;
    let chosen = ChosenDeadLetters::Filter(filter);
    let deleted = served.control.delete_dead_letters(chosen).await?;
    Ok(Json(DeletedOut { deleted }))
}

#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/replay", tag = "Dead letters", operation_id = "replayDeadLetter",
    summary = "Queues the event of a dead letter again",
    params(("id" = words::DeadLetterIdNumber, Path, description = "The dead letter")),
    request_body(content = Option<ReplayIn>, description = "May be left out"),
    responses((status = 200, description = "Whether it was queued", body = ReplayedOut)),
    extensions(("x-errors" = json!(["dead_letter_not_found", "rule_gone"]))),
)]
pub(crate) async fn replay(
    State(served): State<Served>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<ReplayedOut>, ApiError> {
    let id = parse_id(&id)?;
    let too_large = || {
        ApiError::payload_too_large(
            "the body is larger than {\"force\": true} needs; send that, or nothing",
        )
    };
    let body = read_body(request, JSON_BYTES_MAX, too_large).await?;
    let ReplayIn { force } = match body.as_slice() {
        [] => ReplayIn::default(),
        body => parse_json::<Option<ReplayIn>>(body)?.unwrap_or_default(),
    };
    let letter = served.control.dead_letter(id).await?;
    let rule_id = &letter.burial.rule_id;
    if served.control.rule(rule_id).is_none() {
        let message =
            format!("rule {rule_id} of dead letter {id} is gone; create one with that id first");
        return Err(ApiError::of(ControlCode::RuleGone, message));
    }
    let chosen = ChosenDeadLetters::Ids(vec![id]);
    let replayed = served.control.replay_dead_letters(chosen, force).await?;
    Ok(Json(replayed.into()))
}

#[utoipa::path(
    post, path = "/v1/dead-letters:replay", tag = "Dead letters", operation_id = "replayDeadLetters",
    summary = "Queues the events of dead letters again",
    request_body(content = ReplayManyIn),
    responses((status = 200, description = "How many were queued", body = ReplayedOut)),
    extensions(("x-errors" = json!(["invalid_selection", "invalid_rule_id", "rule_not_found", "rule_gone"]))),
)]
pub(crate) async fn replay_many(
    State(served): State<Served>,
    JsonBody(body): JsonBody<ReplayManyIn>,
) -> Result<Json<ReplayedOut>, ApiError> {
    let chosen = match (body.rule_id, body.ids) {
        (Some(rule_id), None) => {
            ChosenDeadLetters::Filter(parse_filter(Some(&rule_id), None, None)?)
        }
        (None, Some(ids)) if ids.len() > IDS_MAX => {
            return Err(ApiError::invalid_selection(format!(
                "ids has {} ids; it may have {IDS_MAX} at most, so replay them in several requests",
                ids.len()
            )));
        }
        (None, Some(ids)) => ChosenDeadLetters::Ids(ids),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiError::invalid_selection(
                "the body must have either ruleId or ids, such as {\"ids\": [17]}",
            ));
        }
    };
    let replayed = served
        .control
        .replay_dead_letters(chosen, body.force)
        .await?;
    Ok(Json(replayed.into()))
}

#[cfg(test)]
mod tests;
