//! What happens to `outbox.redb` before the outbox opens: it is read, and channels that the last process left open are closed.
//!
//! A channel's synthetic `tcpclean` is written in the transaction that removes its row, so a
//! crash in the middle of a recovery repeats nothing and leaves nothing out.

use std::fs;

use domain::{Clock, CloseReason, EventType, IncarnationId, Sequence, Slot, Synthetic};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::batch::{Batch, row_bytes};
use super::commit::{Appended, Commit, CommitError};
use super::dead_letter;
use super::intake::{EventKind, Intent, RowChange, Stamper};
use super::ledger::{Ledger, Tally};
use super::tables::{
    COMMIT, DEAD_LETTERS, EVENTS, OPEN_CHANNELS, SEQUENCE, SLOT_MAPS, TALLIES, TIME_MS,
};
use super::{OutboxConfig, RecoveredOutbox};
use crate::EngineError;
use crate::database::read_number;
use crate::record::{DamagedRecord, decode_open_channel, event_time_ms};

/// Channels that one transaction closes.
const CLOSE_CHANNELS_MAX: usize = 10_000;

/// A file smaller than this is never compacted.
const COMPACT_BYTES_MIN: u64 = 8 << 20;

/// A file this many times larger than what it holds is compacted.
const COMPACT_RATIO: u64 = 8;

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
    create_tables(database)?;
    let ledger = read_ledger(database)?;
    compact(database, config, &ledger);
    let number = |name| read_number(database, name).map(Option::unwrap_or_default);
    let mut recovered = Recovered {
        ledger: Ledger::default(),
        stamper: Stamper {
            sequence: number(SEQUENCE)?,
            time_ms: number(TIME_MS)?,
        },
        commit: number(COMMIT)?,
        closed_channels: 0,
        damaged_rows: 0,
    };
    let ledger = Mutex::new(ledger);
    while let Some(batch) = next_channels(database, &mut recovered, clock)? {
        let commit = Commit {
            batch: &batch,
            ledger: &ledger,
            number: recovered.commit + 1,
            now_ms: clock.now_ms(),
            dead_letters_bytes_max: config.dead_letters_bytes_max,
            redo: None,
        };
        let changes = commit.run(database).map_err(|failure| failure.error)?;
        ledger.lock().apply(&changes);
        recovered.commit += 1;
    }
    recovered.ledger = ledger.into_inner();
    Ok(recovered)
}

fn create_tables(database: &Database) -> Result<(), EngineError> {
    let transaction = database.begin_write()?;
    transaction.open_table(EVENTS)?;
    transaction.open_table(OPEN_CHANNELS)?;
    transaction.open_table(TALLIES)?;
    transaction.open_table(SLOT_MAPS)?;
    transaction.open_table(DEAD_LETTERS)?;
    transaction.commit()?;
    Ok(())
}

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
    for row in transaction.open_table(EVENTS)?.iter()? {
        let (key, record) = row?;
        let (incarnation, slot, _) = key.value();
        ledger.restore_event(Appended {
            incarnation: IncarnationId(incarnation),
            slot: Slot(slot),
            bytes: u64::from(row_bytes(record.value())),
            time_ms: event_time_ms(record.value()),
        });
    }
    for (incarnation, tally, file) in ledger.mismatches() {
        tracing::error!(
            incarnation = incarnation.0,
            tally,
            file,
            "pending events of the tally and of the file differ"
        );
    }
    ledger.dead_letters = dead_letter::survey(database)?;
    Ok(ledger)
}

/// Gives disk space back that a backlog took. A failure costs space only.
fn compact(database: &mut Database, config: &OutboxConfig, ledger: &Ledger) {
    let bytes = fs::metadata(&config.path).map_or(0, |metadata| metadata.len());
    let live = ledger.pending_bytes() + ledger.dead_letters.bytes;
    if bytes < COMPACT_BYTES_MIN || bytes / COMPACT_RATIO < live {
        return;
    }
    match database.compact() {
        Ok(_) => {
            let left = fs::metadata(&config.path).map_or(0, |metadata| metadata.len());
            tracing::info!(
                bytes_before = bytes,
                bytes_after = left,
                "outbox file compacted"
            );
        }
        Err(error) => {
            tracing::warn!(error = %domain::ErrorChain(&error), "outbox file could not be compacted");
        }
    }
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
