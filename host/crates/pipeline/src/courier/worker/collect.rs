//! What a worker takes next: clients that were parked and are due, then the lanes of its slots in turn.

use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorChain, Slot};
use store::{PendingEvent, TakeEventsError};
use tokio::time::Instant;

use super::{Batch, QueueWorker};
use crate::health::Health;

/// Events of one batch when the instance is not configured (then nothing is sent anyway).
const BATCH_DEFAULT: usize = 128;
/// Not a hot loop: a disk is not going to heal within microseconds.
const READ_PAUSE: Duration = Duration::from_secs(1);

impl QueueWorker {
    /// The clients that are due, then the lanes in turn.
    pub(super) async fn collect(&mut self) -> Batch {
        let instance = self.context.instance.as_ref();
        let batch_max = instance.map_or(BATCH_DEFAULT, |it| it.batch_max);
        let (events, waited) = self.parking.take_due(Instant::now());
        let mut batch = Batch {
            events,
            waited,
            is_held: false,
            is_moving: false,
        };
        let count = self.slots.len();
        for step in 0..count {
            if batch.events.len() >= batch_max || self.parking.is_full() {
                break;
            }
            let Some(slot) = self.slots.get((self.cursor + step) % count).copied() else {
                continue;
            };
            let room = batch_max - batch.events.len();
            match self.take(slot, room, &mut batch.is_held).await {
                Ok(events) => {
                    batch.is_moving |= !events.is_empty();
                    for event in events {
                        if self.parking.holds(&event.event.channel.client_id) {
                            self.parking.push(event);
                        } else {
                            batch.events.push(event);
                        }
                    }
                }
                Err(error) => {
                    let reason = ErrorChain(&error).to_string();
                    let health = &self.context.health;
                    if health.report("outbox", Health::Faulted, reason.clone()) {
                        tracing::error!(error = %reason, "outbox cannot be read");
                    }
                    tokio::time::sleep(READ_PAUSE).await;
                    health.clear("outbox");
                }
            }
        }
        self.cursor = (self.cursor + 1) % count.max(1);
        batch
    }

    /// Events of one slot that may go now.
    async fn take(
        &mut self,
        slot: Slot,
        room: usize,
        is_held: &mut bool,
    ) -> Result<Vec<Arc<PendingEvent>>, TakeEventsError> {
        let feed = &self.context.feed;
        let mut events = feed.take(slot, room).await?;
        let held = match self.gate.hold(&self.context, slot, &mut events).await {
            Ok(held) => held,
            Err(error) => {
                feed.give_back(slot, events);
                return Err(error);
            }
        };
        if !held.is_empty() {
            *is_held = true;
            feed.give_back(slot, held);
        }
        Ok(events)
    }
}
