//! The durable queue of status events, and the table of open channels beside it.
//!
//! Appending never blocks and never fails: what may be appended was reserved before. Events are
//! readable only after their commit. Mapping, sending and retrying are the courier's, not ours.

pub(crate) mod batch;
mod commit;
mod compaction;
mod config;
mod dead_letter;
mod dead_letters;
mod intake;
mod jobs;
mod late_deliveries;
mod ledger;
mod meters;
pub(crate) mod migration;
mod recovery;
mod settlement;
mod slot_map;
pub(crate) mod slot_sums;
mod snapshot;
mod stamper;
pub(crate) mod tables;
mod take;
pub(crate) mod tally;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use domain::{
    ChannelFacts, ChannelTicket, Clock, CloseReason, EventType, IncarnationId, RefuseConnectError,
    Sequence, Slot, StatusEvent,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::intake::{Intake, Intent, Phase, RowChange};
use self::ledger::Ledger;
use self::meters::Meters;
use self::stamper::EventKind;
use self::tables::SCHEMA;
use self::writer::{SETTLEMENTS_MIN, Writer};
use crate::OpenStoreError;
use crate::disk::{Disk, OpenFile, ReadStoreError};
use crate::fail_point::{self, FailPoint};

pub use self::config::{OutboxConfig, RecoveredOutbox};
pub use self::dead_letter::{Burial, DeadLetter, DeadLetterReason};
pub use self::dead_letters::{DeadLetterFilter, EditDeadLettersError, ReplayDeadLetter};
pub use self::meters::{IncarnationCounts, OutboxStats};
pub use self::settlement::{CommitListener, Outcome, PendingEvent, Settlement};
pub use self::slot_map::PutSlotMapError;
pub use self::snapshot::OutboxCounts;

/// Memory for pages of the file, bytes.
const CACHE_BYTES: usize = 64 << 20;

/// Why the outbox did not open.
pub type OpenOutboxError = OpenStoreError;
/// Why events could not be taken.
pub type TakeEventsError = ReadStoreError;

/// Hears of events that no rule matches and that are stored nowhere. Called on socket threads, so it must
/// not wait.
pub type UnmatchedListener = Box<dyn Fn(&StatusEvent) + Send + Sync>;

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
///
/// A file that fails while it is open never ends the process. Reads that meet damage are
/// [`ReadStoreError::Damaged`]; a damaged record is discarded and counted. A commit that meets damage,
/// or a full disk, is repeated until it works: meanwhile CONNECTs that a rule matches are refused,
/// events of open channels queue in memory, and [`OutboxStats::failed`] says so.
pub struct Outbox {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held while dead letters are deleted or replayed.
    letter_edits: Mutex<()>,
    /// Hears of events that no rule matches.
    unmatched: OnceLock<UnmatchedListener>,
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
    /// the writer thread. Blocks, with 10 million pending events for less than a second: their
    /// sums are stored, and a large file is kept quick to repair. A file of schema 1 is read once.
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
                letter_edits: Mutex::new(()),
                unmatched: OnceLock::new(),
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
            Some(incarnation) => self.reserve_after(incarnation, &[]),
            None => Ok(()),
        }
    }

    /// The same for an incarnation whose rule has earlier ones: all of them together have one share, so
    /// that an edit of the destination gives a rule no more room. Looks at each of `predecessors`.
    ///
    /// # Errors
    ///
    /// As [`Outbox::reserve`].
    pub fn reserve_after(
        &self,
        incarnation: IncarnationId,
        predecessors: &[IncarnationId],
    ) -> Result<(), RefuseConnectError> {
        let mut intake = self.shared.intake.lock();
        intake.reserve(&self.shared.config, incarnation, predecessors)
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
        fail_point::reached(FailPoint::BeforeAppend);
        let slot = Slot::of(&channel.client_id);
        let appended = Instant::now();
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
                appended: Some(appended),
                replay: None,
            }),
            None => {
                intake.unmatched_events += 1;
                drop(intake);
                if let Some(listener) = self.unmatched.get() {
                    listener(&event);
                }
                return stamp;
            }
        };
        drop(intake);
        if wake {
            self.shared.wake.notify_one();
        }
        stamp
    }

    /// Shows events that no rule matches to `listener` from now on; the first one stays.
    pub fn watch_unmatched(&self, listener: UnmatchedListener) {
        // A second one would be a mistake of the caller and has no effect.
        drop(self.unmatched.set(listener));
    }

    /// Ends with true when everything appended before this call is durable, at once if it already
    /// is; with false as soon as a commit fails, although its events are kept and written later.
    pub fn committed(&self) -> oneshot::Receiver<bool> {
        self.shared.intake.lock().committed()
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

    /// How the outbox is.
    #[must_use]
    pub fn stats(&self) -> OutboxStats {
        meters::stats(&self.shared)
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

#[cfg(test)]
mod tests;
