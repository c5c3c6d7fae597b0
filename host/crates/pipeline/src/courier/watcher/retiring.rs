//! Queues that operators take out of use for good: refused, remembered, left, answered. A retired queue
//! gets nothing again from this incarnation, also if its broker returns: it was not to be waited for.

use domain::QueueName;
use tokio::sync::oneshot;

use super::Watcher;
use crate::courier::{RetireQueueError, RetireRequest, retired};

/// An answered operator waits for the slots to have left.
pub(super) struct Retiring {
    queue: QueueName,
    slots: usize,
    reply: oneshot::Sender<Result<usize, RetireQueueError>>,
}

impl Watcher {
    /// Marks a queue as retired; the answer comes when its slots have left.
    pub(super) async fn retire(&mut self, request: RetireRequest) {
        let RetireRequest { queue, reply } = request;
        let slots = self.table.map().values().filter(|it| **it == queue).count();
        let is_listed = self
            .conditions
            .listed
            .iter()
            .flatten()
            .any(|it| *it == queue);
        let refusal = if self.conditions.listed.is_none() {
            Some(RetireQueueError::NotReady)
        } else if slots == 0 && !is_listed {
            Some(RetireQueueError::UnknownQueue)
        } else if self.conditions.usable().iter().all(|it| *it == queue) {
            Some(RetireQueueError::OnlyQueue)
        } else {
            self.remember(queue.clone()).await.err()
        };
        match refusal {
            // The operator may have gone away; there is nobody to tell then.
            Some(error) => drop(reply.send(Err(error))),
            None => {
                tracing::info!(rule_id = %self.context.rule_id, %queue, slots, "queue is retired");
                self.retiring.push(Retiring {
                    queue,
                    slots,
                    reply,
                });
            }
        }
    }

    async fn remember(&mut self, queue: QueueName) -> Result<(), RetireQueueError> {
        let mut all = self.conditions.retired.clone();
        all.insert(queue);
        let stored = retired::store(&self.context, all.clone()).await;
        stored.map_err(RetireQueueError::Store)?;
        self.conditions.retired = all;
        Ok(())
    }

    /// Answers operators whose queue is empty by now.
    pub(super) fn answer_retired(&mut self) {
        if self.retiring.is_empty() {
            return;
        }
        let map = self.table.map();
        let is_used = |queue: &QueueName| map.values().any(|it| it == queue);
        let (waiting, done): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition(|retiring| is_used(&retiring.queue));
        self.retiring = waiting;
        for Retiring { slots, reply, .. } in done {
            drop(reply.send(Ok(slots)));
        }
    }
}
