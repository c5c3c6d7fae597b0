//! The tables of `outbox.redb`.

use redb::TableDefinition;

use crate::record::EventKey;

/// Version of these tables.
pub(crate) const SCHEMA: u64 = 1;

/// Events that are not settled: (incarnation, slot, sequence) → record.
pub(crate) const EVENTS: TableDefinition<'static, EventKey, &'static [u8]> =
    TableDefinition::new("events");

/// Channels that are open: sequence of their `connect` → record.
pub(crate) const OPEN_CHANNELS: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("open_channels");

/// What became of the events of an incarnation, in the order of [`Tally`](super::ledger::Tally).
pub(crate) const TALLIES: TableDefinition<'static, u32, TallyRow> = TableDefinition::new("tallies");

/// recorded, replayed, delivered, skipped, buried, expired, discarded.
pub(crate) type TallyRow = (u64, u64, u64, u64, u64, u64, u64);

/// Which queue each slot of an incarnation goes to.
pub(crate) const SLOT_MAPS: TableDefinition<'static, u32, &'static [u8]> =
    TableDefinition::new("slot_maps");

/// Dead letters by a number that only grows.
pub(crate) const DEAD_LETTERS: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("dead_letters");

/// In the table of numbers: the last commit that changed anything.
pub(crate) const COMMIT: &str = "commit";
/// In the table of numbers: the largest sequence of a committed event.
pub(crate) const SEQUENCE: &str = "sequence";
/// In the table of numbers: the largest time of a committed event, UNIX milliseconds.
pub(crate) const TIME_MS: &str = "time_ms";
