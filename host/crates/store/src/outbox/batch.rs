//! What one commit writes, prepared outside of the transaction, so that a failed one can be repeated as it is.
//!
//! Rows are sorted by key: neighbours then share the pages that a commit has to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::intake::{Intent, RowChange};
use super::jobs::Job;
use super::{PendingEvent, Settlement};
use crate::record::{EventKey, encode_event, encode_open_channel, event_key};

/// Bytes of an event's key.
pub(crate) const KEY_BYTES: usize = 13;

/// What one commit writes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// New events, in the order of their positions.
    pub(crate) events: Vec<Arc<PendingEvent>>,
    /// Their rows, in key order.
    pub(crate) event_rows: Vec<(EventKey, Vec<u8>)>,
    /// Rows of channels that opened and are still open, in key order.
    pub(crate) opened: BTreeMap<u64, Vec<u8>>,
    /// Rows of channels that closed, in key order.
    pub(crate) closed: Vec<u64>,
    /// In key order.
    pub(crate) settlements: Vec<Settlement>,
    pub(crate) job: Option<Job>,
    /// Dead letters that enter again, by number.
    pub(crate) replayed: Vec<u64>,
    /// Who waits for that.
    pub(crate) replies: Vec<crossbeam_channel::Sender<()>>,
    /// The last event's position among all that were taken in, if there are any.
    pub(crate) position: Option<u64>,
    /// Whether the disk has to confirm the commit.
    pub(crate) durable: bool,
}

impl Batch {
    /// Encodes `intents`, whose last one has `position`.
    pub(crate) fn add_events(&mut self, intents: Vec<Intent>, position: u64) {
        for intent in intents {
            self.change_row(&intent);
            let position = intent.position();
            let mut entered_ms = intent.event.time_ms;
            if let Some(replay) = intent.replay {
                entered_ms = replay.entered_ms;
                self.replayed.push(replay.letter);
                self.replies.extend(replay.done);
            }
            let key = event_key(intent.incarnation, intent.slot, position);
            let record = encode_event(key, entered_ms, &intent.event);
            self.events.push(Arc::new(PendingEvent {
                incarnation: intent.incarnation,
                slot: intent.slot,
                position,
                event: intent.event,
                entered_ms,
                bytes: row_bytes(&record),
                appended: intent.appended,
            }));
            self.event_rows.push((key, record));
        }
        self.event_rows.sort_unstable_by_key(|(key, _)| *key);
        self.closed.sort_unstable();
        if !self.events.is_empty() {
            self.position = Some(position);
            self.durable = true;
        }
    }

    /// A row that this commit would put and remove is neither put nor removed.
    fn change_row(&mut self, intent: &Intent) {
        match intent.row {
            RowChange::Put => {
                let row = encode_open_channel(intent.incarnation, &intent.event);
                self.opened.insert(intent.event.sequence.0, row);
            }
            RowChange::Keep => {}
            RowChange::Remove(opened) => {
                if self.opened.remove(&opened.0).is_none() {
                    self.closed.push(opened.0);
                }
            }
        }
    }

    pub(crate) fn add_settlements(&mut self, mut settlements: Vec<Settlement>) {
        settlements.sort_by_key(|settlement| {
            (settlement.incarnation, settlement.slot, settlement.position)
        });
        self.settlements = settlements;
    }
}

/// What an event takes of its share: its record and its key.
pub(crate) fn row_bytes(record: &[u8]) -> u32 {
    u32::try_from(record.len() + KEY_BYTES).unwrap_or(u32::MAX)
}
