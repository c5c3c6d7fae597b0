//! Holds the events of an incarnation back while an earlier one of the rule has older events of the
//! same slot: so the order of a client holds across an edit, and a client that waits holds up its own
//! slot only.

use std::sync::Arc;
use std::time::Duration;

use domain::{IncarnationId, Sequence, Slot};
use store::{PendingEvent, TakeEventsError};
use tokio::time::Instant;

use super::CourierContext;

/// How often it is asked which earlier incarnations own anything.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The earlier incarnations that still own events, as one worker knows them.
#[derive(Debug)]
pub(super) struct Gate {
    predecessors: Vec<IncarnationId>,
    looked_at: Instant,
}

impl Gate {
    pub(super) fn new(context: &CourierContext) -> Self {
        Self {
            predecessors: context.predecessors.clone(),
            looked_at: Instant::now(),
        }
    }

    /// Cuts off the end of `events`, taken from `slot`, that has to wait, and returns it.
    ///
    /// It must be asked after they were taken: commits are in the order of the positions, so that what
    /// goes before them is in the file by then.
    pub(super) async fn hold(
        &mut self,
        context: &Arc<CourierContext>,
        slot: Slot,
        events: &mut Vec<Arc<PendingEvent>>,
    ) -> Result<Vec<Arc<PendingEvent>>, TakeEventsError> {
        if events.is_empty() || self.predecessors.is_empty() {
            return Ok(Vec::new());
        }
        let below = first_pending(context, self.predecessors.clone(), slot).await?;
        if self.looked_at.elapsed() >= LOOK_EVERY {
            // A retired incarnation that owns nothing never gets anything again.
            self.looked_at = Instant::now();
            self.predecessors.retain(|id| context.outbox.is_owed(*id));
        }
        let Some(below) = below else {
            return Ok(Vec::new());
        };
        let count = events.partition_point(|event| event.position < below);
        Ok(events.split_off(count))
    }
}

/// The oldest event that any of `incarnations` has in `slot`. It is asked of the file, since what is
/// known in memory may be a commit behind it.
async fn first_pending(
    context: &Arc<CourierContext>,
    incarnations: Vec<IncarnationId>,
    slot: Slot,
) -> Result<Option<Sequence>, TakeEventsError> {
    let outbox = Arc::clone(&context.outbox);
    let read = move || {
        let mut oldest: Option<Sequence> = None;
        for id in incarnations {
            if let Some(first) = outbox.first_pending(id, slot)? {
                oldest = Some(oldest.map_or(first, |it| it.min(first)));
            }
        }
        Ok(oldest)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        // The runtime is going down: nothing may go any more.
        Err(_) => Ok(Some(Sequence(0))),
    }
}
