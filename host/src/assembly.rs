//! Puts the crates together and takes them apart again, in the order of the data.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use admin_api::{
    AdminCertificate, AdminConfig, AdminServer, Probes, TokenHash, ensure_admin_token,
};
use anyhow::Context as _;
use broker::{Broker, BrokerConfig};
use domain::{Clock, StatusSink, SystemClock};
use mqtt_server::{CertificateFiles, ClientIdPolicy, MqttServer, MqttServerConfig, Parts};
use pipeline::{BuiltInPlugin, DeliveryConfig, Pipeline, PipelineConfig};
use plugin_runtime::RuntimeConfig;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::authentication::Authentication;
use crate::config::{self, Config};
use crate::metrics::Sockets;
use crate::run_json::{self, Addresses, RunJson};
use crate::senders::{self, Senders};
use crate::{banner, built_in, compiled_code, metrics, open_files};

/// Events that may wait for their commit: at 45,000 events/s almost three seconds of a stuck disk.
const UNCOMMITTED_EVENTS_MAX: usize = 131_072;
/// How long sockets get to send their last bytes at the end.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Runs the host until SIGTERM or SIGINT.
///
/// # Errors
///
/// Says which part did not start.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("rulemill")
        .build()
        .context("async runtime does not start")?;
    let result = runtime.block_on(serve(config));
    // Blocking work that hangs, such as a compiler, must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The running parts, in the order in which they start.
struct Host {
    senders: Senders,
    pipeline: Pipeline,
    mqtt: MqttServer,
    admin: JoinSet<()>,
    admin_shutdown: CancellationToken,
    addresses: Addresses,
    /// For a browser, once.
    sign_in_link: String,
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // Listening before anything starts: an early signal must not kill a half-started host.
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let data_dir = config.node.data_dir.as_path();
    make_data_dir(data_dir)?;
    open_files::raise(config.mqtt.connections_max);
    let host = start(config).await?;
    let run = RunJson {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        addresses: host.addresses.clone(),
    };
    run_json::write(data_dir, &run).context("run.json cannot be written")?;
    banner::print(
        &host.addresses,
        data_dir,
        &host.sign_in_link,
        &host.pipeline.control,
    );
    first_of(&mut terminate, &mut interrupt).await;
    tracing::info!("shutting down");
    let result = tokio::select! {
        () = host.shutdown(config.delivery.shutdown_grace) => Ok(()),
        () = first_of(&mut terminate, &mut interrupt) => {
            Err(anyhow::anyhow!("a second signal came: ended at once; what is committed is in the outbox"))
        }
    };
    run_json::remove(data_dir).context("run.json cannot be removed")?;
    result
}

async fn first_of(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn make_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("data folder {} cannot be made", data_dir.display()))
}

async fn start(config: &Config) -> anyhow::Result<Host> {
    let data_dir = config.node.data_dir.clone();
    let configured = config.rocketmq.clone();
    let open = move || senders::open(&configured, &data_dir);
    let (senders, instances) = tokio::task::spawn_blocking(open).await??;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let authentication = Authentication::start(config)?;
    let pipeline = Pipeline::open(
        pipeline_config(config, instances, Arc::clone(&authentication.credentials))?,
        Arc::clone(&clock),
    )
    .await?;
    if pipeline.recovered_channels > 0 {
        tracing::info!(
            channels = pipeline.recovered_channels,
            "the last run ended with open channels, each got a tcpclean"
        );
    }
    let sink: Arc<dyn StatusSink> = Arc::clone(&pipeline.recorder) as Arc<dyn StatusSink>;
    let connections_max = usize::try_from(config.mqtt.connections_max)?;
    let broker_config = BrokerConfig::with_connections_max(connections_max);
    let broker = Broker::new(broker_config, Arc::clone(&sink), Arc::clone(&clock));
    let parts = Parts {
        broker: Arc::clone(&broker),
        sink,
        authenticator: Arc::clone(&authentication.chain) as Arc<dyn domain::Authenticator>,
        clock,
    };
    let sockets = Sockets::new(&broker, &authentication.chain);
    let admin = admin(config, &pipeline, &broker, sockets.clone()).await?;
    let mqtt = MqttServer::start(mqtt_config(config)?, parts)?;
    sockets.measure_tls(mqtt.tls_stats());
    authentication.tell(config);
    let addresses = Addresses {
        mqtt_tcp: mqtt.addresses().tcp.clone(),
        mqtt_ws: mqtt.addresses().ws.clone(),
        mqtt_tls: mqtt.addresses().tls.clone(),
        mqtt_wss: mqtt.addresses().wss.clone(),
        admin: admin.address(),
        admin_certificate: config
            .admin_certificate
            .as_ref()
            .map(|files| absolute(&files.certificate)),
        rocketmq_name_server: senders.name_servers.clone(),
    };
    let sign_in_link = admin.sign_in_link().context("no sign-in link")?;
    let admin_shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(admin.run(admin_shutdown.clone()));
    Ok(Host {
        senders,
        pipeline,
        mqtt,
        admin: tasks,
        admin_shutdown,
        addresses,
        sign_in_link,
    })
}

