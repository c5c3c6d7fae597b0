//! The seam between the couriers (pipeline) and the RocketMQ client crates.

use std::fmt;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{OutboundMessage, TopicName};

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One writable queue of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName {
    /// The broker's name, such as `broker-a`.
    pub broker: Arc<str>,
    /// The queue's number on that broker.
    pub queue: u32,
}

impl QueueName {
    /// Reads `broker:queue`, as it is displayed; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (broker, queue) = text.rsplit_once(':')?;
        let queue = queue.parse().ok()?;
        (!broker.is_empty()).then(|| Self {
            broker: broker.into(),
            queue,
        })
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.broker, self.queue)
    }
}

/// How RocketMQ stored a batch. All of them mean *stored*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredAs {
    /// `SEND_OK`.
    Ok,
    /// `FLUSH_DISK_TIMEOUT` (10).
    FlushDiskTimeout,
    /// `FLUSH_SLAVE_TIMEOUT` (12).
    FlushSlaveTimeout,
    /// `SLAVE_NOT_AVAILABLE` (11).
    SlaveNotAvailable,
}

impl StoredAs {
    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FlushDiskTimeout => "flush_disk_timeout",
            Self::FlushSlaveTimeout => "flush_slave_timeout",
            Self::SlaveNotAvailable => "slave_not_available",
        }
    }
}

/// Why a batch was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// RocketMQ says that the message is illegal (code 13): for good, if the batch has one message.
    #[error("rocketmq refused the message: {detail}")]
    Refused {
        /// What the server or client said.
        detail: String,
    },
    /// The server does not take batches (some `DLedger` versions): try the messages one by one.
    #[error("rocketmq refused the batch: {detail}")]
    BatchRefused {
        /// What the server said.
        detail: String,
    },
    /// The topic or the queue is not there now.
    #[error("no route: {detail}")]
    NoRoute {
        /// What was missing.
        detail: String,
    },
    /// Permission is missing: an operator must act.
    #[error("not allowed: {detail}")]
    Denied {
        /// What the server said.
        detail: String,
    },
    /// The server is busy: try again with a pause.
    #[error("rocketmq is busy: {detail}")]
    Busy {
        /// What the server said.
        detail: String,
    },
    /// The network or the server failed; the batch may have been stored all the same.
    #[error("transport failed: {detail}")]
    Transport {
        /// What failed.
        detail: String,
    },
}

impl SendError {
    /// The metric label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::BatchRefused { .. } => "batch_refused",
            Self::NoRoute { .. } => "no_route",
            Self::Denied { .. } => "denied",
            Self::Busy { .. } => "busy",
            Self::Transport { .. } => "transport",
        }
    }
}

/// Why a topic's queues are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The name servers answered: there is no such topic.
    #[error("topic {topic} does not exist on this instance")]
    TopicNotFound {
        /// The topic.
        topic: TopicName,
    },
    /// The topic exists, but no queue of it may be written.
    #[error("topic {topic} has no writable queue")]
    NoWritableQueue {
        /// The topic.
        topic: TopicName,
    },
    /// No name server answered.
    #[error("no name server of {addresses} answered: {detail}")]
    Unreachable {
        /// The configured addresses.
        addresses: String,
        /// What the last one said.
        detail: String,
    },
    /// Permission is missing.
    #[error("not allowed: {detail}")]
    Denied {
        /// What the server said.
        detail: String,
    },
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// No name server or broker answered.
    #[error("rocketmq cannot be reached: {detail}")]
    Unreachable {
        /// What failed.
        detail: String,
    },
    /// The brokers created it, and the name servers do not offer it yet.
    #[error("the topic was created, but {detail}")]
    NotOffered {
        /// What the name servers say.
        detail: String,
    },
    /// The broker refused.
    #[error("the broker refused: {detail}")]
    Refused {
        /// What it said.
        detail: String,
    },
}

/// Why a topic could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadTopicError {
    /// Its route is not known.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A broker failed.
    #[error("broker {broker} failed: {detail}")]
    Broker {
        /// Its name.
        broker: String,
        /// What failed.
        detail: String,
    },
}

