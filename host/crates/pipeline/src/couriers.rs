//! The running couriers, by incarnation.

use std::collections::HashMap;
use std::sync::Arc;

use domain::IncarnationId;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::courier::{self, CourierContext};
use crate::health::HealthCell;

/// Starts couriers, ends them, and knows how they are. As many as there are incarnations.
#[derive(Debug)]
pub(crate) struct Couriers {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    healths: Mutex<HashMap<IncarnationId, Arc<HealthCell>>>,
}

impl Couriers {
    pub(crate) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            healths: Mutex::default(),
        }
    }

    /// Starts the courier of `context.incarnation` unless it runs already.
    pub(crate) fn start(&self, context: Arc<CourierContext>) {
        let mut healths = self.healths.lock();
        if healths.contains_key(&context.incarnation) {
            return;
        }
        healths.insert(context.incarnation, Arc::clone(&context.health));
        self.tasks
            .spawn(courier::run(context, self.shutdown.clone()));
    }

    pub(crate) fn is_running(&self, incarnation: IncarnationId) -> bool {
        self.healths.lock().contains_key(&incarnation)
    }

    pub(crate) fn health(&self, incarnation: IncarnationId) -> Option<Arc<HealthCell>> {
        self.healths.lock().get(&incarnation).cloned()
    }

    /// Ends all couriers. Batches in flight are offered again after the next start.
    pub(crate) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
