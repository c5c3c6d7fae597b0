//! What happens to `outbox.redb` before the outbox opens: it is read, and channels that the last process left open are closed.
//!
//! A channel's synthetic `tcpclean` is written in the transaction that removes its row, so a
//! crash in the middle of a recovery repeats nothing and leaves nothing out.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::{Clock, CloseReason, EventType, IncarnationId, Sequence, Slot, Synthetic};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::batch::{Batch, row_bytes};
use super::commit::{Commit, CommitError, write_rows};
use super::compaction;
use super::dead_letter::DeadLetterBook;
use super::intake::{Intent, RowChange};
use super::ledger::Ledger;
use super::migration::migrate;
use super::slot_sums::SlotSums;
use super::stamper::{EventKind, Stamper};
use super::tables::{
    COMMIT, DEAD_LETTERS, EVENTS, FORGOTTEN, OPEN_CHANNELS, SEQUENCE, SLOTS, TALLIES, TIME_MS,
};
use super::tally::Tally;
use super::{OutboxConfig, RecoveredOutbox};
use crate::EngineError;
use crate::database::read_number;
use crate::fail_point::{self, FailPoint};
use crate::record::{DamagedRecord, decode_open_channel, slot_keys};

/// Channels that one transaction closes.
const CLOSE_CHANNELS_MAX: usize = 10_000;

/// The events of files up to this size are counted at every start: some tenths of a second.
const RECOUNT_BYTES_MAX: u64 = 64 << 20;

/// The state that the writer starts from.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) ledger: Ledger,
    pub(crate) stamper: Stamper,
    /// The number of the last commit.
    pub(crate) commit: u64,
    pub(crate) closed_channels: u64,
    pub(crate) damaged_rows: u64,
}

impl Recovered {
    pub(crate) fn report(&self, repaired: bool) -> RecoveredOutbox {
        RecoveredOutbox {
            pending_events: self.ledger.pending(),
            closed_channels: self.closed_channels,
            repaired,
        }
    }
}

/// Reads what is stored and closes the channels that are still open.
pub(crate) fn recover(
    database: &mut Database,
    config: &OutboxConfig,
    clock: &dyn Clock,
) -> Result<Recovered, CommitError> {
    // The engine may panic on a damaged page.
    catch_unwind(AssertUnwindSafe(|| read_and_close(database, config, clock)))
        .unwrap_or(Err(CommitError::Panicked))
}

fn read_and_close(
    database: &mut Database,
    config: &OutboxConfig,
    clock: &dyn Clock,
) -> Result<Recovered, CommitError> {
    migrate(database)?;
    let mut ledger = read_ledger(database)?;
    let damaged_rows = check_ledger(database, config, &mut ledger)?;
    compaction::at_start(database, config, ledger.live_bytes());
    let number = |name| read_number(database, name).map(Option::unwrap_or_default);
    let mut recovered = Recovered {
        ledger: Ledger::default(),
        stamper: Stamper::after(number(SEQUENCE)?, number(TIME_MS)?, clock.now_ms()),
        commit: number(COMMIT)?,
        closed_channels: 0,
        damaged_rows,
    };
    let ledger = Mutex::new(ledger);
    while let Some(batch) = next_channels(database, &mut recovered, clock)? {
        let commit = Commit {
            batch: &batch,
            ledger: &ledger,
            number: recovered.commit + 1,
            now_ms: clock.now_ms(),
            redo: None,
        };
        let changes = commit.run(database).map_err(|failure| failure.error)?;
        ledger.lock().apply(&changes);
        recovered.commit += 1;
        fail_point::reached(FailPoint::StartUp);
    }
    recovered.ledger = ledger.into_inner();
    Ok(recovered)
}

/// Reads what every commit keeps beside the events.
fn read_ledger(database: &Database) -> Result<Ledger, EngineError> {
    let mut ledger = Ledger::default();
    let transaction = database.begin_read()?;
    for row in transaction.open_table(TALLIES)?.iter()? {
        let (incarnation, tally) = row?;
        ledger.restore_tally(
            IncarnationId(incarnation.value()),
            Tally::from_row(tally.value()),
        );
    }
    if let Some(tally) = transaction.open_table(FORGOTTEN)?.get(())? {
        ledger.restore_forgotten(Tally::from_row(tally.value()));
    }
    for row in transaction.open_table(SLOTS)?.iter()? {
        let (key, row) = row?;
        let (incarnation, slot) = key.value();
        let (incarnation, slot) = (IncarnationId(incarnation), Slot(slot));
        // A damaged row leaves its slot empty: the sums differ then, and the events are counted.
        let sums = SlotSums::from_row(incarnation, slot, row.value()).unwrap_or_default();
        ledger.restore_slot((incarnation, slot), sums);
    }
    ledger.dead_letters = DeadLetterBook::read(database)?;
    Ok(ledger)
}

