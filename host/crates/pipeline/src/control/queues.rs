//! Queues that an operator takes out of use.

use std::time::Duration;

use domain::{QueueName, RuleId};

use super::{Control, ControlCode, ControlError};
use crate::courier::RetireQueueError;

/// How long the slots of a queue may take to leave it; longer than a commit on a slow disk.
const LEAVE_MAX: Duration = Duration::from_secs(10);

impl Control {
    /// Moves the slots that a rule has on `queue` to its other queues, also under strict ordering, and
    /// uses the queue no more, until the rule gets another destination. What was being sent to it is sent
    /// again elsewhere: messages may repeat. Returns how many slots moved, over all incarnations of the
    /// rule.
    ///
    /// # Errors
    ///
    /// When there is no such rule, it has no such queue, no other queue can store now, or the slots did
    /// not leave in time (they still will).
    pub async fn retire_queue(
        &self,
        rule_id: &RuleId,
        queue: QueueName,
    ) -> Result<usize, ControlError> {
        let incarnations: Vec<_> = {
            let intent = self.intent.load();
            let records = intent.incarnations.values();
            let of_rule = records.filter(|record| record.rule_id == *rule_id);
            of_rule.map(|record| record.id).collect()
        };
        if incarnations.is_empty() {
            let message = format!("there is no rule {rule_id}; see `rulemill rule list`");
            return Err(ControlError::new(ControlCode::RuleNotFound, message));
        }
        let mut moved = None;
        let mut refused = RetireQueueError::UnknownQueue;
        for id in incarnations {
            let retire = self.couriers.retire_queue(id, queue.clone());
            match tokio::time::timeout(LEAVE_MAX, retire).await {
                Ok(Ok(slots)) => *moved.get_or_insert(0) += slots,
                Ok(Err(RetireQueueError::UnknownQueue)) => {}
                Ok(Err(error)) => refused = error,
                Err(_) => refused = RetireQueueError::NotReady,
            }
        }
        // What one incarnation refuses, another may have done: the operator wants the queue empty.
        match (moved, refused) {
            (Some(slots), RetireQueueError::UnknownQueue) => Ok(slots),
            (_, refused) => Err(refusal(rule_id, &queue, &refused)),
        }
    }
}

fn refusal(rule_id: &RuleId, queue: &QueueName, error: &RetireQueueError) -> ControlError {
    let (code, message) = match error {
        RetireQueueError::UnknownQueue => (
            ControlCode::QueueNotFound,
            format!(
                "rule {rule_id} has no queue {queue}; its reason in `rulemill rule show {rule_id}` names it"
            ),
        ),
        RetireQueueError::OnlyQueue => (
            ControlCode::OnlyQueue,
            format!(
                "no other queue of rule {rule_id} can store now, so {queue} cannot be retired; wait for another broker, or add queues to the topic"
            ),
        ),
        RetireQueueError::Store(detail) => (
            ControlCode::StoreFailed,
            format!("the store failed: {detail}; see the host's log and its disk"),
        ),
        RetireQueueError::NotReady => (
            ControlCode::QueueBusy,
            format!(
                "rule {rule_id} is not ready to move the slots of {queue}; try again in some seconds"
            ),
        ),
    };
    ControlError::new(code, message)
}
