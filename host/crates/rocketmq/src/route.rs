//! What a name server says about a topic or the cluster, read leniently: 4.x and 5.x differ in fields
//! that are of no use here.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::QueueName;
use serde::Deserialize;

use crate::lenient_json::{self, ParseBodyError};

const PERMISSION_READ: u32 = 0b100;
const PERMISSION_WRITE: u32 = 0b010;
/// Brokers with another number are replicas.
const MASTER: &str = "0";
/// No topic has more; a larger number is a garbled answer.
const QUEUES_MAX: u32 = 65_536;

/// A topic's brokers and queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Sorted.
    pub(crate) writable: Vec<QueueName>,
    /// Sorted.
    pub(crate) readable: Vec<QueueName>,
    /// Where each broker is asked: the master, or the first replica if there is none now.
    addresses: BTreeMap<Arc<str>, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RouteBody {
    #[serde(default)]
    broker_datas: Vec<Broker>,
    #[serde(default)]
    queue_datas: Vec<Queues>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterBody {
    #[serde(default)]
    broker_addr_table: BTreeMap<String, Broker>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Broker {
    broker_name: String,
    #[serde(default)]
    broker_addrs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Queues {
    broker_name: String,
    perm: u32,
    read_queue_nums: u32,
    write_queue_nums: u32,
}

impl Route {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ParseBodyError> {
        let body: RouteBody = lenient_json::parse_into(body)?;
        let (mut writable, mut readable) = (Vec::new(), Vec::new());
        for queues in &body.queue_datas {
            let Some(broker) = body
                .broker_datas
                .iter()
                .find(|broker| broker.broker_name == queues.broker_name)
            else {
                continue;
            };
            // Only a master stores; replicas of a dead one can still be read.
            if queues.perm & PERMISSION_WRITE != 0 && broker.broker_addrs.contains_key(MASTER) {
                writable.extend(names(&queues.broker_name, queues.write_queue_nums));
            }
            if queues.perm & PERMISSION_READ != 0 && !broker.broker_addrs.is_empty() {
                readable.extend(names(&queues.broker_name, queues.read_queue_nums));
            }
        }
        writable.sort();
        readable.sort();
        let addresses = body
            .broker_datas
            .into_iter()
            .filter_map(|broker| {
                // "0" sorts first.
                let address = broker.broker_addrs.into_values().next()?;
                Some((Arc::from(broker.broker_name), address))
            })
            .collect();
        Ok(Self {
            writable,
            readable,
            addresses,
        })
    }

    /// How many brokers can store.
    pub(crate) fn brokers(&self) -> usize {
        self.writable.chunk_by(|a, b| a.broker == b.broker).count()
    }

    /// Where `broker` is asked.
    pub(crate) fn address(&self, broker: &str) -> Option<&str> {
        self.addresses.get(broker).map(String::as_str)
    }
}

/// The masters of all brokers in a cluster answer: name and address, sorted by name.
pub(crate) fn parse_masters(body: &[u8]) -> Result<Vec<(String, String)>, ParseBodyError> {
    let body: ClusterBody = lenient_json::parse_into(body)?;
    Ok(body
        .broker_addr_table
        .into_values()
        .filter_map(|mut broker| Some((broker.broker_name, broker.broker_addrs.remove(MASTER)?)))
        .collect())
}

fn names(broker: &str, count: u32) -> impl Iterator<Item = QueueName> + use<> {
    let broker: Arc<str> = Arc::from(broker);
    (0..count.min(QUEUES_MAX)).map(move |queue| QueueName {
        broker: Arc::clone(&broker),
        queue,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(queues: &[QueueName]) -> Vec<String> {
        queues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_route_of_4_4_gives_its_queues() {
        let body = r#"{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:40911"},"brokerName":"broker-44","cluster":"DefaultCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-44","perm":7,"readQueueNums":3,"topicSynFlag":0,"writeQueueNums":2}]}"#;
        let route = Route::parse(body.as_bytes()).unwrap();
        assert_eq!(texts(&route.writable), ["broker-44:0", "broker-44:1"]);
        assert_eq!(
            texts(&route.readable),
            ["broker-44:0", "broker-44:1", "broker-44:2"]
        );
        assert_eq!(route.address("broker-44"), Some("127.0.0.1:40911"));
    }

    #[test]
    fn a_broker_without_master_or_permission_cannot_be_written() {
        let body = r#"{"brokerDatas":[{"brokerAddrs":{"1":"h:1"},"brokerName":"b"},{"brokerAddrs":{"0":"h:0","1":"h:1"},"brokerName":"a"}],
            "queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":1,"writeQueueNums":1},{"brokerName":"a","perm":4,"readQueueNums":1,"writeQueueNums":1},
            {"brokerName":"gone","perm":6,"readQueueNums":1,"writeQueueNums":1}]}"#;
        let route = Route::parse(body.as_bytes()).unwrap();
        assert!(route.writable.is_empty());
        assert_eq!(texts(&route.readable), ["a:0", "b:0"]);
        assert_eq!(route.address("a"), Some("h:0"));
        assert_eq!(route.address("b"), Some("h:1"));
    }

    #[test]
    fn a_cluster_gives_its_masters() {
        let body = r#"{"brokerAddrTable":{"b":{"brokerAddrs":{1:"h:3"},"brokerName":"b","cluster":"C"},"a":{"brokerAddrs":{0:"h:1",1:"h:2"},"brokerName":"a","cluster":"C"}},"clusterAddrTable":{"C":["a","b"]}}"#;
        let masters = parse_masters(body.as_bytes()).unwrap();
        assert_eq!(masters, [("a".to_owned(), "h:1".to_owned())]);
    }
}
