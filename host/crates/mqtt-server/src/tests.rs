//! A running server with a recording status sink, for tests with raw sockets.

mod admission;
mod ends;
mod messages;
mod refusals;
mod stopping;
mod tls;
mod websockets;
mod wire;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use broker::{Broker, BrokerConfig};
use domain::{
    Admission, Authenticator, BoxFuture, ChannelFacts, ChannelTicket, CloseReason, ConnectAttempt,
    EventType, GroupId, IncarnationId, Principal, RefuseAccessError, RefuseConnectError, Sequence,
    StatusSink, SystemClock,
};
use parking_lot::{Condvar, Mutex};

use crate::{ClientIdPolicy, MqttServer, MqttServerConfig, Parts};

/// Beyond it a test has failed. Nothing waits for it otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct RecordingSink {
    lines: Mutex<Vec<String>>,
    added: Condvar,
    facts: Mutex<Vec<Arc<ChannelFacts>>>,
    refuse: Mutex<Option<RefuseConnectError>>,
    commits_fail: AtomicBool,
    /// No rule records what clients do.
    is_unmatched: AtomicBool,
    /// True: commits do not end.
    is_held: tokio::sync::watch::Sender<bool>,
    sequence: AtomicU64,
}

impl RecordingSink {
    fn record(&self, line: String) {
        self.lines.lock().push(line);
        self.added.notify_all();
    }

    fn incarnation(&self) -> Option<IncarnationId> {
        let is_unmatched = self.is_unmatched.load(Ordering::SeqCst);
        (!is_unmatched).then_some(IncarnationId(1))
    }

    fn hold_commits(&self) {
        self.is_held.send_replace(true);
    }

    fn let_commits_go(&self) {
        self.is_held.send_replace(false);
    }

    /// The first `count` events, as soon as there are so many.
    fn events(&self, count: usize) -> Vec<String> {
        let mut lines = self.lines.lock();
        while lines.len() < count {
            assert!(
                !self.added.wait_for(&mut lines, PATIENCE).timed_out(),
                "only {lines:?}"
            );
        }
        lines.clone()
    }
}

impl StatusSink for RecordingSink {
    fn admit(&self, _: Option<&GroupId>) -> Result<Admission, RefuseConnectError> {
        match *self.refuse.lock() {
            Some(error) => Err(error),
            None => Ok(Admission {
                incarnation: self.incarnation(),
            }),
        }
    }

    fn release(&self, _: Admission) {}

    fn opened(&self, admission: Admission, channel: &Arc<ChannelFacts>) -> ChannelTicket {
        self.facts.lock().push(Arc::clone(channel));
        self.record(format!("{} connect", channel.client_id));
        let opened = Sequence(self.sequence.fetch_add(1, Ordering::SeqCst));
        ChannelTicket {
            incarnation: admission.incarnation,
            opened,
            opened_at_ms: 1,
        }
    }

    fn closing(
        &self,
        _: ChannelTicket,
        channel: &Arc<ChannelFacts>,
        event_type: EventType,
        reason: CloseReason,
    ) {
        self.record(format!(
            "{} {} {}",
            channel.client_id,
            event_type.as_str(),
            reason.as_str()
        ));
    }

    fn committed(&self) -> BoxFuture<'static, bool> {
        let is_stored = !self.commits_fail.load(Ordering::SeqCst);
        let mut is_held = self.is_held.subscribe();
        Box::pin(async move {
            // The sink is there as long as the server.
            is_held.wait_for(|is_held| !is_held).await.is_ok() && is_stored
        })
    }
}

/// Lets everybody in, or nobody, and remembers who asked.
#[derive(Debug, Default)]
struct Doorman {
    refuse: Mutex<Option<RefuseAccessError>>,
    asked: Mutex<Vec<Asked>>,
    /// True: it thinks.
    is_held: tokio::sync::watch::Sender<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    client_id: String,
    username: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    peer: SocketAddr,
    listener: (&'static str, SocketAddr),
}

impl Authenticator for Doorman {
    fn authenticate<'a>(
        &'a self,
        attempt: ConnectAttempt<'a>,
    ) -> BoxFuture<'a, Result<Principal, RefuseAccessError>> {
        self.asked.lock().push(Asked {
            client_id: attempt.client_id.to_owned(),
            username: attempt.username.map(<[u8]>::to_vec),
            password: attempt.password.map(<[u8]>::to_vec),
            peer: attempt.peer,
            listener: (attempt.listener.kind, attempt.listener.address),
        });
        let mut is_held = self.is_held.subscribe();
        Box::pin(async move {
            is_held.wait_for(|is_held| !is_held).await.unwrap();
            match *self.refuse.lock() {
                Some(error) => Err(error),
                None => Ok(Principal::anonymous()),
            }
        })
    }
}

struct Host {
    sink: Arc<RecordingSink>,
    doorman: Arc<Doorman>,
    broker: Arc<Broker>,
    server: Option<MqttServer>,
    runtime: tokio::runtime::Runtime,
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn config() -> MqttServerConfig {
    MqttServerConfig {
        tcp: vec![loopback()],
        ws: vec![loopback()],
        tls: Vec::new(),
        wss: Vec::new(),
        certificate: None,
        workers: NonZeroUsize::new(2).unwrap(),
        packet_bytes_max: NonZeroU32::new(16 * 1024).unwrap(),
        payload_bytes_max: 8 * 1024,
        connect_timeout: Duration::from_secs(5),
        keep_alive_max: Duration::from_secs(480),
        client_ids: ClientIdPolicy::Any,
        connack_after_commit: false,
    }
}

fn parts(broker: &Arc<Broker>, sink: &Arc<RecordingSink>, doorman: &Arc<Doorman>) -> Parts {
    Parts {
        broker: Arc::clone(broker),
        sink: Arc::clone(sink) as Arc<dyn StatusSink>,
        authenticator: Arc::clone(doorman) as Arc<dyn Authenticator>,
        clock: Arc::new(SystemClock),
    }
}

impl Host {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut MqttServerConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let sink = Arc::<RecordingSink>::default();
        let limits = BrokerConfig::with_connections_max(1_000);
        let broker = Broker::new(
            limits,
            Arc::clone(&sink) as Arc<dyn StatusSink>,
            Arc::new(SystemClock),
        );
        let doorman = Arc::<Doorman>::default();
        let parts = parts(&broker, &sink, &doorman);
        let server = MqttServer::start(config, parts).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            sink,
            doorman,
            broker,
            server: Some(server),
            runtime,
        }
    }

    fn tcp(&self) -> SocketAddr {
        self.server.as_ref().unwrap().addresses().tcp[0]
    }

    fn ws(&self) -> SocketAddr {
        self.server.as_ref().unwrap().addresses().ws[0]
    }

    fn parts(&self) -> Parts {
        parts(&self.broker, &self.sink, &self.doorman)
    }

    fn shutdown(&mut self, grace: Duration) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(async {
                tokio::time::timeout(PATIENCE, server.shutdown(grace))
                    .await
                    .expect("the server stops");
            });
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.shutdown(Duration::from_secs(5));
        }
    }
}
