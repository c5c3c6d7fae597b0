//! `/v1/rocketmq-instances` and the topics of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{InstanceId, MessageSender, TopicName};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{JsonBody, Path, Query};
use crate::page::{Page, PageQuery};
use crate::server::Served;

/// More queues than any sensible topic has.
const QUEUES_MAX: u32 = 1024;

/// A configured instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceOut {
    instance_id: String,
}

/// A topic to create, and the answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Topic {
    topic: String,
    /// Per broker; the instance's `topic-queues` if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    queues: Option<u32>,
}

pub(crate) fn parse_topic(text: &str) -> Result<TopicName, ApiError> {
    TopicName::parse(text).map_err(|error| ApiError::invalid_topic(error.to_string()))
}

/// The sender of a configured instance.
pub(crate) fn find_sender(
    served: &Served,
    id: &str,
) -> Result<(InstanceId, Arc<dyn MessageSender>), ApiError> {
    let found = InstanceId::parse(id)
        .ok()
        .and_then(|id| Some((id.clone(), served.control.sender(&id)?)));
    found.ok_or_else(|| {
        let names: Vec<String> = served
            .control
            .instances()
            .iter()
            .map(ToString::to_string)
            .collect();
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        ApiError::instance_not_found(format!(
            "there is no RocketMQ instance {id:?} in the configuration; configured: {known}"
        ))
    })
}

pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<InstanceOut>>, ApiError> {
    let request = query.request()?;
    let ids = served.control.instances();
    let instances = ids
        .iter()
        .map(|id| InstanceOut {
            instance_id: id.to_string(),
        })
        .collect();
    Ok(Json(Page::cut(
        instances,
        &request,
        |instance: &InstanceOut| &instance.instance_id,
    )))
}

pub(crate) async fn create_topic(
    State(served): State<Served>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Topic>,
) -> Result<(StatusCode, Json<Topic>), ApiError> {
    let (id, _) = find_sender(&served, &id)?;
    let topic = parse_topic(&body.topic)?;
    if body
        .queues
        .is_some_and(|queues| !(1..=QUEUES_MAX).contains(&queues))
    {
        return Err(ApiError::invalid_topic(format!(
            "queues must be from 1 to {QUEUES_MAX}"
        )));
    }
    served
        .control
        .create_topic(&id, &topic, body.queues)
        .await?;
    Ok((StatusCode::CREATED, Json(body)))
}
