//! Messages → one queue, until stored or refused for good. A retried batch is offered again byte
//! for byte; a refused one is bisected, so that a single bad message buries itself only.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{OutboundMessage, QueueName, SendError};

use super::CourierContext;
use crate::backoff::Backoff;
use crate::config::InstanceConfig;
use crate::health::Health;

/// What became of a run of messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// Each was stored, or refused for good with this reason.
    All(Vec<Option<String>>),
    /// The rule's events are to be dropped.
    Discarding,
}

/// Sends `messages` in order.
pub(super) async fn send_all(
    context: &CourierContext,
    instance: &InstanceConfig,
    queue: &QueueName,
    messages: &[OutboundMessage],
) -> Delivered {
    let mut refused = vec![None; messages.len()];
    // A stack of runs still to send, the first on top.
    let mut runs = split(messages, instance);
    runs.reverse();
    // The first pause is short: most faults are one lost connection.
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let part = queue.to_string();
    while let Some(run) = runs.pop() {
        if run.len() > 1 && context.is_single.load(Ordering::Relaxed) {
            runs.extend(run.rev().map(|index| index..index + 1));
            continue;
        }
        let Some(batch) = messages.get(run.clone()) else {
            continue;
        };
        let sent = instance
            .sender
            .send(&context.destination.topic, queue, batch)
            .await;
        let instance_id = &context.destination.instance_id;
        match sent {
            Ok(stored) => {
                context.metrics.sent(instance_id, stored.as_str());
                context.health.clear(&part);
                backoff.reset();
            }
            Err(error) => {
                context.metrics.sent(instance_id, error.kind());
                match error {
                    SendError::Refused { .. } if run.len() > 1 => {
                        let middle = run.start + run.len() / 2;
                        runs.push(middle..run.end);
                        runs.push(run.start..middle);
                    }
                    SendError::Refused { detail } => {
                        if let Some(slot) = refused.get_mut(run.start) {
                            *slot = Some(detail);
                        }
                    }
                    SendError::BatchRefused { detail } if run.len() > 1 => {
                        tracing::warn!(%instance_id, error = %detail, "server refuses batches, messages go one by one");
                        context.is_single.store(true, Ordering::Relaxed);
                        runs.push(run);
                    }
                    other => {
                        runs.push(run);
                        if context.is_discarding() {
                            return Delivered::Discarding;
                        }
                        retry_later(context, &part, &other, &mut backoff).await;
                    }
                }
            }
        }
    }
    Delivered::All(refused)
}

async fn retry_later(
    context: &CourierContext,
    part: &str,
    error: &SendError,
    backoff: &mut Backoff,
) {
    if context
        .health
        .report(part, Health::Retrying, error.to_string())
    {
        tracing::warn!(rule_id = %context.rule_id, queue = part, error = %error, "send failed, retrying");
    }
    tokio::time::sleep(backoff.next()).await;
}

/// Runs of messages that fit one batch, by count and bytes; at least one message each.
fn split(messages: &[OutboundMessage], instance: &InstanceConfig) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, message) in messages.iter().enumerate() {
        let size = size(message);
        let is_full =
            index - start >= instance.batch_max || bytes + size > instance.batch_bytes_max;
        if index > start && is_full {
            runs.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < messages.len() {
        runs.push(start..messages.len());
    }
    runs
}

/// About what a message takes on the wire: RocketMQ adds about 100 bytes to each.
fn size(message: &OutboundMessage) -> usize {
    let properties: usize = message
        .properties
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    let keys: usize = message.keys.iter().map(|key| key.len() + 1).sum();
    message.body.len() + properties + keys + 128
}

#[cfg(test)]
mod tests;
