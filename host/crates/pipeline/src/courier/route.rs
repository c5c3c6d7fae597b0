//! The topic's queues and the first map of the slots.

use std::sync::Arc;

use domain::{ErrorChain, QueueName, RouteError, Slot};

use super::CourierContext;
use super::plan::{SlotMap, deal};
use crate::backoff::Backoff;
use crate::health::Health;

const PART: &str = "route";

/// The writable queues. A missing topic is created if the instance is to do so.
pub(super) async fn ask(context: &CourierContext) -> Result<Vec<QueueName>, RouteError> {
    let topic = &context.destination.topic;
    let Some(instance) = &context.instance else {
        return Err(RouteError::Unreachable {
            addresses: context.destination.instance_id.to_string(),
            detail: context.missing_instance(),
        });
    };
    let queues = match instance.sender.route(topic).await {
        Err(RouteError::TopicNotFound { .. }) if instance.is_topic_created => {
            let sender = &instance.sender;
            let created = sender.create_topic(topic, instance.topic_queues).await;
            created.map_err(|error| RouteError::Unreachable {
                addresses: context.destination.instance_id.to_string(),
                detail: ErrorChain(&error).to_string(),
            })?;
            sender.route(topic).await
        }
        other => other,
    }?;
    if queues.is_empty() {
        let topic = topic.clone();
        return Err(RouteError::NoWritableQueue { topic });
    }
    Ok(queues)
}

/// The queue of every slot, as stored. Waits for the topic's route if nothing is stored yet.
pub(super) async fn first_map(context: &Arc<CourierContext>) -> SlotMap {
    // The cap keeps the recovery within 5 s of the instance's return.
    let timings = context.timings;
    let mut backoff = Backoff::new(timings.send_pause_first * 2, timings.send_pause);
    loop {
        match stored_or_dealt(context).await {
            Ok(map) => {
                context.health.clear(PART);
                return map;
            }
            Err(reason) => {
                let health = &context.health;
                if health.report(PART, Health::Retrying, reason.clone()) {
                    tracing::warn!(rule_id = %context.rule_id, error = %reason, "topic has no route, retrying");
                }
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn stored_or_dealt(context: &Arc<CourierContext>) -> Result<SlotMap, String> {
    let stored = stored(context).await?;
    if stored.len() == Slot::COUNT {
        return Ok(stored);
    }
    let queues = ask(context).await;
    let queues = queues.map_err(|error| match context.instance {
        Some(_) => ErrorChain(&error).to_string(),
        None => context.missing_instance(),
    })?;
    // What is stored of an incomplete map holds.
    let mut map = deal(&queues);
    map.extend(stored);
    store(context, map.clone()).await?;
    Ok(map)
}

async fn stored(context: &Arc<CourierContext>) -> Result<SlotMap, String> {
    let shared = Arc::clone(context);
    let read = move || shared.outbox.slot_map(shared.incarnation);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(map)) => Ok(map.into_iter().flatten().collect()),
        Ok(Err(error)) => Err(ErrorChain(&error).to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Stores `map`, durably.
pub(super) async fn store(context: &Arc<CourierContext>, map: SlotMap) -> Result<(), String> {
    let shared = Arc::clone(context);
    let put = move || {
        let map = map.into_iter().collect();
        shared.outbox.put_slot_map(shared.incarnation, map)
    };
    match tokio::task::spawn_blocking(put).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ErrorChain(&error).to_string()),
        Err(error) => Err(error.to_string()),
    }
}
