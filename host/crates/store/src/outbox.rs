//! The durable queue of status events, and the table of open channels beside it.
//!
//! Appending never blocks and never fails: what may be appended was reserved before. Events are
//! readable only after their commit. Mapping, sending and retrying are the courier's, not ours.

mod batch;
mod commit;
mod dead_letter;
mod intake;
mod ledger;
mod meters;
mod recovery;
mod tables;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use domain::{
    ChannelFacts, ChannelTicket, Clock, CloseReason, EventType, IncarnationId, QueueName,
    RefuseConnectError, Sequence, Slot, StatusEvent,
};
use parking_lot::{Condvar, Mutex};
use redb::{Database, ReadableDatabase};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::intake::{EventKind, Intake, Intent, Phase, Purge, RowChange};
use self::ledger::Ledger;
use self::meters::Meters;
use self::tables::{EVENTS, SCHEMA, SLOT_MAPS};
use self::writer::{SETTLEMENTS_MIN, Writer};
use crate::disk::{Disk, OpenFile, ReadStoreError};
use crate::record::{DamagedRecord, append_postcard, decode_event, event_key, seal, unseal};
use crate::{EngineError, OpenStoreError};

pub use self::dead_letter::{Burial, DeadLetter, DeadLetterReason};
pub use self::meters::{IncarnationCounts, OutboxStats};

/// Memory for pages of the file, bytes.
const CACHE_BYTES: usize = 64 << 20;

/// Why the outbox did not open.
pub type OpenOutboxError = OpenStoreError;
/// Why events could not be taken.
pub type TakeEventsError = ReadStoreError;

/// Where the outbox is and what its limits are.
#[derive(Clone, Debug)]
pub struct OutboxConfig {
    /// The file.
    pub path: PathBuf,
    /// Pending events and reservations together; above it, CONNECTs are refused.
    pub bytes_max: u64,
    /// The same of one incarnation.
    pub share_bytes_max: u64,
    /// The longest time that an event waits for company, when there is much.
    pub commit_interval: Duration,
    /// Events that wait for their commit; above it, CONNECTs are refused.
    pub uncommitted_events_max: usize,
    /// Dead letters; above it, the oldest are dropped.
    pub dead_letters_bytes_max: u64,
}

/// What was found when the outbox opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredOutbox {
    /// Events that are not settled, those of `closed_channels` included.
    pub pending_events: u64,
    /// Channels that the last process left open: each got a synthetic `tcpclean`.
    pub closed_channels: u64,
    /// The last process did not close the file.
    pub repaired: bool,
}

/// A committed event that is not settled.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    /// The rule it was recorded for.
    pub incarnation: IncarnationId,
    /// Its client's slot.
    pub slot: Slot,
    /// The event.
    pub event: StatusEvent,
    /// What it takes of its share.
    pub bytes: u32,
}

/// Called on the writer thread after each commit that appended, with its events in sequence order. Must not block.
pub type CommitListener = Box<dyn Fn(&[Arc<PendingEvent>]) + Send>;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The rule it was recorded for.
    pub incarnation: IncarnationId,
    /// Its client's slot.
    pub slot: Slot,
    /// Its sequence.
    pub sequence: Sequence,
    /// What became of it.
    pub outcome: Outcome,
}

/// How an event ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// RocketMQ stored its messages.
    Delivered,
    /// Its mapping has no message.
    Skipped,
    /// It became too old.
    Expired,
    /// It is not wanted any more.
    Discarded,
    /// It is kept as a dead letter.
    Buried(Burial),
}

/// Why a slot map was not stored.
#[derive(Debug, thiserror::Error)]
#[error("the slot map cannot be stored")]
pub struct PutSlotMapError {
    #[from]
    source: ReadStoreError,
}

/// What the outbox and its writer thread share.
struct Shared {
    config: OutboxConfig,
    clock: Arc<dyn Clock>,
    disk: Disk,
    intake: Mutex<Intake>,
    wake: Condvar,
    ledger: Mutex<Ledger>,
    meters: Meters,
}

/// The outbox. Shared by `Arc`; closes when it is dropped.
pub struct Outbox {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("path", &self.shared.config.path)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// Opens or creates the file, gives every channel that is still open its `tcpclean`, and starts
    /// the writer thread. Blocks; a repair takes about 1.2 s per million pending events.
    ///
    /// # Errors
    ///
    /// When the file is in use, damaged, of a newer version or not writable.
    pub fn open(
        config: OutboxConfig,
        clock: Arc<dyn Clock>,
        listener: CommitListener,
    ) -> Result<(Arc<Self>, RecoveredOutbox), OpenOutboxError> {
        let open: OpenFile =
            Box::new(|path: &Path| crate::database::open(path, CACHE_BYTES, SCHEMA));
        Self::open_file(config, clock, listener, open)
    }

