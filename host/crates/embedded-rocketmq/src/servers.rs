//! Runs the two servers on their own runtime until told to stop.
//!
//! A broker that fails to start must not leave the name server running: the runtime's end would then
//! wait for it for half a minute.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rocketmq_broker::config::broker_config::BrokerConfig;
use rocketmq_broker::config::validated::ValidatedBrokerConfig;
use rocketmq_namesrv::NamesrvConfig;
use rocketmq_observability::{TelemetryHandle, TelemetryRuntimeGuard};
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};
use rocketmq_store::MessageStoreConfig;
use rocketmq_transport::api::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::StartEmbeddedError;

/// How long the name server may take until it answers.
const NAME_SERVER_START_MAX: Duration = Duration::from_secs(20);
/// The library's default preallocates 1.4 GB at the first message.
const COMMIT_LOG_FILE_BYTES: usize = 16 * 1024 * 1024;
/// 30,000 entries of 20 bytes.
const CONSUME_QUEUE_FILE_BYTES: usize = 30_000 * 20;
const INDEX_SLOTS_MAX: u32 = 50_000;
const INDEX_ENTRIES_MAX: u32 = 200_000;
/// The most that the library allows. Above it, messages older than three days go; above 90 % it
/// refuses messages.
const DISK_USED_PERCENT_MAX: usize = 84;

/// How often the broker tells the name server of its topics; the library does so no more often. A new topic of which the
/// name server was not told at once, as on a busy machine, is known after so long.
const REGISTRATION_MS: u64 = 10_000;

type Ready = mpsc::SyncSender<Result<(), StartEmbeddedError>>;

/// Addresses (ports known) and files.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) data_dir: PathBuf,
    pub(crate) name_server: SocketAddr,
    pub(crate) broker: SocketAddr,
}

/// Runs until `stop` fires or its sender is gone. Says through `ready` once how the start went.
pub(crate) fn run(layout: &Layout, ready: &Ready, stop: oneshot::Receiver<()>) {
    let owner = match runtime() {
        Ok(owner) => owner,
        Err(error) => return report(ready, Err(error)),
    };
    owner.block_on(Box::pin(serve(&owner, layout, ready, stop)));
    match owner.shutdown_runtime_blocking() {
        Ok(report) if report.is_healthy() => tracing::info!("embedded rocketmq stopped"),
        Ok(report) => {
            tracing::warn!(
                report = report.to_json(),
                "embedded rocketmq stopped uncleanly"
            );
        }
        Err(error) => tracing::warn!(error = %error, "embedded rocketmq stopped uncleanly"),
    }
}

fn runtime() -> Result<RuntimeOwner, StartEmbeddedError> {
    let mut config = RuntimeConfig::server_default("rocketmq-embed");
    config.worker_threads = 2;
    RuntimeOwner::plan(config)
        .map_err(|error| StartEmbeddedError::server("runtime", &error))?
        .build()
        .map_err(|error| StartEmbeddedError::server("runtime", &error))
}

fn report(ready: &Ready, outcome: Result<(), StartEmbeddedError>) {
    if ready.send(outcome).is_err() {
        // `start` waits for exactly one report, so this is a second one.
        tracing::error!("nobody waits for the embedded rocketmq");
    }
}

async fn serve(owner: &RuntimeOwner, layout: &Layout, ready: &Ready, stop: oneshot::Receiver<()>) {
    let (stop_name_server, name_server_stopped) = oneshot::channel::<()>();
    let mut name_server = JoinSet::new();
    name_server.spawn(run_name_server(name_server_future(
        owner,
        layout,
        name_server_stopped,
    )));
    match start_broker(owner, layout, &mut name_server).await {
        Err(error) => report(ready, Err(error)),
        Ok(broker) => {
            tracing::info!(
                name_server = %layout.name_server,
                broker = %layout.broker,
                "embedded rocketmq started"
            );
            report(ready, Ok(()));
            // Either `shutdown` was called or the handle was dropped.
            stop.await.ok();
            Box::pin(broker.shutdown()).await;
        }
    }
    // The receiver is gone if the name server has ended by itself; `run_name_server` has said so.
    stop_name_server.send(()).ok();
    while name_server.join_next().await.is_some() {}
}

type NameServerEnd = Result<(), String>;

async fn run_name_server(end: impl Future<Output = NameServerEnd>) {
    if let Err(error) = end.await {
        tracing::error!(error, "embedded rocketmq name server failed");
    }
}

