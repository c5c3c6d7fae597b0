//! What is wrong with a RocketMQ instance or a topic of it, as precisely as the servers tell.

use domain::{
    CheckSendError, InstanceId, InstanceServers, ListTopicsError, QueueName, RouteError, TopicName,
};
use tokio::time::Instant;

use super::{Control, ControlCode, ControlError};
use crate::control_errors;

/// Whether a topic of an instance can be written, step by step; it stops at the first that fails.
#[derive(Clone, Debug)]
pub struct TopicProbe {
    /// The steps that were tried.
    pub steps: Vec<ProbeStep>,
    /// The queues that can be written.
    pub queues: Vec<QueueName>,
}

/// One step of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStep {
    /// What was tried.
    pub name: ProbeStepName,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// What is wrong and what to do; `None`: it is well.
    pub problem: Option<ControlError>,
}

/// What a probe tries, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStepName {
    /// A name server answers.
    NameServer,
    /// The topic has a route.
    Route,
    /// A queue of it can be written.
    WritableQueue,
    /// The brokers of its queues answer.
    RoundTrip,
    /// They would let the host write.
    Permission,
}

impl ProbeStepName {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameServer => "nameServer",
            Self::Route => "route",
            Self::WritableQueue => "writableQueue",
            Self::RoundTrip => "roundTrip",
            Self::Permission => "permission",
        }
    }
}

impl Control {
    /// Asks all servers of an instance whether they are there.
    ///
    /// # Errors
    ///
    /// When the instance is not configured.
    pub async fn instance_servers(
        &self,
        instance_id: &InstanceId,
    ) -> Result<InstanceServers, ControlError> {
        Ok(self.instance(instance_id)?.sender.servers().await)
    }

    /// The topics of an instance, where its servers list them.
    ///
    /// # Errors
    ///
    /// When the instance is not configured, or its servers do not answer or do not list topics.
    pub async fn topics(&self, instance_id: &InstanceId) -> Result<Vec<TopicName>, ControlError> {
        let listed = self.instance(instance_id)?.sender.topics().await;
        listed.map_err(|error| {
            let (code, remedy) = match error {
                ListTopicsError::Unreachable { .. } => (
                    ControlCode::RocketmqUnreachable,
                    "start it or correct name-servers",
                ),
                ListTopicsError::Refused { .. } => {
                    (ControlCode::TopicsNotListed, "give the topic by its name")
                }
            };
            ControlError::new(code, format!("instance {instance_id}: {error}; {remedy}"))
        })
    }

    /// Tries whether a topic can be written. Stores nothing in it.
    ///
    /// # Errors
    ///
    /// When the instance is not configured; what is wrong with the topic is in the answer.
    pub async fn probe_topic(
        &self,
        instance_id: &InstanceId,
        topic: &TopicName,
    ) -> Result<TopicProbe, ControlError> {
        let sender = &self.instance(instance_id)?.sender;
        let mut probe = TopicProbe {
            steps: Vec::new(),
            queues: Vec::new(),
        };
        let started = Instant::now();
        let route = sender.route(topic).await;
        let took_ms = elapsed_ms(started);
        let mut step = |name, problem: Option<&RouteError>| {
            probe.steps.push(ProbeStep {
                name,
                took_ms,
                problem: problem.map(control_errors::route),
            });
        };
        match &route {
            Err(error @ RouteError::Unreachable { .. }) => {
                step(ProbeStepName::NameServer, Some(error));
            }
            Err(error @ (RouteError::TopicNotFound { .. } | RouteError::Denied { .. })) => {
                step(ProbeStepName::NameServer, None);
                step(ProbeStepName::Route, Some(error));
            }
            Err(error @ RouteError::NoWritableQueue { .. }) => {
                step(ProbeStepName::NameServer, None);
                step(ProbeStepName::Route, None);
                step(ProbeStepName::WritableQueue, Some(error));
            }
            Ok(_) => {
                step(ProbeStepName::NameServer, None);
                step(ProbeStepName::Route, None);
                step(ProbeStepName::WritableQueue, None);
            }
        }
        let Ok(queues) = route else {
            return Ok(probe);
        };
        let started = Instant::now();
        let offsets = sender.offsets(topic).await.err();
        probe.steps.push(ProbeStep {
            name: ProbeStepName::RoundTrip,
            took_ms: elapsed_ms(started),
            problem: offsets.as_ref().map(|error| {
                let message = format!("{error}; is the broker's address reachable from here?");
                ControlError::new(ControlCode::RocketmqUnreachable, message)
            }),
        });
        if offsets.is_none() {
            let started = Instant::now();
            let mut problem = None;
            // Queues are sorted by broker: one of each is enough.
            for of_broker in queues.chunk_by(|a, b| a.broker == b.broker) {
                let Some(queue) = of_broker.first() else {
                    continue;
                };
                if let Err(error) = sender.check_send(topic, queue).await {
                    problem = Some(check_send(&queue.broker, &error));
                    break;
                }
            }
            probe.steps.push(ProbeStep {
                name: ProbeStepName::Permission,
                took_ms: elapsed_ms(started),
                problem,
            });
        }
        probe.queues = queues;
        Ok(probe)
    }
}

fn check_send(broker: &str, error: &CheckSendError) -> ControlError {
    match error {
        CheckSendError::Denied { .. } => ControlError::new(
            ControlCode::RocketmqDenied,
            format!(
                "broker {broker}: {error}; check the access key of the instance and its permission for the topic"
            ),
        ),
        CheckSendError::Unreachable { .. } => ControlError::new(
            ControlCode::RocketmqUnreachable,
            format!("broker {broker}: {error}; is its address reachable from here?"),
        ),
    }
}

fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
