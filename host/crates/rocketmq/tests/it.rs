//! Against the embedded servers: what is sent is read back, and faults end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use domain::{
    InstanceId, MessageSender, OutboundMessage, QueueName, ReadTopicError, RouteError, SendError,
    StoredAs, TopicMessage, TopicName,
};
use embedded_rocketmq::{EmbeddedConfig, EmbeddedRocketmq};
use rocketmq::{RocketmqConfig, RocketmqInstance, RocketmqRuntime};
use tokio::time::{Instant, sleep};

/// The servers and a client, each ended in the right order.
struct Fixture {
    tokio: tokio::runtime::Runtime,
    library: RocketmqRuntime,
    instance: RocketmqInstance,
    send_timeout: Duration,
}

impl Fixture {
    fn new(name_server: SocketAddr) -> Self {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let library = RocketmqRuntime::start().unwrap();
        let config = config(name_server);
        let send_timeout = config.send_timeout;
        let instance = RocketmqInstance::new(&library, config).unwrap();
        Self {
            tokio,
            library,
            instance,
            send_timeout,
        }
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.tokio.block_on(future)
    }

    fn end(self) {
        self.tokio.block_on(self.instance.shutdown());
        self.library.shutdown();
    }
}

fn config(name_server: SocketAddr) -> RocketmqConfig {
    RocketmqConfig {
        instance_id: InstanceId::parse("embedded").unwrap(),
        name_servers: vec![name_server.to_string()],
        namespace: String::new(),
        credentials: None,
        tls: false,
        send_timeout: Duration::from_secs(3),
        producer_group: "RULEMILL".to_owned(),
    }
}

fn start(data_dir: &Path, name_server: SocketAddr, broker: SocketAddr) -> EmbeddedRocketmq {
    EmbeddedRocketmq::start(EmbeddedConfig {
        data_dir: data_dir.to_owned(),
        name_server_listen: name_server,
        broker_listen: broker,
    })
    .unwrap()
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn message(number: usize) -> OutboundMessage {
    OutboundMessage {
        tag: Some(format!("tag{}", number % 3)),
        keys: vec![format!("key-{number}"), "общий".to_owned()],
        properties: vec![
            ("eventId".to_owned(), format!("e{number}")),
            ("sequence".to_owned(), number.to_string()),
            ("中文".to_owned(), "✓".to_owned()),
        ],
        body: format!("{{\"n\":{number}}}").into_bytes(),
    }
}

async fn read_all(
    instance: &RocketmqInstance,
    topic: &TopicName,
) -> Result<Vec<TopicMessage>, ReadTopicError> {
    let mut all = Vec::new();
    for (queue, lowest, end) in instance.offsets(topic).await? {
        let mut next = lowest;
        while next < end {
            let (messages, after) = instance.read(topic, &queue, next, 32).await?;
            assert!(after > next, "{queue} stands still at {next}");
            next = after;
            all.extend(messages);
        }
    }
    Ok(all)
}

/// Sends until it works, as the courier does.
async fn send_until_stored(
    instance: &RocketmqInstance,
    topic: &TopicName,
    queue: &QueueName,
    limit: Duration,
) -> Result<(), SendError> {
    let deadline = Instant::now() + limit;
    loop {
        match instance.send(topic, queue, &[message(9)]).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

#[test]
fn sent_messages_are_read_back_equal_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let servers = start(folder.path(), any_port(), any_port());
    let fixture = Fixture::new(servers.name_server());
    let instance = &fixture.instance;
    fixture.block_on(async {
        let topic = topic("TopicB");
        instance.create_topic(&topic, 4).await.unwrap();
        instance.create_topic(&topic, 2).await.unwrap();
        let queues = instance.route(&topic).await.unwrap();
        assert_eq!(queues.len(), 4, "creating it again must not change it");
        let sent: Vec<_> = (0..100).map(message).collect();
        for (number, batch) in sent.chunks(30).enumerate() {
            let stored = instance
                .send(&topic, &queues[number % 2], batch)
                .await
                .unwrap();
            assert_eq!(stored, StoredAs::Ok);
        }
        assert_eq!(
            instance.send(&topic, &queues[3], &[message(100)]).await,
            Ok(StoredAs::Ok)
        );

        let read = read_all(instance, &topic).await.unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (number, batch) in sent.chunks(30).enumerate() {
            if number % 2 == 0 {
                first.extend(batch);
            } else {
                second.extend(batch);
            }
        }
        let last = message(100);
        let wanted: Vec<_> = first.into_iter().chain(second).chain([&last]).collect();
        assert_eq!(read.len(), wanted.len());
        for (read, sent) in read.iter().zip(wanted) {
            assert_eq!(
                (&read.tag, &read.keys, &read.body),
                (&sent.tag, &sent.keys, &sent.body)
            );
            assert_eq!(read.properties, sent.properties);
        }
    });
    fixture.end();
    servers.shutdown();
}

#[test]
fn a_missing_topic_is_said_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let servers = start(folder.path(), any_port(), any_port());
    let fixture = Fixture::new(servers.name_server());
    let instance = &fixture.instance;
    fixture.block_on(async {
        let known = topic("Known");
        instance.create_topic(&known, 1).await.unwrap();
        let queues = instance.route(&known).await.unwrap();
        let missing = topic("Misspelt");
        let not_found = RouteError::TopicNotFound {
            topic: missing.clone(),
        };
        assert_eq!(instance.route(&missing).await, Err(not_found.clone()));
        assert_eq!(
            instance.offsets(&missing).await,
            Err(not_found.clone().into())
        );
        let error = instance
            .send(&missing, &queues[0], &[message(1)])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "no_route", "{error}");
        assert_eq!(instance.route(&missing).await, Err(not_found));
    });
    fixture.end();
    servers.shutdown();
}

