//! Keeps the slots of one courier on queues that can store: asks for the route, decides who moves,
//! stores the new map, hands slots over, starts workers. One per courier.
//!
//! Everything that takes time (route, probe) runs beside, so that a slot that was let go of is with its
//! next worker after one commit.

mod retiring;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorChain, QueueName, ReadTopicError, RouteError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::{Conditions, SlotMap, plan};
use super::route;
use super::table::SlotTable;
use super::worker::QueueWorker;
use super::{CourierContext, RetireRequest};
use crate::health::Health;
use retiring::Retiring;

const PART: &str = "route";
/// The longest that an instance takes to answer, or to give up.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Queues that are probed at a time.
const PROBES_MAX: usize = 8;

/// A worker panicked.
pub(super) struct WorkerPanicked;

pub(super) struct Watcher {
    context: Arc<CourierContext>,
    table: Arc<SlotTable>,
    shutdown: CancellationToken,
    workers: JoinSet<()>,
    conditions: Conditions,
    asks: JoinSet<Result<Vec<QueueName>, RouteError>>,
    asked_at: Option<Instant>,
    /// A send takes long: the route may be another one.
    is_slow: bool,
    probes: JoinSet<(QueueName, bool)>,
    /// When a failed queue is asked again whether it answers.
    probe_at: BTreeMap<QueueName, Instant>,
    retiring: Vec<Retiring>,
    /// Queues that the health names.
    missing: BTreeSet<QueueName>,
    /// When a map that could not be stored is tried again.
    store_at: Option<Instant>,
}

