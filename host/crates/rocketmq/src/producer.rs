//! The library's producers, one per broker, replaced after transport faults.
//!
//! The library stops talking to an address for 30 s after five refused connections, and only a new
//! client instance forgets that. So a fault makes the next send build a new producer, at most one a
//! second; the old one goes on until the sends that others have in it have ended. Each broker has a
//! producer of its own, so that what happens to one broker touches no sends to another.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{OutboundMessage, QueueName, SendError, StoredAs};
use rocketmq_client_rust::{ClientConfig, ClientRuntime, DefaultMQProducer};
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::message::MessageQueue;
use rocketmq_transport::api::RPCHook;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::compatibility::CompatibilityHook;
use crate::config::RocketmqConfig;
use crate::outcome::{send_error, stored_as};

const REBUILD_PAUSE: Duration = Duration::from_secs(1);
/// The library ends a send by itself at its time-out; this is for when it does not.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(500);
const MESSAGE_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Names a topic that no broker has: brokers copy an unknown topic from the one named here, and a
/// misspelt topic must not come into being.
const NO_TEMPLATE_TOPIC: &str = "RULEMILL_CREATES_NO_TOPICS";

/// Counts over all instances, since they may share the library's runtime and a name.
static PRODUCERS_STARTED: AtomicU64 = AtomicU64::new(0);

/// Brokers with a producer of their own; at the limit, further brokers share one.
const BROKERS_MAX: usize = 64;

/// Sends through whatever producer a broker has now.
pub(crate) struct Producers {
    config: Arc<RocketmqConfig>,
    runtime: Arc<ClientRuntime>,
    hook: Arc<CompatibilityHook>,
    lines: parking_lot::Mutex<Lines>,
    retiring: TaskTracker,
}

#[derive(Default)]
struct Lines {
    by_broker: HashMap<Arc<str>, Arc<Line>>,
    is_closed: bool,
}

/// What leads to one broker.
#[derive(Default)]
struct Line {
    current: Mutex<Current>,
    /// The last generation that met a transport fault.
    faulty: AtomicU64,
}

#[derive(Default)]
struct Current {
    producer: Option<Arc<Producer>>,
    generation: u64,
    built_at: Option<Instant>,
    closed: bool,
}

struct Producer {
    library: DefaultMQProducer,
    generation: u64,
    in_flight: TaskTracker,
}

/// A producer that is not shut down as long as this lives. The fields drop in this order, so that
/// nobody waits for the token and still finds the producer shared.
struct Lease {
    producer: Arc<Producer>,
    _token: TaskTrackerToken,
}

impl fmt::Debug for Producers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producers")
            .field("brokers", &self.lines.lock().by_broker.len())
            .finish_non_exhaustive()
    }
}

impl Producers {
    pub(crate) fn new(
        config: Arc<RocketmqConfig>,
        runtime: Arc<ClientRuntime>,
        hook: Arc<CompatibilityHook>,
    ) -> Self {
        Self {
            config,
            runtime,
            hook,
            lines: parking_lot::Mutex::default(),
            retiring: TaskTracker::new(),
        }
    }

    /// Offers `messages` to `queue`: one by itself, several as a batch.
    pub(crate) async fn send(
        &self,
        topic: &str,
        queue: &QueueName,
        messages: &[OutboundMessage],
    ) -> Result<StoredAs, SendError> {
        let mut batch = messages
            .iter()
            .map(|message| build(topic, message))
            .collect::<Result<Vec<_>, _>>()?;
        let queue_id = i32::try_from(queue.queue).map_err(|_| SendError::NoRoute {
            detail: format!("queue {queue} cannot exist"),
        })?;
        let wire_queue = MessageQueue::from_parts(topic, &*queue.broker, queue_id);
        let line = self.line(&queue.broker)?;
        let lease = self.lease(&line).await?;
        let library = &lease.producer.library;
        let limit = self.config.send_timeout;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let sent = timeout(limit + TIMEOUT_MARGIN, async {
            match batch.pop() {
                Some(message) if batch.is_empty() => {
                    Box::pin(library.send_to_queue_with_timeout(message, wire_queue, limit_ms))
                        .await
                }
                Some(message) => {
                    batch.push(message);
                    Box::pin(library.send_batch_to_queue_with_timeout(batch, wire_queue, limit_ms))
                        .await
                        .map(Some)
                }
                None => Ok(None),
            }
        });
        let outcome = match sent.await {
            Ok(Ok(Some(result))) => Ok(stored_as(result.send_status)),
            Ok(Ok(None)) => Err(SendError::Refused {
                detail: "there is nothing to send".to_owned(),
            }),
            Ok(Err(error)) => Err(send_error(&error, &self.hook)),
            Err(_) => Err(SendError::Transport {
                detail: format!("no answer within {limit_ms} ms"),
            }),
        };
        if let Err(SendError::Transport { .. }) = &outcome {
            line.faulty
                .fetch_max(lease.producer.generation, Ordering::Relaxed);
        }
        outcome
    }

    /// The producer of `queue`'s broker says that there is no such queue, but the name server knows
    /// it: the next send builds another producer, since this one would ask again only after 30 s.
    pub(crate) async fn is_outdated(&self, queue: &QueueName) {
        if let Ok(line) = self.line(&queue.broker) {
            let generation = line.current.lock().await.generation;
            line.faulty.fetch_max(generation, Ordering::Relaxed);
        }
    }