/// One server of an instance, and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// The broker's name, or `name server`.
    pub name: String,
    /// Where it was asked.
    pub address: String,
    /// How long the answer took, or the failure.
    pub round_trip: Duration,
    /// Why it is of no use; `None`: it answered.
    pub problem: Option<String>,
}

/// The servers of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceServers {
    /// Those of the configuration.
    pub name_servers: Vec<ServerState>,
    /// The masters that they know.
    pub brokers: Vec<ServerState>,
}

/// Why topics are not listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListTopicsError {
    /// No name server answered.
    #[error("no name server answered: {detail}")]
    Unreachable {
        /// What the last one said.
        detail: String,
    },
    /// The servers do not list topics.
    #[error("the server does not list topics: {detail}")]
    Refused {
        /// What it said.
        detail: String,
    },
}

/// Why a topic could not be written now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckSendError {
    /// Permission is missing.
    #[error("not allowed: {detail}")]
    Denied {
        /// What the broker said.
        detail: String,
    },
    /// The broker does not answer.
    #[error("the broker does not answer: {detail}")]
    Unreachable {
        /// What failed.
        detail: String,
    },
}

/// A message as it is stored in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMessage {
    /// Its queue.
    pub queue: QueueName,
    /// Its place in the queue.
    pub queue_offset: u64,
    /// TAGS.
    pub tag: Option<String>,
    /// KEYS, split.
    pub keys: Vec<String>,
    /// User properties only, sorted by name: none of RocketMQ's own.
    pub properties: Vec<(String, String)>,
    /// The payload, decompressed.
    pub body: Vec<u8>,
}

/// One RocketMQ instance.
///
/// Implementations keep their own connections, rebuild them after faults, and never retry a send
/// by themselves: the courier does, since only it knows what order asks for.
pub trait MessageSender: Debug + Send + Sync {
    /// The writable queues of `topic`, sorted. Asks the name server when what is known is older
    /// than a few seconds or when the last send failed.
    fn route<'a>(
        &'a self,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<QueueName>, RouteError>>;

    /// Creates `topic` with `queues` queues on every broker of the instance; fine if it exists.
    fn create_topic<'a>(
        &'a self,
        topic: &'a TopicName,
        queues: u32,
    ) -> BoxFuture<'a, Result<(), CreateTopicError>>;

    /// Offers `messages` to one queue, as one batch if they are several. Either all are stored or
    /// the answer is an error; after a transport error they may be stored all the same.
    fn send<'a>(
        &'a self,
        topic: &'a TopicName,
        queue: &'a QueueName,
        messages: &'a [OutboundMessage],
    ) -> BoxFuture<'a, Result<StoredAs, SendError>>;

    /// Asks all servers of the instance whether they are there.
    fn servers(&self) -> BoxFuture<'_, InstanceServers> {
        Box::pin(async { InstanceServers::default() })
    }

    /// The topics of users, sorted, where the servers list them.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicName>, ListTopicsError>> {
        let detail = "this kind of instance has no list".to_owned();
        Box::pin(async { Err(ListTopicsError::Refused { detail }) })
    }

    /// Whether the broker of `queue` would store a message of `topic`, found out without storing any.
    fn check_send<'a>(
        &'a self,
        _topic: &'a TopicName,
        _queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<(), CheckSendError>> {
        Box::pin(async { Ok(()) })
    }

    /// Lowest and next offset of every readable queue of `topic`, sorted by queue.
    fn offsets<'a>(
        &'a self,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<(QueueName, u64, u64)>, ReadTopicError>>;

    /// Up to `count_max` messages of one queue from `offset` on, and the offset to go on from.
    /// Commits nothing. Returns at once with none when there are none.
    fn read<'a>(
        &'a self,
        topic: &'a TopicName,
        queue: &'a QueueName,
        offset: u64,
        count_max: u32,
    ) -> BoxFuture<'a, Result<(Vec<TopicMessage>, u64), ReadTopicError>>;
}
