//! One RocketMQ instance behind the host's `MessageSender`.

use std::fmt;
use std::sync::Arc;

use domain::{
    BoxFuture, CheckSendError, CreateTopicError, InstanceServers, ListTopicsError, MessageSender,
    OutboundMessage, QueueName, ReadTopicError, RouteError, SendError, StoredAs, TopicMessage,
    TopicName,
};

use crate::compatibility::CompatibilityHook;
use crate::config::RocketmqConfig;
use crate::inspection;
use crate::producer::Producers;
use crate::reader::Reader;
use crate::remoting::RemotingClient;
use crate::route_cache::RouteCache;
use crate::runtime::RocketmqRuntime;
use crate::topic_admin;

/// Why an instance could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to open rocketmq instance: {detail}")]
pub struct OpenInstanceError {
    /// What the library said.
    pub detail: String,
}

/// Sends to and reads from one RocketMQ instance. Connects when it is first used.
pub struct RocketmqInstance {
    config: Arc<RocketmqConfig>,
    remoting: Arc<RemotingClient>,
    routes: Arc<RouteCache>,
    producers: Producers,
    reader: Reader,
}

impl fmt::Debug for RocketmqInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocketmqInstance")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl RocketmqInstance {
    /// Makes the instance; connects to nothing.
    ///
    /// # Errors
    ///
    /// When the library's resource budget does not allow another client.
    pub fn new(
        runtime: &RocketmqRuntime,
        config: RocketmqConfig,
    ) -> Result<Self, OpenInstanceError> {
        let config = Arc::new(config);
        let hook = Arc::new(CompatibilityHook::new(config.credentials.as_ref()));
        let remoting =
            RemotingClient::new(runtime, Arc::clone(&hook), config.tls).map_err(|error| {
                OpenInstanceError {
                    detail: domain::ErrorChain(error.as_ref()).to_string(),
                }
            })?;
        let remoting = Arc::new(remoting);
        let routes = Arc::new(RouteCache::new(Arc::clone(&config), Arc::clone(&remoting)));
        let producers = Producers::new(Arc::clone(&config), runtime.client(), hook);
        let reader = Reader::new(
            Arc::clone(&config),
            Arc::clone(&remoting),
            Arc::clone(&routes),
        );
        Ok(Self {
            config,
            remoting,
            routes,
            producers,
            reader,
        })
    }

    /// Waits for the sends that are in flight (each ends by its time-out) and disconnects. Later sends
    /// fail with a transport error.
    pub async fn shutdown(&self) {
        self.producers.shutdown().await;
    }
}

impl MessageSender for RocketmqInstance {
    fn route<'a>(
        &'a self,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<QueueName>, RouteError>> {
        Box::pin(async move {
            let route = self.routes.route(topic).await?;
            if route.writable.is_empty() {
                return Err(RouteError::NoWritableQueue {
                    topic: topic.clone(),
                });
            }
            Ok(route.writable.clone())
        })
    }

    fn create_topic<'a>(
        &'a self,
        topic: &'a TopicName,
        queues: u32,
    ) -> BoxFuture<'a, Result<(), CreateTopicError>> {
        Box::pin(topic_admin::create_topic(
            &self.routes,
            &self.remoting,
            topic,
            self.config.wire_topic(topic),
            queues,
        ))
    }

    fn send<'a>(
        &'a self,
        topic: &'a TopicName,
        queue: &'a QueueName,
        messages: &'a [OutboundMessage],
    ) -> BoxFuture<'a, Result<StoredAs, SendError>> {
        Box::pin(async move {
            let outcome = self.producers.send(topic.as_str(), queue, messages).await;
            if matches!(
                outcome,
                Err(SendError::Transport { .. } | SendError::NoRoute { .. })
            ) {
                self.routes.forget(topic);
            }
            if let Err(SendError::NoRoute { .. }) = &outcome
                && let Ok(route) = self.routes.route(topic).await
                && route.writable.contains(queue)
            {
                self.producers.is_outdated(queue).await;
            }
            outcome
        })
    }

    fn servers(&self) -> BoxFuture<'_, InstanceServers> {
        Box::pin(inspection::servers(&self.config, &self.remoting))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicName>, ListTopicsError>> {
        Box::pin(inspection::topics(&self.config, &self.routes))
    }

    fn check_send<'a>(
        &'a self,
        topic: &'a TopicName,
        queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<(), CheckSendError>> {
        Box::pin(inspection::check_send(
            &self.config,
            &self.routes,
            &self.remoting,
            topic,
            queue,
        ))
    }

    fn offsets<'a>(
        &'a self,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<(QueueName, u64, u64)>, ReadTopicError>> {
        Box::pin(self.reader.offsets(topic))
    }

    fn read<'a>(
        &'a self,
        topic: &'a TopicName,
        queue: &'a QueueName,
        offset: u64,
        count_max: u32,
    ) -> BoxFuture<'a, Result<(Vec<TopicMessage>, u64), ReadTopicError>> {
        Box::pin(self.reader.read(topic, queue, offset, count_max))
    }
}
