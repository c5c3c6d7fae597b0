//! Couriers on a real outbox and a real plugin, with a RocketMQ instance that does as it is told.

pub(crate) mod instance;
pub(crate) mod plugin;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use domain::{
    ChannelFacts, ChannelId, ChannelTicket, ClientId, CloseReason, Destination, EventType, GroupId,
    IncarnationId, InstanceId, Mapped, MappingLimits, MqttVersion, OnFault, OnReject, Ordering,
    PluginName, QueueName, RuleId, SystemClock, TopicName, VersionSelector,
};
use parking_lot::Mutex;
use store::{MetaStore, Outbox, OutboxConfig};
use tempfile::TempDir;
use tokio::sync::mpsc;

use self::instance::FakeInstance;
use super::{CourierContext, RetireQueueError, Timings};
use crate::clock_watch::ClockWatch;
use crate::config::{DeliveryConfig, InstanceConfig};
use crate::couriers::Couriers;
use crate::feed::Feeds;
use crate::health::{Health, HealthCell};
use crate::metrics::Metrics;
use crate::rollback::{self, RollbackRequest};
use crate::rule_set::{ActiveIncarnation, RuleSet, RuleSetCell};
use crate::samples::Samples;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test may vary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) ordering: Ordering,
    pub(crate) on_fault: OnFault,
    pub(crate) age_max: Duration,
    pub(crate) batch_max: usize,
    pub(crate) dead_letters_bytes_max: u64,
    pub(crate) failing_max: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            ordering: Ordering::Strict,
            on_fault: OnFault::DeadLetter,
            age_max: Duration::from_secs(3600),
            batch_max: 8,
            dead_letters_bytes_max: 1 << 20,
            failing_max: Duration::from_millis(40),
        }
    }
}

/// The parts of a pipeline that a courier sees.
pub(crate) struct Rig {
    folder: TempDir,
    setting: Setting,
    pub(crate) fake: Arc<FakeInstance>,
    pub(crate) outbox: Arc<Outbox>,
    meta: Arc<MetaStore>,
    feeds: Arc<Feeds>,
    rules: Arc<RuleSetCell>,
    active: Mutex<BTreeMap<IncarnationId, ActiveIncarnation>>,
    pub(crate) couriers: Couriers,
    pub(crate) samples: Arc<Samples>,
    /// Where the courier asks to go back, and what it asked.
    rollbacks: (
        mpsc::Sender<RollbackRequest>,
        Mutex<mpsc::Receiver<RollbackRequest>>,
    ),
    /// Sequences of each client, in order.
    pub(crate) sent: Mutex<BTreeMap<ClientId, Vec<u64>>>,
}