    fn open_file(
        config: OutboxConfig,
        clock: Arc<dyn Clock>,
        listener: CommitListener,
        open: OpenFile,
    ) -> Result<(Arc<Self>, RecoveredOutbox), OpenOutboxError> {
        let path = config.path.clone();
        let mut file = open(&path)?;
        let recovered = recovery::recover(&mut file.database, &config, clock.as_ref())
            .map_err(|error| error.of(&path))?;
        let report = recovered.report(file.repaired);
        let shares = recovered.ledger.shares().collect();
        let shared = Arc::new(Shared {
            intake: Mutex::new(Intake::new(recovered.stamper, shares)),
            disk: Disk::new(path.clone(), open, file.database),
            wake: Condvar::new(),
            ledger: Mutex::new(recovered.ledger),
            meters: Meters::new(recovered.damaged_rows),
            config,
            clock,
        });
        let writer = Writer::new(Arc::clone(&shared), listener, recovered.commit);
        let writer = thread::Builder::new()
            .name("outbox-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenStoreError::Thread { path, source })?;
        Ok((
            Arc::new(Self {
                shared,
                writer: Mutex::new(Some(writer)),
            }),
            report,
        ))
    }

    /// Reserves room for one channel's `connect` and two closing events. Constant time.
    ///
    /// An incarnation's bytes are its pending events and 256 for each event that its open channels
    /// still owe; longer events are counted in full once they are committed, so a share may be
    /// exceeded by what its open channels owe beyond that. `None` always has room.
    ///
    /// # Errors
    ///
    /// When the recorder, the share or the outbox is full, the store failed, or the outbox closes.
    pub fn reserve(&self, incarnation: Option<IncarnationId>) -> Result<(), RefuseConnectError> {
        match incarnation {
            Some(incarnation) => self
                .shared
                .intake
                .lock()
                .reserve(&self.shared.config, incarnation),
            None => Ok(()),
        }
    }

    /// Gives back a reservation that was not used.
    pub fn release(&self, incarnation: Option<IncarnationId>) {
        if let Some(incarnation) = incarnation {
            self.shared.intake.lock().release(incarnation);
        }
    }

    /// Records the `connect` of a channel that was reserved. Without an incarnation it is stamped and counted only.
    pub fn append_opened(
        &self,
        incarnation: Option<IncarnationId>,
        channel: &Arc<ChannelFacts>,
    ) -> ChannelTicket {
        let kind = EventKind {
            event_type: EventType::Connect,
            reason: None,
            synthetic: None,
            connected_at_ms: None,
        };
        let event = self.append(incarnation, channel, kind, RowChange::Put);
        ChannelTicket {
            incarnation,
            opened: event.0,
            opened_at_ms: event.1,
        }
    }

    /// Records a closing event of a channel. `TcpClean` removes its row and frees the rest of its reservation.
    pub fn append_closing(
        &self,
        ticket: ChannelTicket,
        channel: &Arc<ChannelFacts>,
        event_type: EventType,
        reason: CloseReason,
    ) {
        let connected_at_ms = Some(ticket.opened_at_ms);
        let kind = EventKind {
            event_type,
            reason: Some(reason),
            synthetic: None,
            connected_at_ms,
        };
        let row = match event_type {
            EventType::TcpClean => RowChange::Remove(ticket.opened),
            EventType::Connect | EventType::Disconnect => RowChange::Keep,
        };
        self.append(ticket.incarnation, channel, kind, row);
    }

    fn append(
        &self,
        incarnation: Option<IncarnationId>,
        channel: &Arc<ChannelFacts>,
        kind: EventKind,
        row: RowChange,
    ) -> (Sequence, u64) {
        let slot = Slot::of(&channel.client_id);
        let mut intake = self.shared.intake.lock();
        let event = intake
            .stamper
            .stamp(self.shared.clock.now_ms(), channel, kind);
        let stamp = (event.sequence, event.time_ms);
        let wake = match incarnation {
            Some(incarnation) => intake.append(Intent {
                incarnation,
                slot,
                event,
                row,
            }),
            None => {
                intake.unmatched_events += 1;
                false
            }
        };
        drop(intake);
        if wake {
            self.shared.wake.notify_one();
        }
        stamp
    }

    /// Ends with true when everything appended before this call is durable, at once if it already
    /// is; with false as soon as a commit fails, although its events are kept and written later.
    pub fn committed(&self) -> oneshot::Receiver<bool> {
        self.shared.intake.lock().committed()
    }

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

    /// Committed events of each slot that has any, as of the last commit.
    #[must_use]
    pub fn pending_slots(&self, incarnation: IncarnationId) -> Vec<(Slot, u64)> {
        self.shared.ledger.lock().pending_slots(incarnation)
    }

    /// Ends events. They leave the file with the next commit, which comes within 50 ms; if the
    /// process dies in the second after that, they may be pending again. An event that is not in
    /// the file is counted in [`OutboxStats::unknown_settlements`] and otherwise ignored.
    pub fn settle(&self, settlements: Vec<Settlement>) {
        if settlements.is_empty() {
            return;
        }
        let mut intake = self.shared.intake.lock();
        if intake.settlements.is_empty() {
            intake.settlements_since = Some(Instant::now());
        }
        let wake = intake.settlements.is_empty()
            || intake.settlements.len() < SETTLEMENTS_MIN
                && intake.settlements.len() + settlements.len() >= SETTLEMENTS_MIN;
        intake.settlements.extend(settlements);
        drop(intake);
        if wake {
            self.shared.wake.notify_one();
        }
    }

    /// What became of the events of an incarnation, as of the last commit.
    #[must_use]
    pub fn counts(&self, incarnation: IncarnationId) -> IncarnationCounts {
        self.shared.ledger.lock().counts(incarnation)
    }

    /// Incarnations that have counts or pending events, in ascending order.
    #[must_use]
    pub fn incarnations(&self) -> Vec<IncarnationId> {
        self.shared.ledger.lock().incarnations()
    }

    /// Settles everything that the incarnation has pending as discarded; returns how many events
    /// that were. Blocks until it is durable, 20,000 events a commit; a commit that fails is
    /// repeated meanwhile. 0 when the outbox is closed.
    pub fn discard(&self, incarnation: IncarnationId) -> u64 {
        self.purge(incarnation, false)
    }

    /// Drops the counts and the slot map of the incarnation, and whatever it still has pending, as
    /// [`Outbox::discard`] does. Closing events that its open channels still owe are recorded all the same.
    pub fn forget(&self, incarnation: IncarnationId) -> u64 {
        self.purge(incarnation, true)
    }

    fn purge(&self, incarnation: IncarnationId, forget: bool) -> u64 {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let mut intake = self.shared.intake.lock();
        if intake.phase == Phase::Closed {
            return 0;
        }
        intake.purges.push_back(Purge {
            incarnation,
            forget,
            removed: 0,
            reply,
        });
        drop(intake);
        self.shared.wake.notify_one();
        // No answer: the outbox closed before.
        answer.recv().unwrap_or(0)
    }

    /// How the outbox is.
    #[must_use]
    pub fn stats(&self) -> OutboxStats {
        meters::stats(&self.shared)
    }

    /// Which queue each slot of an incarnation goes to; `None` if none was stored. Reads the disk.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read. A damaged map reads as none: then the slots are dealt anew.
    pub fn slot_map(
        &self,
        incarnation: IncarnationId,
    ) -> Result<Option<Vec<(Slot, QueueName)>>, ReadStoreError> {
        self.shared.disk.run(|database| {
            let table = database.begin_read()?.open_table(SLOT_MAPS)?;
            let record = table.get(incarnation.0)?;
            Ok(record.and_then(|record| decode_slot_map(incarnation, record.value())))
        })
    }

    /// Stores which queue each slot goes to. Blocks until it is durable; may wait for a commit.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be written.
    pub fn put_slot_map(
        &self,
        incarnation: IncarnationId,
        map: Vec<(Slot, QueueName)>,
    ) -> Result<(), PutSlotMapError> {
        let map: Vec<_> = map
            .into_iter()
            .map(|(slot, queue)| (slot.0, queue.broker.to_string(), queue.queue))
            .collect();
        let record = seal((incarnation.0, 0, 0), append_postcard(vec![0; 4], &map));
        Ok(self
            .shared
            .disk
            .run(|database| write_slot_map(database, incarnation, &record))?)
    }

    /// The newest `limit` dead letters, newest first. Reads the disk. Damaged ones are left out and counted.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read.
    pub fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, ReadStoreError> {
        let (letters, damaged) = self
            .shared
            .disk
            .run(|database| dead_letter::newest(database, limit))?;
        if damaged > 0 {
            tracing::error!(damaged, "stored dead letters are damaged");
            self.shared
                .meters
                .damaged_events
                .fetch_add(damaged, Ordering::Relaxed);
        }
        Ok(letters)
    }

    /// Writes what is queued, durably, closes the file and ends the writer thread. Blocks. If the
    /// file cannot be written, what is queued is lost and logged. A second call does nothing.
    pub fn close(&self) {
        let mut intake = self.shared.intake.lock();
        if intake.phase == Phase::Open {
            intake.phase = Phase::Closing;
        }
        drop(intake);
        self.shared.wake.notify_one();
        let writer = self.writer.lock().take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("outbox writer panicked");
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.close();
    }
}

fn write_slot_map(
    database: &Database,
    incarnation: IncarnationId,
    record: &[u8],
) -> Result<(), EngineError> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(SLOT_MAPS)?
        .insert(incarnation.0, record)?;
    transaction.commit()?;
    Ok(())
}

fn decode_slot_map(incarnation: IncarnationId, record: &[u8]) -> Option<Vec<(Slot, QueueName)>> {
    let body = unseal((incarnation.0, 0, 0), record).ok()?;
    let map: Vec<(u8, String, u32)> = postcard::from_bytes(body).ok()?;
    Some(
        map.into_iter()
            .map(|(slot, broker, queue)| {
                (
                    Slot(slot),
                    QueueName {
                        broker: broker.into(),
                        queue,
                    },
                )
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests;
