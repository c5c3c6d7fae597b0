//! `/v1/rocketmq-instances` and the topics of one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::{InstanceId, InstanceServers, MessageSender, ServerState, TopicName};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{JsonBody, Path, Query};
use crate::guard::ChangedThings;
use crate::openapi::words;
use crate::page::{Page, PageQuery};
use crate::server::Served;

/// More queues than any sensible topic has.
const QUEUES_MAX: u32 = 1024;

/// A configured instance.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RocketmqInstance)]
pub(crate) struct InstanceOut {
    #[schema(value_type = words::InstanceIdText)]
    instance_id: String,
    /// `up`: all servers answer; `degraded`: some do; `down`: no name server or no broker does.
    #[schema(value_type = words::InstanceHealthWord)]
    health: &'static str,
    name_servers: Vec<ServerOut>,
    brokers: Vec<ServerOut>,
}

/// A name server or the master of a broker.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RocketmqServer)]
pub(crate) struct ServerOut {
    name: String,
    address: String,
    /// Milliseconds.
    round_trip_ms: u64,
    /// Why it is of no use.
    problem: Option<String>,
}

impl From<ServerState> for ServerOut {
    fn from(state: ServerState) -> Self {
        Self {
            name: state.name,
            address: state.address,
            round_trip_ms: u64::try_from(state.round_trip.as_millis()).unwrap_or(u64::MAX),
            problem: state.problem,
        }
    }
}

fn health(servers: &InstanceServers) -> &'static str {
    let well = |all: &[ServerState]| all.iter().filter(|it| it.problem.is_none()).count();
    let (names, brokers) = (&servers.name_servers, &servers.brokers);
    match (well(names), well(brokers)) {
        (0, _) | (_, 0) => "down",
        (up, running) if up == names.len() && running == brokers.len() => "up",
        _ => "degraded",
    }
}

/// The topic to try.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ProbeRequest)]
pub(crate) struct ProbeIn {
    #[schema(value_type = words::TopicText)]
    topic: String,
}

/// Whether the topic can be written, and if not, why.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Probe)]
pub(crate) struct ProbeOut {
    #[schema(value_type = words::InstanceIdText)]
    instance_id: String,
    #[schema(value_type = words::TopicText)]
    topic: String,
    /// Whether all steps are well.
    ok: bool,
    steps: Vec<StepOut>,
    /// `broker:number`.
    writable_queues: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProbeStep)]
struct StepOut {
    /// `nameServer`, `route`, `writableQueue`, `roundTrip` or `permission`.
    #[schema(value_type = words::ProbeStepWord)]
    step: &'static str,
    ok: bool,
    /// Milliseconds.
    took_ms: u64,
    /// As the code of an error, if it is not well.
    code: Option<&'static str>,
    /// What is wrong, if it is not well.
    message: Option<String>,
}

