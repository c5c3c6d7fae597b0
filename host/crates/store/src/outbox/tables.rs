//! The tables of `outbox.redb`, and why their keys are what they are.
//!
//! Measured with `benches/outbox.rs`: two shared cores, a disk that flushes in 0.2 ms, commits of
//! 1,023 events and 341 channels, records of 150 bytes. Ratios of two runs; a single figure
//! varies by a third.
//!
//! * **Events by (incarnation, slot, position).** 256 slots take 3.0 times as long as one lane when
//!   events only enter and 1.7 times when as many leave, since a commit touches a page per slot
//!   (16 slots: 1.6 and 1.4). They stay, because a slot that waits then pins nothing of the
//!   others and each slot is read as one range; 280,000 events/s were left.
//! * **Open channels by the sequence of their `connect`.** With 100,000 open and as many rows put as
//!   removed, a commit takes 1.2 times as long as without the table when the oldest close first,
//!   and 3.1 times when they close in any order; keyed by client id it takes 4.7 times, since
//!   new rows then land on as many pages as removed ones. At 15,000 connects a second
//!   (45,000 events, 30,000 rows) the chosen key leaves 2.4 times what is needed. A channel that opens
//!   and closes inside one commit writes no row at all.

use redb::TableDefinition;

use crate::record::EventKey;

/// Version of these tables. Version 1 had no [`SLOTS`], no [`FORGOTTEN`] and no numbers of dead letters.
pub(crate) const SCHEMA: u64 = 2;

/// Events that are not settled: (incarnation, slot, position) → record.
pub(crate) const EVENTS: TableDefinition<'static, EventKey, &'static [u8]> =
    TableDefinition::new("events");

/// Channels that are open: sequence of their `connect` → record.
pub(crate) const OPEN_CHANNELS: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("open_channels");

/// What each slot has pending: (incarnation, slot) → sums. A slot that has nothing has no row.
pub(crate) const SLOTS: TableDefinition<'static, (u32, u8), SlotRow> =
    TableDefinition::new("slots");

/// Events, bytes, CRC-32 over key and both.
pub(crate) type SlotRow = (u64, u64, u32);

/// What became of the events of an incarnation, in the order of [`Tally`](super::tally::Tally).
pub(crate) const TALLIES: TableDefinition<'static, u32, TallyRow> = TableDefinition::new("tallies");

/// recorded, replayed, delivered, skipped, buried, expired, discarded.
pub(crate) type TallyRow = (u64, u64, u64, u64, u64, u64, u64);

/// The sum of the tallies of forgotten rules; one row.
pub(crate) const FORGOTTEN: TableDefinition<'static, (), TallyRow> =
    TableDefinition::new("forgotten");

/// Which queue each slot of an incarnation goes to.
pub(crate) const SLOT_MAPS: TableDefinition<'static, u32, &'static [u8]> =
    TableDefinition::new("slot_maps");

/// Dead letters by a number that only grows.
pub(crate) const DEAD_LETTERS: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("dead_letters");

/// In the table of numbers: the last commit that changed anything.
pub(crate) const COMMIT: &str = "commit";
/// In the table of numbers: the largest position of a committed event.
pub(crate) const SEQUENCE: &str = "sequence";
/// In the table of numbers: the largest time of a committed event, UNIX milliseconds.
pub(crate) const TIME_MS: &str = "time_ms";
/// In the table of numbers: the number of the next dead letter.
pub(crate) const DEAD_LETTER_NEXT: &str = "dead_letter_next";
/// In the table of numbers: dead letters in the file.
pub(crate) const DEAD_LETTER_COUNT: &str = "dead_letter_count";
/// In the table of numbers: what they take there.
pub(crate) const DEAD_LETTER_BYTES: &str = "dead_letter_bytes";
