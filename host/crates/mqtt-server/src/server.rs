//! Starts and stops the server: one thread with an ntex `System`, which has its worker threads.
//!
//! Only `Send` values pass between that thread and the rest. The thread also drives the broker's
//! timer, so that whoever starts the server has nothing else to run.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::Broker;
use domain::{Authenticator, Clock, StatusSink};
use ntex::io::{Io, IoBoxed, IoConfig};
use ntex::server::Server;
use ntex::service::{Pipeline, Service, cfg::SharedCfg, fn_service};
use ntex::time::{Millis, Seconds};
use ntex::util::BytePageSize;
use ntex_mqtt::{MqttError, MqttServiceConfig, QoS};

use crate::admission::Gate;
use crate::close_reason::Fault;
use crate::link::{Link, Live};
use crate::listen::{self, Kind, Listening, StartServerError};
use crate::refusal_log::RefusalLog;
use crate::resume::Resume;
use crate::tls::{Reloader, Tls, TlsStats};
use crate::{MqttServerConfig, v3, v5, websocket};

/// Messages with `QoS` 1 or 2 that may be in flight towards one client, or from it.
pub(crate) const MAX_IN_FLIGHT: u16 = 64;
/// How often the broker looks for wills and sessions that are due.
const TICK: Duration = Duration::from_millis(500);
/// What a worker gets for connections that were not closed within the grace period.
const WORKER_STOP: Millis = Millis(1_000);
/// Connections that have not sent their CONNECT yet, beyond the broker's limit.
const UNCONNECTED_MAX: usize = 4_096;

/// Where the server listens; with the ports that were picked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundAddresses {
    /// MQTT over TCP.
    pub tcp: Vec<SocketAddr>,
    /// MQTT over WebSocket.
    pub ws: Vec<SocketAddr>,
    /// MQTT over TLS.
    pub tls: Vec<SocketAddr>,
    /// MQTT over WebSocket over TLS.
    pub wss: Vec<SocketAddr>,
}

/// What the server works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Who hears of accepted clients.
    pub broker: Arc<Broker>,
    /// Only asked for commits, if CONNACK is to wait for them.
    pub sink: Arc<dyn StatusSink>,
    /// Who decides about every CONNECT.
    pub authenticator: Arc<dyn Authenticator>,
    /// Tells whether certificates are valid.
    pub clock: Arc<dyn Clock>,
}

/// A running MQTT server. Dropping it does not stop it.
#[derive(Debug)]
pub struct MqttServer {
    broker: Arc<Broker>,
    addresses: BoundAddresses,
    live: Arc<Live>,
    tls: Option<(Arc<Tls>, Reloader)>,
    control: Server,
    thread: JoinHandle<io::Result<()>>,
}

impl MqttServer {
    /// Loads the certificate, binds all listeners and starts to serve.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the certificate, which listener cannot be bound, or that the threads do
    /// not start.
    pub fn start(config: MqttServerConfig, parts: Parts) -> Result<Self, StartServerError> {
        let tls = match &config.certificate {
            Some(files) => {
                let clock = Arc::clone(&parts.clock);
                Some(Tls::start(files.clone(), config.connect_timeout, clock)?)
            }
            None if config.tls.is_empty() && config.wss.is_empty() => None,
            None => return Err(StartServerError::NoCertificate),
        };
        let listening = listen::bind_all(&config)?;
        let addresses = listen::addresses(&listening);
        let live = Arc::<Live>::default();
        let broker = Arc::clone(&parts.broker);
        let serving = Serving {
            config: Arc::new(config),
            parts,
            refusal_log: Arc::default(),
            tls: tls.as_ref().map(|(tls, _)| Arc::clone(tls)),
            live: Arc::clone(&live),
        };
        let (started, control) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("mqtt".to_owned())
            .spawn(move || serving.run(listening, started))
            .map_err(|source| StartServerError::Thread { source })?;
        let control = control.recv().map_err(|_| StartServerError::Stopped)?;
        Ok(Self {
            broker,
            addresses,
            live,
            tls,
            control,
            thread,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &BoundAddresses {
        &self.addresses
    }

    /// What became of handshakes and certificates; `None` without a certificate. The function is good
    /// for as long as anybody wants to ask.
    pub fn tls_stats(&self) -> impl Fn() -> Option<TlsStats> + Send + Sync + 'static {
        let tls = self.tls.as_ref().map(|(tls, _)| Arc::clone(tls));
        move || tls.as_ref().map(|tls| tls.stats())
    }

    /// Stops accepting, shuts the broker down (which emits every `TcpClean` at once), tells clients of
    /// MQTT 5, closes the sockets and ends the threads. Sockets that are not closed within `grace` are
    /// dropped.
    pub async fn shutdown(self, grace: Duration) {
        self.control.pause().await;
        self.broker.shutdown();
        if tokio::time::timeout(grace, self.live.empty())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.live.count(),
                "connections are dropped at shutdown"
            );
        }
        self.control.stop(true).await;
        let thread = self.thread;
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "mqtt server ended with an error"),
            Ok(Err(_)) | Err(_) => tracing::error!("mqtt server's thread panicked"),
        }
    }
}

/// What the server's thread needs.
struct Serving {
    config: Arc<MqttServerConfig>,
    parts: Parts,
    refusal_log: Arc<RefusalLog>,
    tls: Option<Arc<Tls>>,
    live: Arc<Live>,
}

