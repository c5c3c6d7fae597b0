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
use crate::page::{Page, PageRequest};
use crate::rule_in::parse_rule_id;
use crate::server::Served;

/// Ids of one replay; as many as a page has at most.
const IDS_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    rule_id: Option<String>,
    client_id: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
    page_token: Option<String>,
}

/// What a bulk deletion is about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    rule_id: Option<String>,
    client_id: Option<String>,
    reason: Option<String>,
    /// Needed without a filter.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplayIn {
    #[serde(default)]
    force: bool,
}

/// A bulk replay: a rule's letters, or those with these ids.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplayManyIn {
    rule_id: Option<String>,
    ids: Option<Vec<u64>>,
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterOut {
    id: u64,
    event: EventOut,
    rule_id: String,
    revision: u64,
    plugin_digest: Option<String>,
    reason: &'static str,
    detail: String,
    at: u64,
}

/// A status event as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventOut {
    event_id: String,
    event_type: &'static str,
    client_id: String,
    group_id: Option<String>,
    channel_id: String,
    client_ip: String,
    time: u64,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
}

/// What became of a bulk deletion.
#[derive(Debug, Serialize)]
pub(crate) struct DeletedOut {
    deleted: u64,
}

/// What became of a replay.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayedOut {
    replayed: u64,
    skipped: u64,
    reasons: Vec<SkippedOut>,
}

#[derive(Debug, Serialize)]
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
        ApiError::invalid_path(format!("{text:?} is no dead letter id; ids are numbers"))
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
    filter.before = request.after.as_deref().map(parse_id).transpose()?;
    let page = served.control.dead_letters(filter, request.limit).await?;
    let last = page.letters.last().filter(|_| page.has_more);
    let last = last.map(|letter| letter.id.to_string());
    let items = page.letters.iter();
    let items = items.map(|letter| DeadLetterOut::of(letter, &served.node, &served.instance));
    let total = usize::try_from(page.total).unwrap_or(usize::MAX);
    Ok(Json(Page::new(items.collect(), last.as_deref(), total)))
}

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

pub(crate) async fn delete_many(
    State(served): State<Served>,
    Query(query): Query<DeleteQuery>,
) -> Result<Json<DeletedOut>, ApiError> {
    let is_filtered =
        query.rule_id.is_some() || query.client_id.is_some() || query.reason.is_some();
    if is_filtered == query.all {
        return Err(ApiError::invalid_query(
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

pub(crate) async fn replay(
    State(served): State<Served>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<ReplayedOut>, ApiError> {
    let id = parse_id(&id)?;
    let too_large =
        || ApiError::payload_too_large("the body is larger than {\"force\":true} needs");
    let body = read_body(request, JSON_BYTES_MAX, too_large).await?;
    let ReplayIn { force } = match body.as_slice() {
        [] => ReplayIn::default(),
        body => parse_json(body)?,
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

pub(crate) async fn replay_many(
    State(served): State<Served>,
    JsonBody(body): JsonBody<ReplayManyIn>,
) -> Result<Json<ReplayedOut>, ApiError> {
    let chosen = match (body.rule_id, body.ids) {
        (Some(rule_id), None) => {
            ChosenDeadLetters::Filter(parse_filter(Some(&rule_id), None, None)?)
        }
        (None, Some(ids)) if ids.len() > IDS_MAX => {
            return Err(ApiError::payload_too_large(format!(
                "ids has more than {IDS_MAX} ids"
            )));
        }
        (None, Some(ids)) => ChosenDeadLetters::Ids(ids),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiError::invalid_json(
                "the body must have either ruleId or ids",
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
