//! A RocketMQ instance that does as it is told.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use domain::{
    BoxFuture, CreateTopicError, MessageSender, OutboundMessage, QueueName, ReadTopicError,
    RouteError, SendError, StoredAs, TopicMessage, TopicName,
};
use parking_lot::Mutex;

/// What the next send gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is stored.
    Store,
    /// It is stored, and the answer is lost.
    StoreUnseen,
    /// It is not stored.
    Fail,
    /// It is not stored: the server is busy.
    Busy,
    /// Batches are refused as such.
    RefuseBatch,
    /// No answer comes within the time-out, and it is not stored.
    Never,
}

#[derive(Debug, Default)]
struct State {
    listed: BTreeSet<QueueName>,
    dead: BTreeSet<QueueName>,
    is_silent: bool,
    answers: VecDeque<Answer>,
    /// Sequences that are refused for good.
    refused: BTreeSet<u64>,
    offered: Vec<(QueueName, Vec<u64>)>,
    stored: Vec<(QueueName, u64)>,
    busy: BTreeSet<QueueName>,
    overlaps: u64,
}

enum NoAnswer {
    TimeOut,
    Hang,
}

/// How long a send waits for its answer.
const SEND_TIMEOUT: Duration = Duration::from_millis(60);

/// Keeps what it stored, in the order in which it did.
#[derive(Debug, Default)]
pub(crate) struct FakeInstance {
    state: Mutex<State>,
}

pub(crate) fn queue(broker: &str, queue: u32) -> QueueName {
    QueueName {
        broker: broker.into(),
        queue,
    }
}

fn failed(detail: &str) -> SendError {
    SendError::Transport {
        detail: detail.to_owned(),
    }
}

fn sequence(message: &OutboundMessage) -> u64 {
    let property = message
        .properties
        .iter()
        .find(|(name, _)| name == "sequence");
    property.unwrap().1.parse().unwrap()
}

impl FakeInstance {
    /// The route, from now on.
    pub(crate) fn list(&self, queues: &[QueueName]) {
        self.state.lock().listed = queues.iter().cloned().collect();
    }

    /// Queues that answer to nobody, from now on.
    pub(crate) fn kill(&self, queues: &[QueueName]) {
        self.state.lock().dead = queues.iter().cloned().collect();
    }

    /// The answers of the next sends; after them, everything is stored.
    pub(crate) fn answer(&self, answers: &[Answer]) {
        self.state.lock().answers.extend(answers);
    }

    pub(crate) fn refuse(&self, sequence: u64) {
        self.state.lock().refused.insert(sequence);
    }

    /// Makes dead queues answer never instead of with an error.
    pub(crate) fn be_silent(&self, is_silent: bool) {
        self.state.lock().is_silent = is_silent;
    }

    pub(crate) fn offered(&self) -> Vec<(QueueName, Vec<u64>)> {
        self.state.lock().offered.clone()
    }

    /// What was stored where, in the order of time.
    pub(crate) fn stored(&self) -> Vec<(QueueName, u64)> {
        self.state.lock().stored.clone()
    }