impl Host {
    /// Stop accepting, close connections (each gets its events), commit, flush, close the stores.
    async fn shutdown(mut self, grace: Duration) {
        let deadline = tokio::time::Instant::now() + grace;
        self.mqtt.shutdown(CLOSE_GRACE.min(grace)).await;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let pending = self.pipeline.shutdown(left).await;
        if pending > 0 {
            tracing::warn!(pending, "events stay in the outbox until the next start");
        }
        self.admin_shutdown.cancel();
        while self.admin.join_next().await.is_some() {}
        self.senders.shutdown().await;
    }
}

async fn admin(
    config: &Config,
    pipeline: &Pipeline,
    broker: &Arc<Broker>,
    sockets: Sockets,
) -> anyhow::Result<AdminServer> {
    let token =
        ensure_admin_token(&config.node.data_dir).context("admin token cannot be read or made")?;
    let (ready_broker, measured) = (Arc::clone(broker), Arc::clone(&pipeline.control));
    let probes = Probes {
        not_ready: Box::new(move || {
            let is_ending = ready_broker.is_shutting_down();
            is_ending.then(|| "the host is shutting down".to_owned())
        }),
        metrics: Box::new(move || metrics::render(measured.metrics_text(), &sockets)),
    };
    let admin_config = AdminConfig {
        listen: config.admin_listen,
        certificate: config
            .admin_certificate
            .as_ref()
            .map(|files| AdminCertificate {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            }),
        token: TokenHash::of(&token),
        component_bytes_max: usize::try_from(config.plugins.component_bytes_max)?,
        node: config.node.id.clone(),
        instance: config.instance_id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rules_folder: config.rules_dir.clone(),
    };
    let control = Arc::clone(&pipeline.control);
    Ok(AdminServer::bind(admin_config, control, Arc::clone(broker), probes).await?)
}

/// For readers in other folders.
fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// One per core; two where the number is not known.
pub(crate) fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN.saturating_add(1))
}

fn pipeline_config(
    config: &Config,
    instances: std::collections::HashMap<domain::InstanceId, pipeline::InstanceConfig>,
    credentials: Arc<access::CredentialTable>,
) -> anyhow::Result<PipelineConfig> {
    let plugins = &config.plugins;
    Ok(PipelineConfig {
        data_dir: config.node.data_dir.clone(),
        commit_interval: config.delivery.commit_interval,
        uncommitted_events_max: UNCOMMITTED_EVENTS_MAX,
        outbox_bytes_max: config.outbox.bytes_max,
        rule_share: config.outbox.rule_share,
        dead_letters_bytes_max: config.outbox.dead_letters_bytes_max,
        delivery: DeliveryConfig {
            retry_age_max: config.delivery.retry_age_max,
            age_max: config.outbox.age_max,
        },
        instances,
        runtime: RuntimeConfig {
            mapper_threads: threads(),
            memory_bytes_max: plugins.memory_bytes_max,
            memory_total_bytes_max: plugins.memory_total_bytes,
            call_deadline: plugins.call_deadline,
            init_deadline: plugins.init_deadline,
            output_bytes_max: usize::try_from(plugins.output_bytes_max)?,
            messages_max: usize::try_from(plugins.messages_max)?,
            component_bytes_max: usize::try_from(plugins.component_bytes_max)?,
            node: config.node.id.as_str().into(),
            instance: config.instance_id.as_str().into(),
        },
        code: compiled_code::config(&config.node.data_dir, plugins),
        credentials,
        built_in: built_in::PLUGINS
            .iter()
            .map(|(name, bytes)| BuiltInPlugin { name, bytes })
            .collect(),
        plugin_folder: plugins.watch_dir.clone(),
        is_group_auto_create: config.groups_auto_create,
        rules_max: usize::try_from(config.rules_max)?,
    })
}

fn mqtt_config(config: &Config) -> anyhow::Result<MqttServerConfig> {
    let mqtt = &config.mqtt;
    Ok(MqttServerConfig {
        tcp: mqtt.tcp.clone(),
        ws: mqtt.ws.clone(),
        tls: mqtt.tls.clone(),
        wss: mqtt.wss.clone(),
        certificate: mqtt.certificate.as_ref().map(|files| CertificateFiles {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        }),
        workers: threads(),
        packet_bytes_max: NonZeroU32::new(mqtt.packet_bytes_max)
            .context("mqtt.max-packet must not be 0")?,
        payload_bytes_max: mqtt.payload_bytes_max,
        connect_timeout: mqtt.connect_timeout,
        keep_alive_max: mqtt.keep_alive_max,
        client_ids: match mqtt.client_ids {
            config::ClientIds::Apsaramq => ClientIdPolicy::Apsaramq,
            config::ClientIds::Any => ClientIdPolicy::Any,
        },
        connack_after_commit: config.delivery.connack == config::Connack::AfterCommit,
    })
}
