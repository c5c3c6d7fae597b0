//! The running couriers, by incarnation.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{IncarnationId, QueueName};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::courier::{self, CourierContext, REQUESTS_MAX, RetireQueueError, RetireRequest};
use crate::health::HealthCell;

#[derive(Debug)]
struct Running {
    context: Arc<CourierContext>,
    requests: mpsc::Sender<RetireRequest>,
    stop: CancellationToken,
    task: TaskTracker,
}

/// Starts couriers, ends them, and knows how they are. As many as there are incarnations.
#[derive(Debug)]
pub(crate) struct Couriers {
    shutdown: CancellationToken,
    running: Mutex<HashMap<IncarnationId, Running>>,
}

impl Couriers {
    pub(crate) fn new() -> Self {
        Self {
            shutdown: CancellationToken::new(),
            running: Mutex::default(),
        }
    }

    /// Starts the courier of `context.incarnation` unless it runs already.
    pub(crate) fn start(&self, context: &Arc<CourierContext>) {
        let mut running = self.running.lock();
        if running.contains_key(&context.incarnation) {
            return;
        }
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let (stop, task) = (self.shutdown.child_token(), TaskTracker::new());
        task.spawn(courier::run(Arc::clone(context), requests, stop.clone()));
        task.close();
        let courier = Running {
            context: Arc::clone(context),
            requests: sender,
            stop,
            task,
        };
        running.insert(context.incarnation, courier);
    }

    pub(crate) fn is_running(&self, incarnation: IncarnationId) -> bool {
        self.running.lock().contains_key(&incarnation)
    }

    pub(crate) fn health(&self, incarnation: IncarnationId) -> Option<Arc<HealthCell>> {
        let running = self.running.lock();
        let courier = running.get(&incarnation)?;
        Some(Arc::clone(&courier.context.health))
    }

    /// Makes the courier of `incarnation` use `queue` no more; ends when its slots have left. Returns
    /// how many they were.
    pub(crate) async fn retire_queue(
        &self,
        incarnation: IncarnationId,
        queue: QueueName,
    ) -> Result<usize, RetireQueueError> {
        let (reply, answer) = oneshot::channel();
        let requests = {
            let running = self.running.lock();
            running.get(&incarnation).map(|it| it.requests.clone())
        };
        let requests = requests.ok_or(RetireQueueError::NotReady)?;
        requests
            .try_send(RetireRequest { queue, reply })
            .map_err(|_| RetireQueueError::NotReady)?;
        answer.await.unwrap_or(Err(RetireQueueError::NotReady))
    }

    /// Ends the courier of an incarnation that owns no events any more, and forgets it.
    pub(crate) async fn stop(&self, incarnation: IncarnationId) {
        let courier = self.running.lock().remove(&incarnation);
        if let Some(courier) = courier {
            courier.stop.cancel();
            courier.task.wait().await;
            courier::forget(&courier.context).await;
        }
    }

    /// Ends all couriers. Batches in flight are offered again after the next start.
    pub(crate) async fn shutdown(&self) {
        self.shutdown.cancel();
        let tasks: Vec<_> = {
            let running = self.running.lock();
            // The order does not matter: all of them end by themselves now.
            let mut tasks: Vec<_> = running
                .iter()
                .map(|(id, it)| (*id, it.task.clone()))
                .collect();
            tasks.sort_by_key(|(id, _)| *id);
            tasks
        };
        for (_, task) in tasks {
            task.wait().await;
        }
    }
}
