//! Delivery against an instance that fails as it is told.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use domain::{
    BoxFuture, CreateTopicError, Destination, GroupId, IncarnationId, InstanceId, MessageSender,
    ReadTopicError, RouteError, RuleId, StoredAs, SystemClock, TopicMessage, TopicName,
};
use parking_lot::Mutex;
use plugin_runtime::{PluginRuntime, RuntimeConfig};
use store::{Outbox, OutboxConfig};

use super::*;
use crate::config::DeliveryConfig;
use crate::feed::Feeds;
use crate::health::HealthCell;
use crate::metrics::Metrics;
use crate::rule_set::RuleSetCell;

/// Refuses what is bad, fails as often as it is told, keeps what it stored.
#[derive(Debug, Default)]
struct FakeInstance {
    faults: Mutex<Vec<SendError>>,
    offered: Mutex<Vec<Vec<Vec<u8>>>>,
    stored: Mutex<Vec<Vec<u8>>>,
}

impl MessageSender for FakeInstance {
    fn route<'a>(
        &'a self,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<QueueName>, RouteError>> {
        let topic = topic.clone();
        Box::pin(async move { Err(RouteError::TopicNotFound { topic }) })
    }

    fn create_topic<'a>(
        &'a self,
        _: &'a TopicName,
        _: u32,
    ) -> BoxFuture<'a, Result<(), CreateTopicError>> {
        Box::pin(async { Ok(()) })
    }

    fn send<'a>(
        &'a self,
        _: &'a TopicName,
        _: &'a QueueName,
        messages: &'a [OutboundMessage],
    ) -> BoxFuture<'a, Result<StoredAs, SendError>> {
        let bodies: Vec<_> = messages
            .iter()
            .map(|message| message.body.clone())
            .collect();
        self.offered.lock().push(bodies.clone());
        let fault = self.faults.lock().pop();
        Box::pin(async move {
            match fault {
                Some(fault) => Err(fault),
                None if bodies.iter().any(|body| body.starts_with(b"bad")) => {
                    Err(SendError::Refused {
                        detail: "it is bad".to_owned(),
                    })
                }
                None => {
                    self.stored.lock().extend(bodies);
                    Ok(StoredAs::Ok)
                }
            }
        })
    }

    fn offsets<'a>(
        &'a self,
        _: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<(QueueName, u64, u64)>, ReadTopicError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn read<'a>(
        &'a self,
        _: &'a TopicName,
        _: &'a QueueName,
        offset: u64,
        _: u32,
    ) -> BoxFuture<'a, Result<(Vec<TopicMessage>, u64), ReadTopicError>> {
        Box::pin(async move { Ok((Vec::new(), offset)) })
    }
}

fn context(folder: &std::path::Path) -> CourierContext {
    let clock = Arc::new(SystemClock);
    let outbox_config = OutboxConfig {
        path: folder.join("outbox.redb"),
        bytes_max: 1 << 20,
        share_bytes_max: 1 << 20,
        commit_interval: Duration::from_millis(5),
        uncommitted_events_max: 1000,
        dead_letters_bytes_max: 1 << 20,
    };
    let (outbox, _) = Outbox::open(outbox_config, clock.clone(), Box::new(|_| {})).unwrap();
    let runtime = PluginRuntime::start(RuntimeConfig {
        mapper_threads: NonZeroUsize::MIN,
        memory_bytes_max: 1 << 24,
        memory_total_bytes_max: 1 << 26,
        call_deadline: Duration::from_millis(10),
        init_deadline: Duration::from_secs(1),
        output_bytes_max: 1 << 20,
        messages_max: 16,
        component_bytes_max: 1 << 20,
        node: "node".into(),
        instance: "instance".into(),
    });
    CourierContext {
        incarnation: IncarnationId(1),
        rule_id: RuleId::parse("test-rule").unwrap(),
        group_id: GroupId::parse("GID_Test").unwrap(),
        destination: Destination {
            instance_id: InstanceId::parse("fake").unwrap(),
            topic: TopicName::parse("Topic").unwrap(),
        },
        instance: None,
        predecessors: Vec::new(),
        feed: Feeds::default().feed(IncarnationId(1), &outbox),
        outbox,
        runtime: runtime.unwrap(),
        rules: Arc::new(RuleSetCell::new()),
        health: Arc::new(HealthCell::new(clock.clone())),
        clock,
        metrics: Arc::new(Metrics::new()),
        delivery: DeliveryConfig {
            retry_age_max: Duration::from_secs(1),
            age_max: Duration::from_secs(1),
        },
        is_single: AtomicBool::new(false),
        faults_in_a_row: AtomicU32::new(0),
    }
}

