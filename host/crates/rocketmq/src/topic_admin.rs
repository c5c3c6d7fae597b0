//! Creates topics.
//!
//! Creating an existing topic would set its queue count anew, so an existing one is left alone.

use std::sync::Arc;
use std::time::Duration;

use domain::{CreateTopicError, RouteError, TopicName};
use tokio::time::{Instant, sleep};

use crate::compatibility::code;
use crate::remoting::{CallError, RemotingClient, Request};
use crate::route::{Route, parse_masters};
use crate::route_cache::RouteCache;

/// How long brokers may take to tell the name servers of the new topic. They do so at once; what is lost of that, as when a
/// server is busy, is made good when they next register, every 30 s unless told otherwise (`registerNameServerPeriod`).
const ROUTE_MAX: Duration = Duration::from_secs(40);
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
    await_route(|| routes.ask(topic), masters.len(), ROUTE_MAX).await
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

/// Asks for the route until it is one over all brokers; after `patience` some of them are enough.
async fn await_route<F>(
    ask: impl Fn() -> F,
    brokers: usize,
    patience: Duration,
) -> Result<(), CreateTopicError>
where
    F: Future<Output = Result<Arc<Route>, RouteError>>,
{
    let deadline = Instant::now() + patience;
    loop {
        let late = Instant::now() >= deadline;
        match ask().await {
            Ok(route) if route.brokers() >= brokers || (late && !route.writable.is_empty()) => {
                return Ok(());
            }
            Ok(_) if late => return Err(not_offered("no broker offers it", patience)),
            Err(error) if late => return Err(not_offered(&error.to_string(), patience)),
            Ok(_) | Err(_) => sleep(ROUTE_PAUSE).await,
        }
    }
}

fn not_offered(said: &str, patience: Duration) -> CreateTopicError {
    let detail = format!("after {} s it is not offered: {said}", patience.as_secs());
    CreateTopicError::NotOffered { detail }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    type Answer = Result<Arc<Route>, RouteError>;

    fn route_over(brokers: &[&str]) -> Arc<Route> {
        let servers: Vec<_> = brokers
            .iter()
            .map(|name| format!(r#"{{"brokerName":"{name}","brokerAddrs":{{"0":"127.0.0.1:1"}}}}"#))
            .collect();
        let queues: Vec<_> = brokers
            .iter()
            .map(|name| {
                format!(
                    r#"{{"brokerName":"{name}","perm":6,"readQueueNums":1,"writeQueueNums":1}}"#
                )
            })
            .collect();
        let body = format!(
            r#"{{"brokerDatas":[{}],"queueDatas":[{}]}}"#,
            servers.join(","),
            queues.join(",")
        );
        Arc::new(Route::parse(body.as_bytes()).unwrap())
    }

    fn not_there() -> RouteError {
        let topic = TopicName::parse("TopicNew").unwrap();
        RouteError::TopicNotFound { topic }
    }

    /// What comes of these answers, one after the other, and how many were not asked for.
    async fn of(answers: Vec<Answer>, patience: Duration) -> (Result<(), CreateTopicError>, usize) {
        let left = RefCell::new(answers.into_iter());
        let ask = || {
            let next = left.borrow_mut().next();
            let next = next.unwrap_or_else(|| Err(not_there()));
            async move { next }
        };
        let outcome = await_route(ask, 2, patience).await;
        let left = left.borrow().len();
        (outcome, left)
    }

    #[tokio::test]
    async fn a_route_is_waited_for_until_it_is_one_over_all_brokers() {
        let one = || Ok(route_over(&["a"]));
        let both = || Ok(route_over(&["a", "b"]));
        let not_yet = || Err(not_there());
        let patient = Duration::from_secs(60);
        let late = vec![not_yet(), not_yet(), one(), both(), not_yet()];
        assert_eq!(of(late, patient).await, (Ok(()), 1));
        // At the deadline a part is enough, and nothing is not.
        assert_eq!(of(vec![one()], Duration::ZERO).await, (Ok(()), 0));
        let (outcome, _) = of(vec![not_yet()], Duration::ZERO).await;
        let said = outcome.unwrap_err();
        assert!(
            matches!(said, CreateTopicError::NotOffered { .. }),
            "{said}"
        );
        assert!(said.to_string().contains("TopicNew"), "{said}");
    }
}