    /// First occurrences in the order of time.
    pub(crate) fn firsts(&self) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let stored = self.stored();
        let sequences = stored.into_iter().map(|(_, sequence)| sequence);
        sequences
            .filter(|sequence| seen.insert(*sequence))
            .collect()
    }

    /// Sends that found another one on the way to the same queue.
    pub(crate) fn overlaps(&self) -> u64 {
        self.state.lock().overlaps
    }

    fn outcome(
        &self,
        queue: &QueueName,
        sequences: &[u64],
    ) -> Result<Result<StoredAs, SendError>, NoAnswer> {
        let mut state = self.state.lock();
        if state.dead.contains(queue) {
            return match state.is_silent {
                true => Err(NoAnswer::Hang),
                false => Ok(Err(failed("connection refused"))),
            };
        }
        if !state.listed.contains(queue) {
            let detail = "no such queue".to_owned();
            return Ok(Err(SendError::NoRoute { detail }));
        }
        let answer = state.answers.pop_front().unwrap_or(Answer::Store);
        let is_bad = sequences.iter().any(|it| state.refused.contains(it));
        let mut store = || {
            let all = sequences.iter().map(|sequence| (queue.clone(), *sequence));
            state.stored.extend(all);
        };
        Ok(match answer {
            Answer::Store | Answer::StoreUnseen if is_bad => Err(SendError::Refused {
                detail: "it is bad".to_owned(),
            }),
            Answer::Store => {
                store();
                Ok(StoredAs::Ok)
            }
            Answer::StoreUnseen => {
                store();
                Err(failed("no answer"))
            }
            Answer::Fail => Err(failed("cut")),
            Answer::Busy => Err(SendError::Busy {
                detail: "busy".to_owned(),
            }),
            Answer::RefuseBatch if sequences.len() > 1 => Err(SendError::BatchRefused {
                detail: "no batches".to_owned(),
            }),
            Answer::RefuseBatch => {
                store();
                Ok(StoredAs::Ok)
            }
            Answer::Never => return Err(NoAnswer::TimeOut),
        })
    }
}

/// Marks a queue as busy as long as a send is on its way.
struct OnTheWay<'a>(&'a FakeInstance, QueueName);

impl<'a> OnTheWay<'a> {
    fn new(instance: &'a FakeInstance, queue: &QueueName) -> Self {
        let mut state = instance.state.lock();
        if !state.busy.insert(queue.clone()) {
            state.overlaps += 1;
        }
        Self(instance, queue.clone())
    }
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        self.0.state.lock().busy.remove(&self.1);
    }
}

impl MessageSender for FakeInstance {
    fn route<'a>(
        &'a self,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<QueueName>, RouteError>> {
        Box::pin(async move {
            let listed = self.state.lock().listed.clone();
            if listed.is_empty() {
                let topic = topic.clone();
                return Err(RouteError::TopicNotFound { topic });
            }
            Ok(listed.into_iter().collect())
        })
    }

    fn create_topic<'a>(
        &'a self,
        _: &'a TopicName,
        queues: u32,
    ) -> BoxFuture<'a, Result<(), CreateTopicError>> {
        Box::pin(async move {
            let all: Vec<_> = (0..queues).map(|number| queue("created", number)).collect();
            self.list(&all);
            Ok(())
        })
    }

    fn send<'a>(
        &'a self,
        _: &'a TopicName,
        queue: &'a QueueName,
        messages: &'a [OutboundMessage],
    ) -> BoxFuture<'a, Result<StoredAs, SendError>> {
        Box::pin(async move {
            let _on_the_way = OnTheWay::new(self, queue);
            let sequences: Vec<_> = messages.iter().map(sequence).collect();
            self.state
                .lock()
                .offered
                .push((queue.clone(), sequences.clone()));
            // Others get a turn while it is on its way.
            tokio::task::yield_now().await;
            match self.outcome(queue, &sequences) {
                Ok(outcome) => outcome,
                Err(NoAnswer::Hang) => std::future::pending().await,
                Err(NoAnswer::TimeOut) => {
                    tokio::time::sleep(SEND_TIMEOUT).await;
                    Err(failed("no answer in time"))
                }
            }
        })
    }

    fn offsets<'a>(
        &'a self,
        _: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<(QueueName, u64, u64)>, ReadTopicError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn read<'a>(
        &'a self,
        _: &'a TopicName,
        queue: &'a QueueName,
        offset: u64,
        _: u32,
    ) -> BoxFuture<'a, Result<(Vec<TopicMessage>, u64), ReadTopicError>> {
        Box::pin(async move {
            if self.state.lock().dead.contains(queue) {
                return Err(ReadTopicError::Broker {
                    broker: queue.broker.to_string(),
                    detail: "connection refused".to_owned(),
                });
            }
            Ok((Vec::new(), offset))
        })
    }
}