fn name_server_future(
    owner: &RuntimeOwner,
    layout: &Layout,
    stopped: oneshot::Receiver<()>,
) -> impl Future<Output = NameServerEnd> + Send + use<> {
    let folder = layout.data_dir.join("namesrv");
    let config = NamesrvConfig {
        rocketmq_home: text(&layout.data_dir),
        kv_config_path: text(&folder.join("kvConfig.json")),
        config_store_path: text(&folder.join("namesrv.properties")),
        ..NamesrvConfig::default()
    };
    let boot = rocketmq_namesrv::bootstrap::Builder::new(
        owner.root_context().component("namesrv"),
        TelemetryHandle::noop(),
    )
    .set_name_server_config(config)
    .set_server_config(server_config(layout.name_server))
    .build();
    async move {
        let stop = async move {
            // A dropped sender means stop, too.
            stopped.await.ok();
        };
        Box::pin(boot.boot_with_shutdown(stop))
            .await
            .map_err(|error| format!("{error:?}"))
    }
}

type Broker = rocketmq_broker::BrokerBootstrap<rocketmq_broker::Running>;

async fn start_broker(
    owner: &RuntimeOwner,
    layout: &Layout,
    name_server: &mut JoinSet<()>,
) -> Result<Broker, StartEmbeddedError> {
    await_name_server(reachable(layout.name_server), name_server).await?;
    let (broker, store) = broker_config(layout);
    let config = ValidatedBrokerConfig::try_from_parts(broker, store)
        .map_err(|error| StartEmbeddedError::server("broker configuration", &error))?;
    let boot = rocketmq_broker::Builder::new(
        owner.root_context().component("broker"),
        TelemetryRuntimeGuard::noop(),
    )
    .with_validated_config(config)
    .build();
    let boot = Box::pin(boot.initialize())
        .await
        .map_err(|error| StartEmbeddedError::server("broker", &error))?;
    Box::pin(boot.start())
        .await
        .map_err(|error| StartEmbeddedError::server("broker", &error))
}

async fn await_name_server(
    address: SocketAddr,
    name_server: &mut JoinSet<()>,
) -> Result<(), StartEmbeddedError> {
    let deadline = Instant::now() + NAME_SERVER_START_MAX;
    while TcpStream::connect(address).await.is_err() {
        let problem = if name_server.try_join_next().is_some() {
            "it ended at its start"
        } else if Instant::now() > deadline {
            "it does not listen"
        } else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        return Err(StartEmbeddedError::Server {
            part: "name server",
            detail: problem.to_owned(),
        });
    }
    Ok(())
}

fn broker_config(layout: &Layout) -> (BrokerConfig, MessageStoreConfig) {
    let store_path = text(&layout.data_dir.join("store"));
    let mut broker = BrokerConfig {
        listen_port: u32::from(layout.broker.port()),
        namesrv_addr: Some(reachable(layout.name_server).to_string().into()),
        store_path_root_dir: store_path.clone().into(),
        auth_config_path: text(&layout.data_dir.join("auth")).into(),
        auto_create_topic_enable: false,
        register_name_server_period: REGISTRATION_MS,
        broker_server_config: server_config(layout.broker),
        ..BrokerConfig::default()
    };
    if !layout.broker.ip().is_unspecified() {
        // What the broker tells its clients; for 0.0.0.0 the library picks an address of the machine.
        broker.broker_ip1 = layout.broker.ip().to_string().into();
    }
    broker.broker_identity.broker_name = "broker-a".into();
    let store = MessageStoreConfig {
        store_path_root_dir: store_path.into(),
        mapped_file_size_commit_log: COMMIT_LOG_FILE_BYTES,
        mapped_file_size_consume_queue: CONSUME_QUEUE_FILE_BYTES,
        max_hash_slot_num: INDEX_SLOTS_MAX,
        max_index_num: INDEX_ENTRIES_MAX,
        disk_max_used_space_ratio: DISK_USED_PERCENT_MAX,
        // Otherwise messages that are not old are deleted, too, on a disk used to 85 %.
        clean_file_forcibly_enable: false,
        ha_listen_address: layout.broker.ip(),
        ha_listen_port: usize::from(layout.broker.port()) + 1,
        ..MessageStoreConfig::default()
    };
    (broker, store)
}

fn server_config(address: SocketAddr) -> ServerConfig {
    ServerConfig {
        bind_address: address.ip().to_string(),
        listen_port: u32::from(address.port()),
        ..ServerConfig::default()
    }
}

/// Where this process reaches a server of its own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
