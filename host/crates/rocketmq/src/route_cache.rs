//! Asks the name servers and remembers their answers for some seconds.
//!
//! A known route outlives an outage of all name servers, as in RocketMQ's own clients: brokers go on
//! storing without them. A failed send ends that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::{RouteError, TopicName};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::compatibility::code;
use crate::config::RocketmqConfig;
use crate::remoting::{CallError, RemotingClient, Request};
use crate::route::Route;

/// How long an answer is good without asking again.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// At this many topics the one asked about longest ago is forgotten.
const TOPICS_MAX: usize = 1_024;

/// Routes by topic.
pub(crate) struct RouteCache {
    config: Arc<RocketmqConfig>,
    remoting: Arc<RemotingClient>,
    known: Mutex<HashMap<TopicName, Known>>,
    /// The name server that answered last is asked first.
    preferred: AtomicUsize,
    /// None has answered the last question.
    is_silent: AtomicBool,
}

struct Known {
    route: Arc<Route>,
    asked_at: Instant,
}

impl RouteCache {
    pub(crate) fn new(config: Arc<RocketmqConfig>, remoting: Arc<RemotingClient>) -> Self {
        Self {
            config,
            remoting,
            known: Mutex::default(),
            preferred: AtomicUsize::new(0),
            is_silent: AtomicBool::new(false),
        }
    }

    /// The route of `topic`, at most some seconds old unless no name server answers.
    pub(crate) async fn route(&self, topic: &TopicName) -> Result<Arc<Route>, RouteError> {
        let known = self.known.lock().get(topic).map(|known| {
            (
                Arc::clone(&known.route),
                known.asked_at.elapsed() < FRESH_FOR,
            )
        });
        if let Some((route, true)) = known {
            return Ok(route);
        }
        match (self.ask(topic).await, known) {
            (Err(RouteError::Unreachable { detail, .. }), Some((route, _))) => {
                // Couriers ask every few seconds: once is enough for an outage.
                if !self.is_silent.swap(true, Ordering::Relaxed) {
                    tracing::warn!(topic = %topic, error = detail, "no name server answers, using the known routes");
                }
                Ok(route)
            }
            (answer, _) => answer,
        }
    }

    /// Asks the name servers, whatever is known.
    pub(crate) async fn ask(&self, topic: &TopicName) -> Result<Arc<Route>, RouteError> {
        let fields = [("topic", self.config.wire_topic(topic))];
        let answer = self
            .ask_name_servers(code::GET_ROUTE_BY_TOPIC, &fields)
            .await;
        let body = answer.map_err(|error| self.route_error(topic, &error))?;
        let route = Route::parse(&body).map_err(|error| RouteError::Unreachable {
            addresses: self.addresses(),
            detail: domain::ErrorChain(&error).to_string(),
        })?;
        let route = Arc::new(route);
        self.remember(topic, &route);
        Ok(route)
    }

    /// The next question about `topic` goes to a name server.
    pub(crate) fn forget(&self, topic: &TopicName) {
        self.known.lock().remove(topic);
    }

    /// The body of the first success of any name server. A refusal counts only when none succeeds,
    /// since one that has just started knows nothing yet.
    pub(crate) async fn ask_name_servers(
        &self,
        request: i32,
        fields: &[(&'static str, String)],
    ) -> Result<Bytes, CallError> {
        let servers = &self.config.name_servers;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut refusal = None;
        let mut failure = CallError::failed("name server", &"none is configured");
        for (index, server) in servers
            .iter()
            .enumerate()
            .cycle()
            .skip(first)
            .take(servers.len())
        {
            match self
                .remoting
                .call(
                    server,
                    Request {
                        code: request,
                        fields,
                    },
                    &[],
                )
                .await
            {
                Ok(mut response) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    self.is_silent.store(false, Ordering::Relaxed);
                    return Ok(response.take_body().unwrap_or_default());
                }
                Err(error @ CallError::Refused(_)) => refusal = Some(error),
                Err(error) => failure = error,
            }
        }
        Err(refusal.unwrap_or(failure))
    }

    /// The configured addresses, for messages.
    pub(crate) fn addresses(&self) -> String {
        self.config.name_servers.join(", ")
    }

    fn route_error(&self, topic: &TopicName, error: &CallError) -> RouteError {
        let refusal = error.topic_refusal(topic);
        if let Some(RouteError::TopicNotFound { .. }) = refusal {
            self.forget(topic);
        }
        refusal.unwrap_or_else(|| RouteError::Unreachable {
            addresses: self.addresses(),
            detail: error.to_string(),
        })
    }

    fn remember(&self, topic: &TopicName, route: &Arc<Route>) {
        let mut known = self.known.lock();
        if known.len() >= TOPICS_MAX && !known.contains_key(topic) {
            let oldest = known
                .iter()
                .min_by_key(|(_, known)| known.asked_at)
                .map(|(topic, _)| topic.clone());
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
        known.insert(
            topic.clone(),
            Known {
                route: Arc::clone(route),
                asked_at: Instant::now(),
            },
        );
    }
}