    fn line(&self, broker: &Arc<str>) -> Result<Arc<Line>, SendError> {
        let mut lines = self.lines.lock();
        if lines.is_closed {
            return Err(closed());
        }
        let is_full = lines.by_broker.len() >= BROKERS_MAX && !lines.by_broker.contains_key(broker);
        let name = if is_full {
            Arc::from("")
        } else {
            Arc::clone(broker)
        };
        Ok(Arc::clone(lines.by_broker.entry(name).or_default()))
    }

    async fn lease(&self, line: &Line) -> Result<Lease, SendError> {
        let mut current = line.current.lock().await;
        if current.closed {
            return Err(closed());
        }
        let faulty = current.generation <= line.faulty.load(Ordering::Relaxed);
        let may_rebuild = current
            .built_at
            .is_none_or(|at| at.elapsed() >= REBUILD_PAUSE);
        if faulty && may_rebuild {
            // Also a failed start is not repeated before the pause is over.
            current.built_at = Some(Instant::now());
            let generation = current.generation + 1;
            let producer = self.start_producer(generation).await?;
            current.generation = generation;
            if let Some(old) = current.producer.replace(Arc::new(producer)) {
                // Once a second while a broker is gone; the rule's health says that it is.
                tracing::debug!(instance = %self.config.instance_id, generation, "rocketmq producer rebuilt");
                self.retire(old);
            }
        }
        let producer = current
            .producer
            .as_ref()
            .ok_or_else(|| SendError::Transport {
                detail: "there is no producer".to_owned(),
            })?;
        Ok(Lease {
            producer: Arc::clone(producer),
            _token: producer.in_flight.token(),
        })
    }

    async fn start_producer(&self, generation: u64) -> Result<Producer, SendError> {
        let hook: Arc<dyn RPCHook> = Arc::clone(&self.hook) as _;
        let timeout_ms = u32::try_from(self.config.send_timeout.as_millis()).unwrap_or(u32::MAX);
        let mut library = DefaultMQProducer::builder(Arc::clone(&self.runtime))
            .client_config(self.client_config())
            .producer_group(self.config.producer_group.as_str())
            .send_msg_timeout(timeout_ms)
            .retry_times_when_send_failed(0)
            .retry_times_when_send_async_failed(0)
            .max_message_size(MESSAGE_BYTES_MAX)
            .compress_msg_body_over_howmuch(u32::MAX)
            .create_topic_key(NO_TEMPLATE_TOPIC)
            .rpc_hook(hook)
            .build();
        timeout(self.config.send_timeout, Box::pin(library.start()))
            .await
            .map_err(|_| SendError::Transport {
                detail: "the producer did not start in time".to_owned(),
            })?
            .map_err(|error| send_error(&error, &self.hook))?;
        Ok(Producer {
            library,
            generation,
            in_flight: TaskTracker::new(),
        })
    }

    fn client_config(&self) -> ClientConfig {
        let mut client = ClientConfig::default();
        client.set_namesrv_addr(self.config.name_servers.join(";").into());
        // The library shares a client, breaker included, between producers of the same name.
        let unique = PRODUCERS_STARTED.fetch_add(1, Ordering::Relaxed);
        let (instance, process) = (&self.config.instance_id, std::process::id());
        let name = format!("{instance}@{process}@{unique}");
        client.instance_name = name.into();
        if !self.config.namespace.is_empty() {
            client.namespace = Some(self.config.namespace.as_str().into());
        }
        client.use_tls = self.config.tls;
        client.tls_config.enable = self.config.tls;
        client
    }

    /// Shuts `producer` down when its last send has ended.
    fn retire(&self, producer: Arc<Producer>) {
        self.retiring.spawn(async move {
            producer.in_flight.close();
            producer.in_flight.wait().await;
            match Arc::into_inner(producer) {
                Some(mut producer) => Box::pin(producer.library.shutdown()).await,
                None => tracing::warn!("a retired rocketmq producer is still in use"),
            }
        });
    }

    /// Ends all producers after their sends. Later sends fail.
    pub(crate) async fn shutdown(&self) {
        let mut lines: Vec<_> = {
            let mut lines = self.lines.lock();
            lines.is_closed = true;
            lines.by_broker.drain().collect()
        };
        lines.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (_, line) in lines {
            let mut current = line.current.lock().await;
            current.closed = true;
            if let Some(producer) = current.producer.take() {
                self.retire(producer);
            }
        }
        self.retiring.close();
        self.retiring.wait().await;
    }
}

fn closed() -> SendError {
    SendError::Transport {
        detail: "the instance is shut down".to_owned(),
    }
}

fn build(topic: &str, message: &OutboundMessage) -> Result<Message, SendError> {
    let refused = |error: rocketmq_error::Error| SendError::Refused {
        detail: domain::ErrorChain(&error).to_string(),
    };
    let mut builder = Message::builder().topic(topic).body(message.body.clone());
    if let Some(tag) = &message.tag {
        builder = builder.tags(tag.as_str());
    }
    if !message.keys.is_empty() {
        builder = builder.keys(message.keys.clone());
    }
    for (name, value) in &message.properties {
        builder = builder
            .raw_property(name.as_str(), value.as_str())
            .map_err(refused)?;
    }
    builder.build().map_err(refused)
}
