//! Creates topics.
//!
//! Creating an existing topic would set its queue count anew, so an existing one is left alone.

use std::time::Duration;

use domain::{CreateTopicError, RouteError, TopicName};
use tokio::time::{Instant, sleep};

use crate::compatibility::code;
use crate::remoting::{CallError, RemotingClient, Request};
use crate::route::parse_masters;
use crate::route_cache::RouteCache;

/// How long brokers may take to tell the name servers of the new topic.
const ROUTE_MAX: Duration = Duration::from_secs(10);
const ROUTE_PAUSE: Duration = Duration::from_millis(50);
const PERMISSION_READ_WRITE: &str = "6";

/// Creates `topic` on every master of the instance and returns when its route is known.
pub(crate) async fn create_topic(
    routes: &RouteCache,
    remoting: &RemotingClient,
    topic: &TopicName,
    wire_topic: String,
    queues: u32,
) -> Result<(), CreateTopicError> {
    match routes.ask(topic).await {
        Ok(_) => return Ok(()),
        Err(RouteError::TopicNotFound { .. }) => {}
        Err(RouteError::Denied { detail }) => return Err(CreateTopicError::Refused { detail }),
        Err(error) => {
            return Err(CreateTopicError::Unreachable {
                detail: error.to_string(),
            });
        }
    }
    let masters = masters(routes).await?;
    let queues = queues.max(1).to_string();
    let fields = [
        ("topic", wire_topic),
        ("defaultTopic", "TBW102".to_owned()),
        ("readQueueNums", queues.clone()),
        ("writeQueueNums", queues),
        ("perm", PERMISSION_READ_WRITE.to_owned()),
        ("topicFilterType", "SINGLE_TAG".to_owned()),
        ("topicSysFlag", "0".to_owned()),
        ("order", "false".to_owned()),
    ];
    for (broker, address) in &masters {
        let request = Request {
            code: code::UPDATE_AND_CREATE_TOPIC,
            fields: &fields,
        };
        remoting
            .call(address, request, &[])
            .await
            .map_err(|error| match error {
                CallError::Refused(refusal) => CreateTopicError::Refused {
                    detail: format!("{broker}: {refusal}"),
                },
                error @ CallError::Failed { .. } => CreateTopicError::Unreachable {
                    detail: format!("{broker}: {error}"),
                },
            })?;
    }
    await_route(routes, topic, masters.len()).await
}

async fn masters(routes: &RouteCache) -> Result<Vec<(String, String)>, CreateTopicError> {
    let unreachable = |detail: String| CreateTopicError::Unreachable { detail };
    let body = routes
        .ask_name_servers(code::GET_CLUSTER, &[])
        .await
        .map_err(|error| unreachable(format!("name server: {error}")))?;
    let masters = parse_masters(&body)
        .map_err(|error| unreachable(domain::ErrorChain(&error).to_string()))?;
    if masters.is_empty() {
        return Err(unreachable(format!(
            "name servers {} know no broker",
            routes.addresses()
        )));
    }
    Ok(masters)
}

/// Waits for the route over all brokers; at the deadline some of them are enough.
async fn await_route(
    routes: &RouteCache,
    topic: &TopicName,
    brokers: usize,
) -> Result<(), CreateTopicError> {
    let deadline = Instant::now() + ROUTE_MAX;
    loop {
        let late = Instant::now() >= deadline;
        match routes.ask(topic).await {
            Ok(route) if route.brokers() >= brokers || (late && !route.writable.is_empty()) => {
                return Ok(());
            }
            Ok(_) if late => {
                return Err(CreateTopicError::Unreachable {
                    detail: "no broker offers the topic".to_owned(),
                });
            }
            Err(error) if late => {
                return Err(CreateTopicError::Unreachable {
                    detail: format!("created, but {error}"),
                });
            }
            Ok(_) | Err(_) => sleep(ROUTE_PAUSE).await,
        }
    }
}
