//! Reading pending events from disk. A damaged one is discarded, so that it cannot be found again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{IncarnationId, Sequence, Slot};
use redb::{ReadableDatabase, ReadableTable};

use super::commit::Appended;
use super::tables::EVENTS;
use super::{Outbox, Outcome, PendingEvent, Settlement, TakeEventsError, batch};
use crate::EngineError;
use crate::record::{DamagedRecord, EventKey, decode_event, event_time_ms, slot_keys};

/// The first event of a slot.
pub(crate) fn first_row(
    table: &impl ReadableTable<EventKey, &'static [u8]>,
    incarnation: IncarnationId,
    slot: Slot,
) -> Result<Option<Appended>, EngineError> {
    let mut rows = table.range(slot_keys(incarnation, slot, Sequence(0)))?;
    let Some(row) = rows.next() else {
        return Ok(None);
    };
    let (key, record) = row?;
    Ok(Some(Appended {
        incarnation,
        slot,
        position: key.value().2,
        entered_ms: event_time_ms(record.value()),
        bytes: u64::from(batch::row_bytes(record.value())),
        is_replay: false,
    }))
}

impl Outbox {
    /// Committed events of one slot that are not settled, in the order of their positions: at most
    /// `count_max` with a position above `after`. Reads the disk. A damaged event is left out, discarded and
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
            let mut events = Vec::new();
            for row in table.range(slot_keys(incarnation, slot, after))? {
                if events.len() == count_max {
                    break;
                }
                let (key, record) = row?;
                match decode_event(key.value(), record.value()) {
                    Ok(stored) => {
                        let bytes = batch::row_bytes(record.value());
                        events.push(Arc::new(PendingEvent {
                            incarnation,
                            slot,
                            position: Sequence(key.value().2),
                            event: stored.event,
                            entered_ms: stored.entered_ms,
                            bytes,
                            appended: None,
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

    /// The smallest position of one slot that is committed and not settled. Reads one row.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read.
    pub fn first_pending(
        &self,
        incarnation: IncarnationId,
        slot: Slot,
    ) -> Result<Option<Sequence>, TakeEventsError> {
        let first = self.shared.disk.run(|database| {
            first_row(
                &database.begin_read()?.open_table(EVENTS)?,
                incarnation,
                slot,
            )
        })?;
        Ok(first.map(|first| Sequence(first.position)))
    }

    fn discard_damaged(&self, incarnation: IncarnationId, slot: Slot, damaged: Vec<Sequence>) {
        let discard = |position| {
            tracing::error!(
                incarnation = incarnation.0,
                outbox_seq = position,
                "stored event is damaged and is discarded"
            );
            Settlement {
                incarnation,
                slot,
                position: Sequence(position),
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
                    .map(|position| discard(position.0))
                    .collect(),
            );
        }
    }
}
