//! Who empties the outbox: one courier per incarnation, one worker per queue of its topic.
//!
//! A worker owns the slots that map to its queue and has one batch in flight, so the order of a
//! client is the order of its slot. The map of slots to queues is stored: a queue that vanishes is
//! unavailable, not changed.

mod context;
mod delivery;
mod mapping;
mod parking;
mod slots;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use context::CourierContext;

use crate::backoff::Backoff;
use worker::QueueWorker;

/// Empties one incarnation's part of the outbox until `shutdown`.
pub(crate) async fn run(context: Arc<CourierContext>, shutdown: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    while !shutdown.is_cancelled() {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = run_once(&context, &shutdown) => ended,
        };
        if ended.is_ok() {
            return;
        }
        // A worker panicked: a bug, but no reason to lose or reorder anything. What was taken and
        // not settled is still in the outbox.
        tracing::error!(rule_id = %context.rule_id, "courier worker panicked, courier restarts");
        context.metrics.courier_restarts.inc();
        tokio::time::sleep(backoff.next()).await;
    }
}

/// A worker panicked.
struct WorkerPanicked;

async fn run_once(
    context: &Arc<CourierContext>,
    shutdown: &CancellationToken,
) -> Result<(), WorkerPanicked> {
    context.feed.restart();
    slots::wait_for_predecessors(context).await;
    let queues = slots::by_queue(context).await;
    let mut workers = JoinSet::new();
    for (queue, slots) in queues {
        workers.spawn(QueueWorker::new(Arc::clone(context), queue, slots).run(shutdown.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        if ended.is_err() {
            // The others end too, and are waited for: one that still took events after the feed was
            // reset would keep them from the next worker. Their batches are offered again.
            workers.shutdown().await;
            return Err(WorkerPanicked);
        }
    }
    Ok(())
}