impl Watcher {
    pub(super) fn new(
        context: Arc<CourierContext>,
        map: SlotMap,
        retired: BTreeSet<QueueName>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            table: Arc::new(SlotTable::new(map)),
            context,
            shutdown,
            workers: JoinSet::new(),
            conditions: Conditions {
                retired,
                ..Conditions::default()
            },
            asks: JoinSet::new(),
            asked_at: None,
            is_slow: false,
            probes: JoinSet::new(),
            probe_at: BTreeMap::new(),
            retiring: Vec::new(),
            missing: BTreeSet::new(),
            store_at: None,
        }
    }

    /// Works until `shutdown`, or until a worker panics; then all workers have ended.
    pub(super) async fn run(
        mut self,
        requests: &mut mpsc::Receiver<RetireRequest>,
    ) -> Result<(), WorkerPanicked> {
        let ended = self.watch(requests).await;
        // All are waited for: one that still took events after the feed was reset would keep them from
        // the next worker.
        self.workers.shutdown().await;
        ended
    }

    async fn watch(
        &mut self,
        requests: &mut mpsc::Receiver<RetireRequest>,
    ) -> Result<(), WorkerPanicked> {
        let shutdown = self.shutdown.clone();
        let mut changed = self.context.rules.subscribe();
        loop {
            self.replan();
            self.hand_over().await;
            self.answer_retired();
            self.show_missing();
            let wake_at = self.wake_at();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.table.news() => {}
                () = tokio::time::sleep_until(wake_at) => {}
                // The ordering may be another one.
                _ = changed.changed() => {}
                Some(asked) = self.asks.join_next() => {
                    if let Ok(answer) = asked {
                        self.learn(answer);
                    }
                }
                Some(probed) = self.probes.join_next() => {
                    if let Ok((queue, is_alive)) = probed {
                        self.probed(&queue, is_alive);
                    }
                }
                Some(request) = requests.recv() => self.retire(request).await,
                Some(ended) = self.workers.join_next() => ended.map_err(|_| WorkerPanicked)?,
            }
            self.ask_if_due();
            self.probe_if_due();
        }
    }

    /// When something is due by itself.
    fn wake_at(&self) -> Instant {
        let failing_max = self.context.timings.failing_max;
        let failing = self.table.failing();
        let failed = failing
            .iter()
            .filter(|(queue, _)| !self.conditions.failed.contains(*queue))
            .map(|(_, since)| *since + failing_max);
        let probes = self.probe_at.values().copied();
        // An answer that is awaited wakes by itself.
        let ask = self.asks.is_empty().then(|| self.ask_at());
        let all = failed.chain(probes).chain(self.store_at).chain(ask);
        all.min().unwrap_or_else(|| Instant::now() + ASK_MAX)
    }

    /// When the route is to be asked for next.
    fn ask_at(&self) -> Instant {
        let timings = self.context.timings;
        let every = match self.conditions.failing.is_empty() {
            true => timings.route_every,
            false => timings.route_every_failing,
        };
        match self.asked_at {
            Some(asked_at) if !self.is_slow => asked_at + every,
            _ => Instant::now(),
        }
    }

    fn ask_if_due(&mut self) {
        self.is_slow |= self.table.take_slow();
        if self.asks.is_empty() && self.ask_at() <= Instant::now() {
            self.is_slow = false;
            self.asked_at = Some(Instant::now());
            let context = Arc::clone(&self.context);
            self.asks.spawn(async move { route::ask(&context).await });
        }
    }

    fn learn(&mut self, answer: Result<Vec<QueueName>, RouteError>) {
        let health = &self.context.health;
        match answer {
            Ok(queues) => {
                health.clear(PART);
                self.conditions.listed = Some(queues.into_iter().collect());
            }
            Err(
                error @ (RouteError::TopicNotFound { .. } | RouteError::NoWritableQueue { .. }),
            ) => {
                self.conditions.listed = Some(BTreeSet::new());
                health.report(PART, Health::Retrying, error.to_string());
            }
            // Brokers go on storing without name servers: nothing is known of the queues.
            Err(RouteError::Unreachable { .. }) => {}
            Err(error @ RouteError::Denied { .. }) => {
                health.report(PART, Health::Retrying, error.to_string());
            }
        }
    }

    /// Asks queues again that failed and have no slots any more: nobody else would find out.
    fn probe_if_due(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .probe_at
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(queue, _)| queue.clone())
            .collect();
        let map = self.table.map();
        for queue in due {
            let is_free = self.probes.len() < PROBES_MAX;
            let pause = self.context.timings.route_every_failing;
            // The answer sets it anew.
            let next = now + if is_free { ASK_MAX } else { pause };
            self.probe_at.insert(queue.clone(), next);
            let is_used = map.values().any(|it| *it == queue);
            if is_free && !is_used && self.conditions.is_listed(&queue) {
                let context = Arc::clone(&self.context);
                self.probes.spawn(async move {
                    let is_alive = is_alive(&context, &queue).await;
                    (queue, is_alive)
                });
            }
        }
    }

    fn probed(&mut self, queue: &QueueName, is_alive: bool) {
        if is_alive {
            tracing::info!(rule_id = %self.context.rule_id, %queue, "queue answers again");
            self.table.forgive(queue);
        } else if let Some(at) = self.probe_at.get_mut(queue) {
            *at = Instant::now() + self.context.timings.route_every_failing;
        }
    }

    /// Looks at how sends go, and says what is wanted.
    fn replan(&mut self) {
        let now = Instant::now();
        let timings = self.context.timings;
        let map = self.table.map();
        let mut failing = self.table.failing();
        failing.retain(|queue, _| {
            // Nobody sends to it, and nobody would know that it is back, other than by the route.
            let is_gone = !self.conditions.is_listed(queue) && !map.values().any(|it| it == queue);
            if is_gone {
                self.table.forgive(queue);
            }
            !is_gone
        });
        for (queue, since) in &failing {
            if now.duration_since(*since) >= timings.failing_max
                && self.conditions.failed.insert(queue.clone())
            {
                let at = now + timings.route_every_failing;
                self.probe_at.insert(queue.clone(), at);
            }
        }
        self.conditions.failed.retain(|it| failing.contains_key(it));
        self.probe_at.retain(|it, _| failing.contains_key(it));
        self.conditions.failing = failing.into_keys().collect();
        self.conditions.ordering = self.context.ordering();
        let plan = plan(&map, &self.conditions);
        self.table.want(plan);
    }

    /// Stores where free slots go, then gives them to their workers.
    async fn hand_over(&mut self) {
        if self.store_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.store_at = None;
        let free = self.table.free();
        if free.is_empty() {
            return;
        }
        let before = self.table.map();
        let mut after = before.clone();
        after.extend(free.clone());
        if after != before {
            let moved = free
                .iter()
                .filter(|(slot, queue)| before.get(*slot) != Some(*queue));
            tracing::info!(rule_id = %self.context.rule_id, slots = moved.count(), "slots move to other queues");
            if let Err(reason) = route::store(&self.context, after).await {
                if self
                    .context
                    .health
                    .report("slots", Health::Retrying, reason.clone())
                {
                    tracing::error!(rule_id = %self.context.rule_id, error = %reason, "slot map cannot be stored, retrying");
                }
                self.store_at = Some(Instant::now() + self.context.timings.route_every_failing);
                return;
            }
            self.context.health.clear("slots");
        }
        for line in self.table.assign(&free) {
            let (context, table) = (Arc::clone(&self.context), Arc::clone(&self.table));
            let worker = QueueWorker::new(context, table, line);
            self.workers.spawn(worker.run(self.shutdown.clone()));
        }
    }

    /// Shows queues that have slots and are not in the route.
    fn show_missing(&mut self) {
        let listed = self.conditions.listed.as_ref();
        let is_missing = |queue: &QueueName| {
            // Without any queue, the route itself is the problem.
            listed.is_some_and(|listed| !listed.is_empty() && !listed.contains(queue))
        };
        let queues = self.table.map().into_values();
        let missing: BTreeSet<_> = queues.filter(is_missing).collect();
        let health = &self.context.health;
        for queue in self.missing.difference(&missing) {
            health.clear(&missing_part(queue));
        }
        for queue in &missing {
            let problem = "it is not in the topic's route";
            let reason = self.context.waiting_reason(queue, problem);
            if health.report(&missing_part(queue), Health::Retrying, reason) {
                tracing::warn!(rule_id = %self.context.rule_id, %queue, "queue vanished from the route");
            }
        }
        self.missing = missing;
    }
}

fn missing_part(queue: &QueueName) -> String {
    format!("route of {queue}")
}

/// Whether the queue's broker answers; no message is written for it.
async fn is_alive(context: &CourierContext, queue: &QueueName) -> bool {
    let Some(instance) = &context.instance else {
        return false;
    };
    let topic = &context.destination.topic;
    match instance.sender.read(topic, queue, 0, 1).await {
        // Reading may not be allowed; that, too, is an answer of a broker.
        Ok(_) | Err(ReadTopicError::Route(RouteError::Denied { .. })) => true,
        Err(error) => {
            tracing::debug!(rule_id = %context.rule_id, %queue, error = %ErrorChain(&error), "failed queue does not answer yet");
            false
        }
    }
}
