//! Reading pending events from disk. A damaged one is discarded, so that it cannot be found again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{IncarnationId, Sequence, Slot};
use redb::ReadableDatabase;

use super::tables::EVENTS;
use super::{Outbox, Outcome, PendingEvent, Settlement, TakeEventsError, batch};
use crate::record::{DamagedRecord, decode_event, event_key};

impl Outbox {
    /// Committed events of one slot that are not settled, in sequence order: at most `count_max`
    /// with a sequence above `after`. Reads the disk. A damaged event is left out, discarded and
    /// counted.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read.
    pub fn take(
        &self,
        incarnation: IncarnationId,
        slot: Slot,
        after: Sequence,
        count_max: usize,
    ) -> Result<Vec<Arc<PendingEvent>>, TakeEventsError> {
        let mut damaged = Vec::new();
        let events = self.shared.disk.run(|database| {
            let table = database.begin_read()?.open_table(EVENTS)?;
            let first = event_key(incarnation, slot, Sequence(after.0.saturating_add(1)));
            let last = event_key(incarnation, slot, Sequence(u64::MAX));
            let mut events = Vec::new();
            for row in table.range(first..=last)? {
                if events.len() == count_max {
                    break;
                }
                let (key, record) = row?;
                match decode_event(key.value(), record.value()) {
                    Ok(event) => {
                        let bytes = batch::row_bytes(record.value());
                        events.push(Arc::new(PendingEvent {
                            incarnation,
                            slot,
                            event,
                            bytes,
                        }));
                    }
                    Err(DamagedRecord) => damaged.push(Sequence(key.value().2)),
                }
            }
            Ok(events)
        })?;
        self.discard_damaged(incarnation, slot, damaged);
        Ok(events)
    }

    fn discard_damaged(&self, incarnation: IncarnationId, slot: Slot, damaged: Vec<Sequence>) {
        let discard = |sequence| {
            tracing::error!(
                incarnation = incarnation.0,
                outbox_seq = sequence,
                "stored event is damaged and is discarded"
            );
            Settlement {
                incarnation,
                slot,
                sequence: Sequence(sequence),
                outcome: Outcome::Discarded,
            }
        };
        if !damaged.is_empty() {
            let count = u64::try_from(damaged.len()).unwrap_or(u64::MAX);
            self.shared
                .meters
                .damaged_events
                .fetch_add(count, Ordering::Relaxed);
            self.settle(
                damaged
                    .into_iter()
                    .map(|sequence| discard(sequence.0))
                    .collect(),
            );
        }
    }
}
