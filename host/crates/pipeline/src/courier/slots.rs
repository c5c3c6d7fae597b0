//! Which slot goes to which queue: decided once per incarnation, then stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorChain, QueueName, RouteError, Slot};

use super::CourierContext;
use crate::backoff::Backoff;
use crate::health::Health;

const PART: &str = "route";

fn backoff() -> Backoff {
    // The cap keeps the recovery within 5 s of the instance's return.
    Backoff::new(Duration::from_millis(100), Duration::from_secs(2))
}

/// Waits until what earlier incarnations of the rule had queued is gone.
pub(super) async fn wait_for_predecessors(context: &CourierContext) {
    let is_pending = || {
        context
            .predecessors
            .iter()
            .any(|id| context.outbox.counts(*id).pending > 0)
    };
    while is_pending() {
        let reason = "the events of the rule before its last edit are delivered first".to_owned();
        context.health.report(PART, Health::Paused, reason);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    context.health.clear(PART);
}

/// The slots of every queue. Waits for the topic's route if the map is not stored yet.
pub(super) async fn by_queue(context: &Arc<CourierContext>) -> BTreeMap<QueueName, Vec<Slot>> {
    let mut backoff = backoff();
    loop {
        let found = match stored(context).await {
            Ok(Some(map)) => Ok(map),
            Ok(None) => make(context).await,
            Err(reason) => Err(reason),
        };
        match found {
            Ok(map) => {
                context.health.clear(PART);
                let mut queues: BTreeMap<QueueName, Vec<Slot>> = BTreeMap::new();
                for (slot, queue) in map {
                    queues.entry(queue).or_default().push(slot);
                }
                return queues;
            }
            Err(reason) => {
                if context
                    .health
                    .report(PART, Health::Retrying, reason.clone())
                {
                    tracing::warn!(rule_id = %context.rule_id, error = %reason, "topic has no route, retrying");
                }
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn stored(context: &Arc<CourierContext>) -> Result<Option<Vec<(Slot, QueueName)>>, String> {
    let shared = Arc::clone(context);
    match tokio::task::spawn_blocking(move || shared.outbox.slot_map(shared.incarnation)).await {
        Ok(read) => read.map_err(|error| ErrorChain(&error).to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn make(context: &Arc<CourierContext>) -> Result<Vec<(Slot, QueueName)>, String> {
    let Some(instance) = &context.instance else {
        return Err(format!(
            "the configuration has no rocketmq.instances.{}",
            context.destination.instance_id
        ));
    };
    let topic = &context.destination.topic;
    let queues = match instance.sender.route(topic).await {
        Err(RouteError::TopicNotFound { .. }) if instance.is_topic_created => {
            let created = instance
                .sender
                .create_topic(topic, instance.topic_queues)
                .await;
            created.map_err(|error| ErrorChain(&error).to_string())?;
            instance.sender.route(topic).await
        }
        other => other,
    }
    .map_err(|error| ErrorChain(&error).to_string())?;
    if queues.is_empty() {
        return Err(format!("topic {topic} has no writable queue"));
    }
    let map: Vec<_> = Slot::all().zip(queues.iter().cloned().cycle()).collect();
    let (shared, copy) = (Arc::clone(context), map.clone());
    let put = move || shared.outbox.put_slot_map(shared.incarnation, copy);
    match tokio::task::spawn_blocking(put).await {
        Ok(Ok(())) => Ok(map),
        Ok(Err(error)) => Err(ErrorChain(&error).to_string()),
        Err(error) => Err(error.to_string()),
    }
}