/// A topic to create, and the answer.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewTopic)]
pub(crate) struct Topic {
    #[schema(value_type = words::TopicText)]
    topic: String,
    /// Per broker; the instance's `topic-queues` if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1024)]
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

#[utoipa::path(
    get, path = "/v1/rocketmq-instances", tag = "RocketMQ", operation_id = "listRocketmqInstances",
    summary = "Configured instances with how they are",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<InstanceOut>)),
    extensions(("x-errors" = json!(["invalid_page_token", "unknown_instance"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<InstanceOut>>, ApiError> {
    let request = query.request()?;
    // All at once: one that is away takes as long as a request may.
    let asked = served.control.instances().into_iter().map(|id| {
        let control = Arc::clone(&served.control);
        async move {
            let servers = control.instance_servers(&id).await?;
            Ok::<_, ApiError>(InstanceOut {
                instance_id: id.to_string(),
                health: health(&servers),
                name_servers: servers.name_servers.into_iter().map(Into::into).collect(),
                brokers: servers.brokers.into_iter().map(Into::into).collect(),
            })
        }
    });
    let instances = join_all(asked).await.into_iter();
    let instances = instances.collect::<Result<Vec<_>, _>>()?;
    Ok(Json(Page::cut(
        instances,
        &request,
        |instance: &InstanceOut| &instance.instance_id,
    )))
}

#[utoipa::path(
    post, path = "/v1/rocketmq-instances/{instanceId}/probe", tag = "RocketMQ", operation_id = "probeTopic",
    summary = "Tries whether a topic can be written; sends nothing to it",
    params(("instanceId" = words::InstanceIdText, Path, description = "A configured instance")),
    request_body(content = ProbeIn),
    responses((status = 200, description = "Each step, and what is wrong with it", body = ProbeOut)),
    extensions(("x-errors" = json!(["instance_not_found", "invalid_topic", "unknown_instance"]))),
)]
pub(crate) async fn probe(
    State(served): State<Served>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ProbeIn>,
) -> Result<Json<ProbeOut>, ApiError> {
    let (id, _) = find_sender(&served, &id)?;
    let topic = parse_topic(&body.topic)?;
    let probe = served.control.probe_topic(&id, &topic).await?;
    let steps = probe.steps.into_iter().map(|step| StepOut {
        step: step.name.as_str(),
        ok: step.problem.is_none(),
        took_ms: step.took_ms,
        code: step.problem.as_ref().map(|problem| problem.code.as_str()),
        message: step.problem.map(|problem| problem.message),
    });
    let steps: Vec<_> = steps.collect();
    Ok(Json(ProbeOut {
        instance_id: id.to_string(),
        topic: topic.to_string(),
        ok: steps.iter().all(|step| step.ok),
        steps,
        writable_queues: probe.queues.iter().map(ToString::to_string).collect(),
    }))
}

/// A topic of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ListedTopic)]
pub(crate) struct TopicOut {
    #[schema(value_type = words::TopicText)]
    topic: String,
}

#[utoipa::path(
    get, path = "/v1/rocketmq-instances/{instanceId}/topics", tag = "RocketMQ", operation_id = "listTopics",
    summary = "Topics of an instance, for choosing one",
    params(("instanceId" = words::InstanceIdText, Path, description = "A configured instance"), PageQuery),
    responses((status = 200, description = "A page", body = Page<TopicOut>)),
    extensions(("x-errors" = json!(["instance_not_found", "unknown_instance", "topics_not_listed", "rocketmq_unreachable", "rocketmq_denied", "invalid_page_token"]))),
)]
pub(crate) async fn topics(
    State(served): State<Served>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TopicOut>>, ApiError> {
    let request = query.request()?;
    let (id, _) = find_sender(&served, &id)?;
    let topics = served.control.topics(&id).await?.into_iter();
    let topics = topics.map(|topic| TopicOut {
        topic: topic.to_string(),
    });
    Ok(Json(Page::cut(
        topics.collect(),
        &request,
        |it: &TopicOut| &it.topic,
    )))
}

#[utoipa::path(
    post, path = "/v1/rocketmq-instances/{instanceId}/topics", tag = "RocketMQ", operation_id = "createTopic",
    summary = "Creates a topic, or gives one this number of queues",
    params(("instanceId" = words::InstanceIdText, Path, description = "A configured instance")),
    request_body(content = Topic),
    responses((status = 201, description = "The topic", body = Topic)),
    extensions(("x-errors" = json!(["instance_not_found", "unknown_instance", "invalid_topic", "rocketmq_unreachable", "rocketmq_denied"]))),
)]
pub(crate) async fn create_topic(
    State(served): State<Served>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Topic>,
) -> Result<(StatusCode, Extension<ChangedThings>, Json<Topic>), ApiError> {
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
    // It has no address of its own.
    let things = ChangedThings(vec![format!("create topic {topic} of {id}")]);
    Ok((StatusCode::CREATED, Extension(things), Json(body)))
}