fn messages(bodies: &[&str]) -> Vec<OutboundMessage> {
    let message = |body: &&str| OutboundMessage {
        tag: None,
        keys: Vec::new(),
        properties: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    bodies.iter().map(message).collect()
}

/// Sends `bodies` through an instance with `faults`, the last first.
async fn deliver(
    bodies: &[&str],
    faults: Vec<SendError>,
) -> (Arc<FakeInstance>, Vec<Option<String>>) {
    let folder = tempfile::tempdir().unwrap();
    let fake = Arc::new(FakeInstance::default());
    *fake.faults.lock() = faults;
    let instance = InstanceConfig {
        sender: Arc::<FakeInstance>::clone(&fake),
        is_topic_created: false,
        topic_queues: 1,
        batch_max: 8,
        batch_bytes_max: 1 << 20,
    };
    let queue = QueueName {
        broker: "broker-a".into(),
        queue: 0,
    };
    let context = context(folder.path());
    match send_all(&context, &instance, &queue, &messages(bodies)).await {
        Delivered::All(refused) => {
            assert_eq!(
                context.health.worst().0,
                None,
                "a finished delivery leaves no problem"
            );
            (fake, refused)
        }
        Delivered::Discarding => panic!("nothing was to be discarded"),
    }
}

fn texts(bodies: &[Vec<u8>]) -> Vec<String> {
    bodies
        .iter()
        .map(|body| String::from_utf8(body.clone()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_bad_message_is_refused_alone_and_the_order_of_the_others_stays() {
    let bodies = ["a", "b", "bad-1", "c", "d", "e", "f", "bad-2", "g", "h"];
    let (fake, refused) = deliver(&bodies, Vec::new()).await;
    let at: Vec<_> = refused
        .iter()
        .enumerate()
        .filter(|(_, it)| it.is_some())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(at, [2, 7]);
    assert_eq!(
        texts(&fake.stored.lock()),
        ["a", "b", "c", "d", "e", "f", "g", "h"]
    );
}

#[tokio::test]
async fn a_retried_batch_is_offered_again_as_it_was() {
    let fault = || SendError::Transport {
        detail: "cut".to_owned(),
    };
    let busy = SendError::Busy {
        detail: "busy".to_owned(),
    };
    let (fake, refused) = deliver(&["a", "b"], vec![fault(), busy, fault()]).await;
    assert_eq!(refused, [None, None]);
    let offered = fake.offered.lock();
    assert_eq!(offered.len(), 4);
    assert!(offered.iter().all(|batch| texts(batch) == ["a", "b"]));
    assert_eq!(texts(&fake.stored.lock()), ["a", "b"]);
}

#[tokio::test]
async fn a_server_without_batches_gets_single_messages_in_order() {
    let fault = SendError::BatchRefused {
        detail: "no batches".to_owned(),
    };
    let (fake, _) = deliver(&["a", "b", "c"], vec![fault]).await;
    let sizes: Vec<_> = fake.offered.lock().iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 1, 1, 1]);
    assert_eq!(texts(&fake.stored.lock()), ["a", "b", "c"]);
}