#[test]
fn an_unreachable_name_server_is_said_quickly() {
    let unused = std::net::TcpListener::bind(any_port())
        .unwrap()
        .local_addr()
        .unwrap();
    let fixture = Fixture::new(unused);
    let instance = &fixture.instance;
    fixture.block_on(async {
        let began = Instant::now();
        let error = instance.route(&topic("TopicB")).await.unwrap_err();
        let RouteError::Unreachable { addresses, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*addresses, unused.to_string());
        let queue = QueueName {
            broker: "broker-a".into(),
            queue: 0,
        };
        let error = instance
            .send(&topic("TopicB"), &queue, &[message(1)])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "transport", "{error}");
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
    });
    fixture.end();
}

#[test]
fn after_a_restart_messages_are_there_and_sends_work_again() {
    let folder = tempfile::tempdir().unwrap();
    let servers = start(folder.path(), any_port(), any_port());
    let (name_server, broker) = (servers.name_server(), servers.broker());
    let fixture = Fixture::new(name_server);
    let instance = &fixture.instance;
    let topic = topic("TopicB");
    let queue = fixture.block_on(async {
        instance.create_topic(&topic, 1).await.unwrap();
        let queue = instance.route(&topic).await.unwrap().remove(0);
        instance
            .send(&topic, &queue, &[message(1), message(2)])
            .await
            .unwrap();
        queue
    });
    servers.shutdown();
    fixture.block_on(async {
        // More refused connections than the library takes before it stops trying for 30 s.
        for _ in 0..12 {
            let error = instance
                .send(&topic, &queue, &[message(3)])
                .await
                .unwrap_err();
            assert_eq!(error.kind(), "transport", "{error}");
        }
    });
    let servers = start(folder.path(), name_server, broker);
    fixture.block_on(async {
        send_until_stored(instance, &topic, &queue, Duration::from_secs(5))
            .await
            .unwrap();
        let read = read_all(instance, &topic).await.unwrap();
        let bodies: Vec<_> = read
            .iter()
            .map(|read| String::from_utf8_lossy(&read.body))
            .collect();
        assert_eq!(bodies, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":9}"#]);
    });
    fixture.end();
    servers.shutdown();
}

#[test]
fn messages_survive_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let killed = folder.path().join("killed");
    let servers = start(&folder.path().join("running"), any_port(), any_port());
    let fixture = Fixture::new(servers.name_server());
    let topic = topic("TopicB");
    fixture.block_on(async {
        fixture.instance.create_topic(&topic, 1).await.unwrap();
        let queue = fixture.instance.route(&topic).await.unwrap().remove(0);
        fixture
            .instance
            .send(&topic, &queue, &[message(1), message(2)])
            .await
            .unwrap();
    });
    // What a killed process leaves is what is in its files while it runs.
    copy_folder(&folder.path().join("running"), &killed);
    assert!(
        killed.join("store/abort").exists(),
        "the copy is of a clean end"
    );
    fixture.end();
    servers.shutdown();

    let servers = start(&killed, any_port(), any_port());
    let fixture = Fixture::new(servers.name_server());
    fixture.block_on(async {
        let read = read_all(&fixture.instance, &topic).await.unwrap();
        let bodies: Vec<_> = read
            .iter()
            .map(|read| String::from_utf8_lossy(&read.body))
            .collect();
        assert_eq!(bodies, [r#"{"n":1}"#, r#"{"n":2}"#]);
    });
    fixture.end();
    servers.shutdown();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_send_to_a_server_that_never_answers_ends_by_its_time_out() {
    let silent = std::net::TcpListener::bind(any_port()).unwrap();
    let fixture = Fixture::new(silent.local_addr().unwrap());
    fixture.block_on(async {
        let began = Instant::now();
        let queue = QueueName {
            broker: "broker-a".into(),
            queue: 0,
        };
        let error = fixture
            .instance
            .send(&topic("TopicB"), &queue, &[message(1)])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "transport", "{error}");
        assert!(
            began.elapsed() < 2 * fixture.send_timeout,
            "{:?}",
            began.elapsed()
        );
    });
    fixture.end();
}
