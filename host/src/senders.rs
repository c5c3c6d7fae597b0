//! The RocketMQ instances of the configuration: embedded servers, and a connection to each instance.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use domain::InstanceId;
use pipeline::InstanceConfig;
use rocketmq::{Credentials, RocketmqConfig, RocketmqInstance, RocketmqRuntime};

use crate::config;
#[cfg(feature = "embedded-rocketmq")]
use crate::config::defaults;

/// What the servers call this host.
const PRODUCER_GROUP: &str = "PID_rulemill";

/// Everything of RocketMQ that must be ended at shutdown.
pub(crate) struct Senders {
    runtime: RocketmqRuntime,
    instances: Vec<Arc<RocketmqInstance>>,
    #[cfg(feature = "embedded-rocketmq")]
    embedded: Vec<embedded_rocketmq::EmbeddedRocketmq>,
    /// Name servers of the embedded instances.
    pub(crate) name_servers: BTreeMap<String, SocketAddr>,
}

/// Starts embedded servers and makes the connections; connects to nothing yet. Blocks.
///
/// # Errors
///
/// Names the instance that did not start.
pub(crate) fn open(
    configured: &BTreeMap<InstanceId, config::RocketmqInstance>,
    data_dir: &Path,
) -> anyhow::Result<(Senders, HashMap<InstanceId, InstanceConfig>)> {
    let mut senders = Senders {
        runtime: RocketmqRuntime::start().context("rocketmq client runtime does not start")?,
        instances: Vec::new(),
        #[cfg(feature = "embedded-rocketmq")]
        embedded: Vec::new(),
        name_servers: BTreeMap::new(),
    };
    let mut all = HashMap::new();
    for (id, instance) in configured {
        let opened = match instance {
            config::RocketmqInstance::Embedded(embedded) => {
                senders.embedded(id, embedded, data_dir)
            }
            config::RocketmqInstance::Remote(remote) => senders.remote(id, remote),
        };
        match opened {
            Ok(instance) => {
                all.insert(id.clone(), instance);
            }
            Err(error) => {
                senders.close_blocking();
                return Err(error.context(format!("rocketmq instance {id} does not start")));
            }
        }
    }
    Ok((senders, all))
}

impl Senders {
    #[cfg(feature = "embedded-rocketmq")]
    fn embedded(
        &mut self,
        id: &InstanceId,
        config: &config::EmbeddedInstance,
        data_dir: &Path,
    ) -> anyhow::Result<InstanceConfig> {
        let server =
            embedded_rocketmq::EmbeddedRocketmq::start(embedded_rocketmq::EmbeddedConfig {
                data_dir: data_dir.join("rocketmq").join(id.as_str()),
                name_server_listen: config.name_server_listen,
                broker_listen: config.broker_listen,
            })?;
        let name_server = server.name_server();
        self.embedded.push(server);
        self.name_servers.insert(id.to_string(), name_server);
        let sender = self.connect(RocketmqConfig {
            instance_id: id.clone(),
            name_servers: vec![name_server.to_string()],
            namespace: String::new(),
            credentials: None,
            tls: false,
            send_timeout: defaults::SEND_TIMEOUT,
            producer_group: PRODUCER_GROUP.to_owned(),
        })?;
        Ok(InstanceConfig {
            sender,
            is_topic_created: config.create_topics,
            topic_queues: config.topic_queues,
            batch_max: usize::try_from(defaults::BATCH_MESSAGES_MAX).unwrap_or(usize::MAX),
            batch_bytes_max: usize::try_from(defaults::BATCH_BYTES_MAX).unwrap_or(usize::MAX),
        })
    }

    #[cfg(not(feature = "embedded-rocketmq"))]
    #[expect(
        clippy::unused_self,
        reason = "the same shape as with the embedded server"
    )]
    fn embedded(
        &mut self,
        _: &InstanceId,
        _: &config::EmbeddedInstance,
        _: &Path,
    ) -> anyhow::Result<InstanceConfig> {
        anyhow::bail!("this program was built without the embedded server")
    }

    fn remote(
        &mut self,
        id: &InstanceId,
        config: &config::RemoteInstance,
    ) -> anyhow::Result<InstanceConfig> {
        let reveal = |secret: &Option<config::SecretFile>| {
            secret.as_ref().map(|it| it.value.reveal().to_owned())
        };
        let credentials = match (reveal(&config.access_key), reveal(&config.secret_key)) {
            (Some(access_key), Some(secret_key)) => Some(Credentials {
                access_key,
                secret_key,
                security_token: reveal(&config.security_token),
            }),
            _ => None,
        };
        let sender = self.connect(RocketmqConfig {
            instance_id: id.clone(),
            name_servers: config.name_servers.clone(),
            namespace: config.namespace.clone(),
            credentials,
            tls: config.tls,
            send_timeout: config.send_timeout,
            producer_group: PRODUCER_GROUP.to_owned(),
        })?;
        Ok(InstanceConfig {
            sender,
            is_topic_created: config.create_topics,
            topic_queues: config.topic_queues,
            batch_max: usize::try_from(config.batch_messages_max).unwrap_or(usize::MAX),
            batch_bytes_max: usize::try_from(config.batch_bytes_max).unwrap_or(usize::MAX),
        })
    }

    fn connect(&mut self, config: RocketmqConfig) -> anyhow::Result<Arc<RocketmqInstance>> {
        let instance = Arc::new(RocketmqInstance::new(&self.runtime, config)?);
        self.instances.push(Arc::clone(&instance));
        Ok(instance)
    }

    /// Ends the connections, then the servers.
    pub(crate) async fn shutdown(self) {
        for instance in &self.instances {
            instance.shutdown().await;
        }
        if tokio::task::spawn_blocking(move || self.close_blocking())
            .await
            .is_err()
        {
            tracing::error!("rocketmq was not shut down properly");
        }
    }

    fn close_blocking(self) {
        drop(self.instances);
        self.runtime.shutdown();
        #[cfg(feature = "embedded-rocketmq")]
        for server in self.embedded {
            server.shutdown();
        }
    }
}