impl Serving {
    fn run(self, listening: Vec<Listening>, started: mpsc::SyncSender<Server>) -> io::Result<()> {
        let system = ntex::rt::System::new("mqtt", ntex::rt::DefaultRuntime);
        system.block_on(async move {
            let mut server = self.listen(listening)?;
            // `start` waits for it: should nobody, then nobody could ever stop this server.
            if started.send(server.clone()).is_err() {
                server.stop(false).await;
                return Ok(());
            }
            drop(started);
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    ended = &mut server => return ended,
                    now = tick.tick() => self.parts.broker.advance(now),
                }
            }
        })
    }

    fn listen(&self, listening: Vec<Listening>) -> io::Result<Server> {
        let per_worker = self
            .parts
            .broker
            .config()
            .connections_max
            .saturating_add(UNCONNECTED_MAX);
        let mut builder = ntex::server::build()
            .workers(self.config.workers.get())
            .max_connections(per_worker)
            .graceful_shutdown_timeout(WORKER_STOP)
            .disable_signals();
        for Listening {
            kind,
            address,
            socket,
        } in listening
        {
            let gate = Gate {
                broker: Arc::clone(&self.parts.broker),
                sink: Arc::clone(&self.parts.sink),
                authenticator: Arc::clone(&self.parts.authenticator),
                refusal_log: Arc::clone(&self.refusal_log),
                config: Arc::clone(&self.config),
                live: Arc::clone(&self.live),
                kind,
                address,
            };
            let name = format!("{} {address}", kind.as_str());
            let config = connection_config(&self.config);
            builder = match (kind, self.tls.clone()) {
                (Kind::Tcp, _) => builder.listen(name, socket, config, async move |()| {
                    let mqtt = Pipeline::new((), mqtt(gate.clone()));
                    fn_service(async move |io: Io| mqtt.call(io.boxed()).await)
                })?,
                (Kind::Ws, _) => builder.listen(name, socket, config, async move |()| {
                    let mqtt = Pipeline::new((), mqtt(gate.clone()));
                    websocket::service(mqtt.bind(), gate.frame_bytes())
                })?,
                (Kind::Tls, Some(tls)) => {
                    builder.listen(name, socket, config, async move |()| {
                        let (tls, mqtt) = (Arc::clone(&tls), Pipeline::new((), mqtt(gate.clone())));
                        fn_service(async move |io: Io| match tls.accept(io, kind).await {
                            Some(io) => mqtt.call(io.boxed()).await,
                            None => Ok(()),
                        })
                    })?
                }
                (Kind::Wss, Some(tls)) => {
                    builder.listen(name, socket, config, async move |()| {
                        let mqtt = Pipeline::new((), mqtt(gate.clone()));
                        let http = websocket::service(mqtt.bind(), gate.frame_bytes());
                        let (tls, http) = (Arc::clone(&tls), Pipeline::new((), http));
                        fn_service(async move |io: Io| match tls.accept(io, kind).await {
                            Some(io) => http.call(io).await,
                            None => Ok(()),
                        })
                    })?
                }
                // `start` has refused it.
                (Kind::Tls | Kind::Wss, None) => return Err(io::Error::other("no certificate")),
            };
        }
        Ok(builder.run())
    }
}

fn connection_config(config: &MqttServerConfig) -> SharedCfg {
    let whole_seconds = config.connect_timeout.as_millis().div_ceil(1000);
    let connect_timeout = Seconds(u16::try_from(whole_seconds).unwrap_or(u16::MAX));
    SharedCfg::new("MQTT")
        .add(
            MqttServiceConfig::new()
                .set_max_qos(QoS::ExactlyOnce)
                .set_max_size(config.packet_bytes_max.get())
                .set_max_receive(MAX_IN_FLIGHT)
                .set_max_send(MAX_IN_FLIGHT)
                // What a client published before its DISCONNECT counts.
                .set_handle_qos_after_disconnect(Some(QoS::ExactlyOnce))
                .protocol_version_timeout(connect_timeout)
                .set_connect_timeout(connect_timeout),
        )
        // An idle connection keeps one write page: 4 KiB instead of 16.
        .add(IoConfig::new().set_write_size(BytePageSize::Size4))
        .into()
}

fn mqtt(gate: Gate) -> impl Service<(), IoBoxed, Res = (), Error = io::Error> {
    let gate = Rc::new(gate);
    let bytes_max = gate.config.payload_bytes_max;
    let gate_v3 = Rc::clone(&gate);
    ntex_mqtt::MqttServer::new()
        .v3(ntex_mqtt::v3::MqttServer::new(
            async move |session: &ntex_mqtt::v3::Session<Link>, packet| {
                v3::publish(session, packet, bytes_max).await
            },
        )
        .protocol(async |session: &ntex_mqtt::v3::Session<Link>, packet| {
            Ok::<_, Fault>(v3::protocol(session, packet))
        })
        .control(async |session: &ntex_mqtt::v3::Session<Link>, control| {
            Ok::<_, Fault>(v3::control(session, &control))
        })
        .middleware(Resume)
        .build(async move |packet| v3::connect(Rc::clone(&gate_v3), packet).await))
        .v5(ntex_mqtt::v5::MqttServer::new(
            async move |session: &ntex_mqtt::v5::Session<Link>, packet| {
                v5::publish(session, packet, bytes_max).await
            },
        )
        .protocol(async |session: &ntex_mqtt::v5::Session<Link>, packet| {
            Ok::<_, Fault>(v5::protocol(session, packet))
        })
        .control(async |session: &ntex_mqtt::v5::Session<Link>, control| {
            Ok::<_, Fault>(v5::control(session, &control))
        })
        .middleware(Resume)
        .build(async move |packet| v5::connect(Rc::clone(&gate), packet).await))
        .map_err(|error: MqttError<Fault>| {
            tracing::debug!(%error, "connection ended before or with its CONNECT");
            io::Error::other("mqtt connection ended")
        })
}