impl Rig {
    pub(crate) fn new(setting: Setting, queues: &[QueueName]) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), setting, queues)
    }

    fn in_folder(folder: TempDir, setting: Setting, queues: &[QueueName]) -> Self {
        let feeds = Arc::new(Feeds::default());
        let listener = Arc::clone(&feeds);
        let config = OutboxConfig {
            path: folder.path().join("outbox.redb"),
            bytes_max: 1 << 30,
            share_bytes_max: 1 << 30,
            commit_interval: Duration::from_millis(1),
            uncommitted_events_max: 100_000,
            dead_letters_bytes_max: setting.dead_letters_bytes_max,
        };
        let on_commit = Box::new(move |events: &[_]| listener.committed(events));
        let (outbox, _) = Outbox::open(config, Arc::new(SystemClock), on_commit).unwrap();
        let meta = Arc::new(MetaStore::open(folder.path().join("meta.redb")).unwrap());
        let fake = Arc::new(FakeInstance::default());
        fake.list(queues);
        let rollbacks = mpsc::channel(rollback::REQUESTS_MAX);
        Self {
            folder,
            setting,
            fake,
            outbox,
            meta,
            feeds,
            rules: Arc::new(RuleSetCell::new()),
            active: Mutex::default(),
            couriers: Couriers::new(),
            samples: Arc::default(),
            rollbacks: (rollbacks.0, Mutex::new(rollbacks.1)),
            sent: Mutex::default(),
        }
    }

    /// Ends everything and starts it again on the same folder, as after a restart of the host.
    pub(crate) async fn restart(self, queues: &[QueueName]) -> Self {
        self.couriers.shutdown().await;
        self.outbox.close();
        let Self {
            folder,
            setting,
            outbox,
            meta,
            feeds,
            couriers,
            ..
        } = self;
        // The files are locked as long as somebody has them.
        drop((outbox, meta, feeds, couriers));
        Self::in_folder(folder, setting, queues)
    }

    /// Changes what the rule says of its incarnation `id`, or adds it.
    pub(crate) fn put(&self, id: u32, change: impl FnOnce(&mut ActiveIncarnation)) {
        let mut all = self.active.lock();
        let active = all
            .entry(IncarnationId(id))
            .or_insert_with(|| ActiveIncarnation {
                is_retired: false,
                rule_id: RuleId::parse("test-rule").unwrap(),
                revision: 1,
                mapping: Mapped {
                    plugin: PluginName::parse("plugin").unwrap(),
                    version: VersionSelector::Latest,
                    config: "{}".to_owned(),
                    limits: MappingLimits::default(),
                    on_fault: self.setting.on_fault,
                    on_reject: OnReject::DeadLetter,
                },
                ordering: self.setting.ordering,
                mapper: Ok(plugin::loaded().1),
                earlier: Vec::new(),
                awaited: Vec::new(),
                fallback: None,
                generation: 1,
                is_discarding: false,
                predecessors: Arc::default(),
            });
        change(active);
        let incarnations = all.iter().map(|(id, it)| (*id, Arc::new(it.clone())));
        self.rules.swap(RuleSet {
            incarnations: incarnations.collect(),
            ..RuleSet::default()
        });
    }

    pub(crate) fn context(&self, id: u32, predecessors: &[u32]) -> Arc<CourierContext> {
        let clock = Arc::new(SystemClock);
        let instance = InstanceConfig {
            sender: Arc::<FakeInstance>::clone(&self.fake),
            is_topic_created: false,
            topic_queues: 1,
            batch_max: self.setting.batch_max,
            batch_bytes_max: 1 << 20,
        };
        Arc::new(CourierContext {
            incarnation: IncarnationId(id),
            rule_id: RuleId::parse("test-rule").unwrap(),
            group_id: GroupId::parse("GID_Test").unwrap(),
            destination: Destination {
                instance_id: InstanceId::parse("fake").unwrap(),
                topic: TopicName::parse("Topic").unwrap(),
            },
            instance: Some(instance),
            predecessors: predecessors.iter().copied().map(IncarnationId).collect(),
            feed: self.feeds.feed(IncarnationId(id), &self.outbox),
            outbox: Arc::clone(&self.outbox),
            meta: Arc::clone(&self.meta),
            runtime: plugin::loaded().0,
            rules: Arc::clone(&self.rules),
            health: Arc::new(HealthCell::new(clock.clone())),
            clock_watch: Arc::new(ClockWatch::new(clock.clone(), Vec::new())),
            clock,
            metrics: Arc::new(Metrics::new()),
            samples: Arc::clone(&self.samples),
            rollbacks: self.rollbacks.0.clone(),
            delivery: DeliveryConfig {
                retry_age_max: Duration::from_secs(3600),
                age_max: self.setting.age_max,
            },
            timings: self.timings(),
            is_single: AtomicBool::new(false),
            faults_in_a_row: AtomicU32::new(0),
        })
    }

    fn timings(&self) -> Timings {
        Timings {
            send_pause_first: Duration::from_millis(1),
            send_pause: Duration::from_millis(10),
            send_slow: Duration::from_millis(20),
            failing_max: self.setting.failing_max,
            route_every: Duration::from_millis(20),
            route_every_failing: Duration::from_millis(10),
            gate_every: Duration::from_millis(2),
            burial_every: Duration::from_millis(5),
        }
    }

    /// Adds the incarnation `id` and starts its courier.
    pub(crate) fn start(&self, id: u32, predecessors: &[u32]) {
        self.put(id, |_| {});
        self.couriers.start(&self.context(id, predecessors));
    }

    /// One `connect` of `client`; its sequence.
    pub(crate) fn connect(&self, id: u32, client: &str) -> u64 {
        self.open(id, client).0.opened.0
    }

    /// Opens a channel.
    pub(crate) fn open(&self, id: u32, client: &str) -> (ChannelTicket, Arc<ChannelFacts>) {
        let client_id = ClientId::parse(client).unwrap();
        let channel = Arc::new(ChannelFacts {
            group_id: client_id.group(),
            client_id: client_id.clone(),
            channel_id: ChannelId::random(),
            client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            protocol: MqttVersion::V311,
            listener: "tcp",
            username: None,
            keep_alive_seconds: 0,
            clean_start: true,
            session_present: false,
        });
        let incarnation = Some(IncarnationId(id));
        self.outbox.reserve(incarnation).unwrap();
        let ticket = self.outbox.append_opened(incarnation, &channel);
        let mut sent = self.sent.lock();
        sent.entry(client_id).or_default().push(ticket.opened.0);
        (ticket, channel)
    }

    /// Closes a channel. Its sequence is one that no test names.
    pub(crate) fn close(&self, (ticket, channel): &(ChannelTicket, Arc<ChannelFacts>)) {
        let reason = CloseReason::ConnectionLost;
        self.outbox
            .append_closing(*ticket, channel, EventType::TcpClean, reason);
    }

    /// What the courier asked to go back from, if it did.
    pub(crate) fn asked_to_go_back(&self) -> Option<RollbackRequest> {
        self.rollbacks.1.lock().try_recv().ok()
    }

    pub(crate) async fn committed(&self) {
        assert!(self.outbox.committed().await.unwrap());
    }

    pub(crate) fn pending(&self, id: u32) -> u64 {
        self.outbox.counts(IncarnationId(id)).pending
    }

    pub(crate) fn worst(&self, id: u32) -> Option<(Health, String)> {
        let Some(health) = self.couriers.health(IncarnationId(id)) else {
            panic!("courier {id} does not run");
        };
        health.worst().0
    }

    /// Waits until everything of incarnation `id` is settled.
    pub(crate) async fn drained(&self, id: u32) {
        self.committed().await;
        let drained = eventually("everything is settled", || self.pending(id) == 0);
        tokio::pin!(drained);
        let half = tokio::time::sleep(PATIENCE / 2);
        tokio::select! {
            () = &mut drained => {}
            () = half => {
                // What a reader of the failure wants to know.
                println!("{:?} {:?}", self.worst(id), self.outbox.pending_slots(IncarnationId(id)));
                println!("{:?} {:?}", self.queues_in_use(id), self.fake);
                drained.await;
            }
        }
    }

    /// First occurrences of each client are in the order in which its events happened, and none is
    /// missing.
    pub(crate) fn assert_in_order(&self) {
        let firsts = self.fake.firsts();
        for (client, sent) in self.sent.lock().iter() {
            let stored: Vec<_> = firsts.iter().filter(|it| sent.contains(it)).collect();
            let wanted: Vec<_> = sent.iter().collect();
            assert_eq!(stored, wanted, "{client}");
        }
    }

    pub(crate) fn slot_map(&self, id: u32) -> BTreeMap<domain::Slot, QueueName> {
        let stored = self.outbox.slot_map(IncarnationId(id)).unwrap();
        stored.into_iter().flatten().collect()
    }

    /// Queues that the stored map names.
    pub(crate) fn queues_in_use(&self, id: u32) -> Vec<QueueName> {
        let mut queues: Vec<_> = self.slot_map(id).into_values().collect();
        queues.sort();
        queues.dedup();
        queues
    }

    /// Retires `queue` as soon as the courier of incarnation 1 knows its topic.
    pub(crate) async fn retire(&self, queue: QueueName) -> Result<usize, RetireQueueError> {
        loop {
            let retire = self.couriers.retire_queue(IncarnationId(1), queue.clone());
            match retire.await {
                Err(RetireQueueError::NotReady) => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) async fn end(self) {
        self.couriers.shutdown().await;
        self.outbox.close();
    }
}

/// A client by number, whose events are mapped to one message.
pub(crate) fn client(number: usize) -> String {
    format!("GID_Test@@@c{number}")
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
