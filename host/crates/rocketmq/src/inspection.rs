//! Looks an instance over without storing anything: which servers answer, which topics there are, and
//! whether a topic could be written.

use domain::{CheckSendError, InstanceServers, ListTopicsError, QueueName, ServerState, TopicName};
use serde::Deserialize;
use tokio::time::Instant;

use crate::compatibility::code;
use crate::config::RocketmqConfig;
use crate::lenient_json;
use crate::remoting::{CallError, RemotingClient, Request};
use crate::route::parse_masters;
use crate::route_cache::RouteCache;

/// Topics of RocketMQ's own.
const SYSTEM_TOPICS: [&str; 8] = [
    "TBW102",
    "BenchmarkTest",
    "SELF_TEST_TOPIC",
    "SCHEDULE_TOPIC_XXXX",
    "OFFSET_MOVED_EVENT",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "DefaultHeartBeatSyncerTopic",
];
/// How names of RocketMQ's own topics begin: retries, dead letters, traces and the like.
const SYSTEM_PREFIXES: [&str; 4] = ["%RETRY%", "%DLQ%", "RMQ_SYS_", "rmq_sys_"];
const REPLY_SUFFIX: &str = "_REPLY_TOPIC";
/// No topic has this many queues: a broker that would let the sender write refuses the queue.
const NO_QUEUE: &str = "2147483647";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicsBody {
    #[serde(default)]
    topic_list: Vec<String>,
}

/// Asks each name server, and each broker that they know.
pub(crate) async fn servers(config: &RocketmqConfig, remoting: &RemotingClient) -> InstanceServers {
    let mut name_servers = Vec::new();
    let mut masters = Vec::new();
    for address in &config.name_servers {
        let started = Instant::now();
        let request = Request {
            code: code::GET_CLUSTER,
            fields: &[],
        };
        let answer = remoting.call(address, request, &[]).await;
        let answer = answer.map_err(|error| error.to_string());
        let found = answer.and_then(|mut response| {
            let body = response.take_body().unwrap_or_default();
            parse_masters(&body).map_err(|error| domain::ErrorChain(&error).to_string())
        });
        let state = ServerState {
            name: "name server".to_owned(),
            address: address.clone(),
            round_trip: started.elapsed(),
            problem: found.as_ref().err().cloned(),
        };
        name_servers.push(state);
        for master in found.unwrap_or_default() {
            if !masters.contains(&master) {
                masters.push(master);
            }
        }
    }
    let mut brokers = Vec::new();
    for (name, address) in masters {
        let started = Instant::now();
        let problem = ping(remoting, &address).await.err();
        brokers.push(ServerState {
            name,
            address,
            round_trip: started.elapsed(),
            problem: problem.map(|error| error.to_string()),
        });
    }
    InstanceServers {
        name_servers,
        brokers,
    }
}

/// Any answer will do: a refusal, too, shows that the broker is there.
async fn ping(remoting: &RemotingClient, address: &str) -> Result<(), CallError> {
    let fields = [("topic", "TBW102".to_owned()), ("queueId", "0".to_owned())];
    let request = Request {
        code: code::GET_MAX_OFFSET,
        fields: &fields,
    };
    match remoting.call(address, request, &[]).await {
        Ok(_) | Err(CallError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The topics of users, sorted.
pub(crate) async fn topics(
    config: &RocketmqConfig,
    routes: &RouteCache,
) -> Result<Vec<TopicName>, ListTopicsError> {
    let failed = |error: CallError| match error {
        CallError::Refused(refusal) => ListTopicsError::Refused {
            detail: refusal.to_string(),
        },
        error @ CallError::Failed { .. } => ListTopicsError::Unreachable {
            detail: error.to_string(),
        },
    };
    let body = routes.ask_name_servers(code::GET_ALL_TOPICS, &[]).await;
    let body = body.map_err(failed)?;
    let listed: TopicsBody =
        lenient_json::parse_into(&body).map_err(|error| ListTopicsError::Refused {
            detail: domain::ErrorChain(&error).to_string(),
        })?;
    // Each broker and each cluster has a topic of its name.
    let cluster = routes.ask_name_servers(code::GET_CLUSTER, &[]).await;
    let own = own_topics(&cluster.map_err(failed)?);
    let prefix = config.with_namespace("");
    let mut topics: Vec<TopicName> = listed
        .topic_list
        .iter()
        .filter(|name| !own.contains(name) && !is_system(name))
        .filter_map(|name| TopicName::parse(name.strip_prefix(&prefix)?).ok())
        .collect();
    topics.sort();
    topics.dedup();
    Ok(topics)
}

fn own_topics(cluster: &[u8]) -> Vec<String> {
    let cluster = lenient_json::parse(cluster).unwrap_or_default();
    let names = |table: &str| {
        let table = cluster.get(table).and_then(serde_json::Value::as_object);
        table.into_iter().flat_map(|table| table.keys().cloned())
    };
    names("brokerAddrTable")
        .chain(names("clusterAddrTable"))
        .collect()
}

fn is_system(name: &str) -> bool {
    SYSTEM_TOPICS.contains(&name)
        || SYSTEM_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || name.ends_with(REPLY_SUFFIX)
}

/// Whether `queue`'s broker would let this sender write the topic, by a message that no broker stores:
/// it is for a queue that no topic has.
pub(crate) async fn check_send(
    config: &RocketmqConfig,
    routes: &RouteCache,
    remoting: &RemotingClient,
    topic: &TopicName,
    queue: &QueueName,
) -> Result<(), CheckSendError> {
    let unreachable = |detail: String| CheckSendError::Unreachable { detail };
    let route = routes.ask(topic).await;
    let route = route.map_err(|error| unreachable(error.to_string()))?;
    let address = route
        .address(&queue.broker)
        .ok_or_else(|| unreachable(format!("the route has no address of {}", queue.broker)))?;
    let fields = [
        (
            "producerGroup",
            config.with_namespace(&config.producer_group),
        ),
        ("topic", config.wire_topic(topic)),
        ("defaultTopic", "TBW102".to_owned()),
        ("defaultTopicQueueNums", "4".to_owned()),
        ("queueId", NO_QUEUE.to_owned()),
        ("sysFlag", "0".to_owned()),
        ("bornTimestamp", "0".to_owned()),
        ("flag", "0".to_owned()),
        ("properties", String::new()),
        ("reconsumeTimes", "0".to_owned()),
        ("unitMode", "false".to_owned()),
        ("batch", "false".to_owned()),
    ];
    let request = Request {
        code: code::SEND_MESSAGE,
        fields: &fields,
    };
    match remoting.call(address, request, &[]).await {
        Err(CallError::Refused(refusal)) if refusal.code == code::NO_PERMISSION => {
            Err(CheckSendError::Denied {
                detail: refusal.remark,
            })
        }
        // It got as far as the queue.
        Ok(_) | Err(CallError::Refused(_)) => Ok(()),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_system, own_topics};

    #[test]
    fn rocketmq_s_own_topics_are_told_apart() {
        for own in [
            "TBW102",
            "%RETRY%group",
            "RMQ_SYS_TRACE_TOPIC",
            "C_REPLY_TOPIC",
        ] {
            assert!(is_system(own), "{own}");
        }
        assert!(!is_system("ClientStatus"));
        let cluster = r#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"h:1"},"brokerName":"b"}},"clusterAddrTable":{"C":["b"]}}"#;
        assert_eq!(own_topics(cluster.as_bytes()), ["b", "C"]);
    }
}
