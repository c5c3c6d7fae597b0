//! Who empties the outbox: one courier per incarnation, one worker per queue that has slots.
//!
//! A worker owns the slots that map to its queue and has one batch in flight, so the order of a
//! client is the order of its slot. The map of slots to queues is stored. A queue that vanishes is
//! unavailable, not changed: its slots wait, or move if the rule prefers that.

mod context;
mod delivery;
mod gate;
mod mapping;
mod notes;
mod parking;
mod plan;
mod retired;
mod route;
mod settling;
mod table;
mod watcher;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::QueueName;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use context::{CourierContext, Timings};

use crate::backoff::Backoff;
use watcher::{Watcher, WorkerPanicked};

/// Requests that wait for a courier; more are told that it is busy.
pub(crate) const REQUESTS_MAX: usize = 16;

/// Asks a courier to use a queue no more. Answers with the number of slots that moved, when they have.
#[derive(Debug)]
pub(crate) struct RetireRequest {
    pub(crate) queue: QueueName,
    pub(crate) reply: oneshot::Sender<Result<usize, RetireQueueError>>,
}

/// Why a queue was not retired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RetireQueueError {
    /// Neither the route nor a slot names it.
    #[error("there is no such queue")]
    UnknownQueue,
    /// No other queue can store now.
    #[error("no other queue can store now")]
    OnlyQueue,
    /// It could not be remembered.
    #[error("the store failed: {0}")]
    Store(String),
    /// The courier ends, waits for its topic's first route, or has too many requests.
    #[error("the courier is not ready")]
    NotReady,
}

/// Empties one incarnation's part of the outbox until `shutdown`.
pub(crate) async fn run(
    context: Arc<CourierContext>,
    mut requests: mpsc::Receiver<RetireRequest>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    while !shutdown.is_cancelled() {
        if run_once(&context, &mut requests, &shutdown).await.is_ok() {
            return;
        }
        // A worker panicked: a bug, but no reason to lose or reorder anything. What was taken and
        // not settled is still in the outbox.
        tracing::error!(rule_id = %context.rule_id, "courier worker panicked, courier restarts");
        context.metrics.courier_restarts.inc();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

async fn run_once(
    context: &Arc<CourierContext>,
    requests: &mut mpsc::Receiver<RetireRequest>,
    shutdown: &CancellationToken,
) -> Result<(), WorkerPanicked> {
    context.feed.restart();
    let (map, retired) = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        () = refuse_all(requests) => return Ok(()),
        started = async { (route::first_map(context).await, retired::load(context).await) } => started,
    };
    let watcher = Watcher::new(Arc::clone(context), map, retired, shutdown.clone());
    watcher.run(requests).await
}

/// There is no slot yet that could leave a queue.
async fn refuse_all(requests: &mut mpsc::Receiver<RetireRequest>) {
    while let Some(RetireRequest { reply, .. }) = requests.recv().await {
        // The operator may have gone away; there is nobody to tell then.
        drop(reply.send(Err(RetireQueueError::NotReady)));
    }
}

/// Removes what is stored beside the outbox for an incarnation that is forgotten.
pub(crate) async fn forget(context: &Arc<CourierContext>) {
    if let Err(error) = retired::store(context, BTreeSet::new()).await {
        // A line in the settings that nobody reads again.
        tracing::warn!(rule_id = %context.rule_id, %error, "retired queues were not removed");
    }
}

#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod tests;