/// Counts the events of a small file, and of incarnations whose sums differ. What is missing then
/// was lost by damage: it counts as discarded, so that the sums hold again. Returns how many that were.
fn check_ledger(
    database: &Database,
    config: &OutboxConfig,
    ledger: &mut Ledger,
) -> Result<u64, EngineError> {
    let doubtful = if compaction::file_bytes(&config.path) <= RECOUNT_BYTES_MAX {
        count_dead_letters(database, ledger)?;
        incarnations(database, ledger)?
    } else {
        ledger.unbalanced()
    };
    let mut changed = false;
    for incarnation in doubtful {
        let before = ledger.slots(incarnation);
        count_events(database, ledger, incarnation)?;
        changed |= before != ledger.slots(incarnation);
    }
    let mended = ledger.reconcile();
    let mut lost = 0;
    for (incarnation, tally, file) in &mended {
        tracing::error!(
            incarnation = incarnation.0,
            tally,
            file,
            "pending events of the tally and of the file differ"
        );
        lost += tally.saturating_sub(*file);
    }
    if changed || !mended.is_empty() {
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        write_rows(&transaction, &ledger.everything())?;
        ledger.dead_letters.write(&transaction)?;
        transaction.commit()?;
    }
    Ok(lost)
}

fn count_dead_letters(database: &Database, ledger: &mut Ledger) -> Result<(), EngineError> {
    let table = database.begin_read()?.open_table(DEAD_LETTERS)?;
    ledger.dead_letters = DeadLetterBook::count(&table, ledger.dead_letters.next_id)?;
    Ok(())
}

/// Those that have a tally, slots or events.
fn incarnations(
    database: &Database,
    ledger: &Ledger,
) -> Result<BTreeSet<IncarnationId>, EngineError> {
    let mut incarnations: BTreeSet<_> = ledger.incarnations().into_iter().collect();
    let table = database.begin_read()?.open_table(EVENTS)?;
    let mut next = Some((0, 0, 0));
    while let Some(first) = next {
        let Some(row) = table.range(first..)?.next() else {
            break;
        };
        let (incarnation, _, _) = row?.0.value();
        incarnations.insert(IncarnationId(incarnation));
        next = incarnation
            .checked_add(1)
            .map(|incarnation| (incarnation, 0, 0));
    }
    Ok(incarnations)
}

/// Looks each slot up as a courier does: a damaged branch may hide a row from one lookup and show it
/// to another, and what no courier would ever find has to count as lost.
fn count_events(
    database: &Database,
    ledger: &mut Ledger,
    incarnation: IncarnationId,
) -> Result<(), EngineError> {
    ledger.clear_slots(incarnation);
    let table = database.begin_read()?.open_table(EVENTS)?;
    for slot in Slot::all() {
        for row in table.range(slot_keys(incarnation, slot, Sequence(0)))? {
            let bytes = u64::from(row_bytes(row?.1.value()));
            ledger.restore_event((incarnation, slot), bytes);
        }
    }
    Ok(())
}

/// The `tcpclean`s of the next open channels; `None` when there are no more.
fn next_channels(
    database: &Database,
    recovered: &mut Recovered,
    clock: &dyn Clock,
) -> Result<Option<Batch>, EngineError> {
    let table = database.begin_read()?.open_table(OPEN_CHANNELS)?;
    if table.is_empty()? {
        return Ok(None);
    }
    let mut batch = Batch {
        durable: true,
        ..Batch::default()
    };
    let mut intents = Vec::new();
    for row in table.iter()?.take(CLOSE_CHANNELS_MAX) {
        let (opened, record) = row?;
        let opened = Sequence(opened.value());
        match decode_open_channel(opened, record.value()) {
            Ok(row) => {
                let kind = EventKind {
                    event_type: EventType::TcpClean,
                    reason: Some(CloseReason::HostRestart),
                    synthetic: Some(Synthetic::HostRestart),
                    connected_at_ms: Some(row.connected_at_ms),
                };
                intents.push(Intent {
                    incarnation: row.incarnation,
                    slot: Slot::of(&row.channel.client_id),
                    event: recovered.stamper.stamp(clock.now_ms(), &row.channel, kind),
                    row: RowChange::Remove(opened),
                    appended: None,
                    replay: None,
                });
                recovered.closed_channels += 1;
            }
            Err(DamagedRecord) => {
                tracing::error!(
                    opened = opened.0,
                    "record of an open channel is damaged and was removed"
                );
                batch.closed.push(opened.0);
                recovered.damaged_rows += 1;
            }
        }
    }
    batch.add_events(intents, 0);
    Ok(Some(batch))
}
