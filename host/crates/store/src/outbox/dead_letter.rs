//! Events that could not be mapped or sent: how they are stored, and how much of them there is.
//!
//! None is ever dropped to make room. Whoever buries asks for room before, and waits if there is none.

use domain::{IncarnationId, PluginDigest, RuleId, Slot, StatusEvent};
use redb::{Database, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::tables::{DEAD_LETTER_BYTES, DEAD_LETTER_COUNT, DEAD_LETTER_NEXT, DEAD_LETTERS};
use crate::EngineError;
use crate::database::{NUMBERS, read_number};
use crate::mirror::mirror;
use crate::record::{DamagedRecord, EventKey, append_postcard, decode_event, seal, unseal};

/// Longer details are cut: a trap's report of 2 KiB and what to do about it are kept whole.
const DETAIL_BYTES_MAX: usize = 3 * 1024;

/// Why an event was buried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadLetterReason {
    /// The plugin said no.
    Rejected,
    /// The plugin faulted on every try.
    Fault,
    /// RocketMQ, or the check before it, refused the message for good.
    Refused,
}

impl DeadLetterReason {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Fault => "fault",
            Self::Refused => "refused",
        }
    }
}

/// What is known of a burial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burial {
    /// Why.
    pub reason: DeadLetterReason,
    /// What the plugin or RocketMQ said; cut to 3 KiB when it is stored.
    pub detail: String,
    /// The rule.
    pub rule_id: RuleId,
    /// Its revision.
    pub revision: u64,
    /// The plugin that mapped, if one was loaded.
    pub plugin_digest: Option<PluginDigest>,
}

/// A buried event.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number: it only grows.
    pub id: u64,
    /// Whose event it was.
    pub incarnation: IncarnationId,
    /// Its client's slot.
    pub slot: Slot,
    /// The event.
    pub event: StatusEvent,
    /// Why, and by whom.
    pub burial: Burial,
    /// When it was buried: UNIX milliseconds.
    pub at_ms: u64,
}

mirror!(StoredReason of DeadLetterReason { Rejected, Fault, Refused });

#[derive(Serialize, Deserialize)]
struct StoredDeadLetter<'a> {
    key: EventKey,
    at_ms: u64,
    reason: StoredReason,
    detail: &'a str,
    rule_id: &'a str,
    revision: u64,
    plugin_digest: Option<[u8; 32]>,
    event: &'a [u8],
}

/// How full the table is. Stored, so that opening a file need not read its dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadLetterBook {
    /// The next number.
    pub(crate) next_id: u64,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl DeadLetterBook {
    /// Reads the stored numbers.
    pub(crate) fn read(database: &Database) -> Result<Self, EngineError> {
        let number = |name| read_number(database, name).map(Option::unwrap_or_default);
        Ok(Self {
            next_id: number(DEAD_LETTER_NEXT)?,
            count: number(DEAD_LETTER_COUNT)?,
            bytes: number(DEAD_LETTER_BYTES)?,
        })
    }

    /// Counts the dead letters anew; numbers are never given again.
    pub(crate) fn count(
        table: &impl ReadableTable<u64, &'static [u8]>,
        next_id: u64,
    ) -> Result<Self, EngineError> {
        let mut book = Self {
            next_id,
            ..Self::default()
        };
        for row in table.iter()? {
            let (id, record) = row?;
            book.next_id = book.next_id.max(id.value().saturating_add(1));
            book.count += 1;
            book.bytes += stored_bytes(record.value());
        }
        Ok(book)
    }

    /// Stores the numbers.
    pub(crate) fn write(&self, transaction: &WriteTransaction) -> Result<(), EngineError> {
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(DEAD_LETTER_NEXT, self.next_id)?;
        numbers.insert(DEAD_LETTER_COUNT, self.count)?;
        numbers.insert(DEAD_LETTER_BYTES, self.bytes)?;
        Ok(())
    }
}

/// An event and its burial, still as bytes.
pub(crate) struct Buried<'a> {
    pub(crate) key: EventKey,
    pub(crate) event: Vec<u8>,
    pub(crate) burial: &'a Burial,
}

/// Stores `buried`.
pub(crate) fn bury(
    transaction: &WriteTransaction,
    buried: &[Buried<'_>],
    mut book: DeadLetterBook,
    at_ms: u64,
) -> Result<DeadLetterBook, EngineError> {
    let mut table = transaction.open_table(DEAD_LETTERS)?;
    for letter in buried {
        let record = encode(book.next_id, letter, at_ms);
        table.insert(book.next_id, record.as_slice())?;
        book.next_id += 1;
        book.count += 1;
        book.bytes += stored_bytes(&record);
    }
    Ok(book)
}

/// Removes the dead letters with these numbers, as far as they are there.
pub(crate) fn remove(
    transaction: &WriteTransaction,
    ids: &[u64],
    mut book: DeadLetterBook,
) -> Result<DeadLetterBook, EngineError> {
    let mut table = transaction.open_table(DEAD_LETTERS)?;
    for id in ids {
        if let Some(record) = table.remove(id)? {
            book.count = book.count.saturating_sub(1);
            book.bytes = book.bytes.saturating_sub(stored_bytes(record.value()));
        }
    }
    Ok(book)
}

/// The record and its key.
fn stored_bytes(record: &[u8]) -> u64 {
    u64::try_from(record.len())
        .unwrap_or(u64::MAX)
        .saturating_add(8)
}

fn record_key(id: u64) -> EventKey {
    (0, 0, id)
}

fn encode(id: u64, letter: &Buried<'_>, at_ms: u64) -> Vec<u8> {
    let burial = letter.burial;
    let stored = StoredDeadLetter {
        key: letter.key,
        at_ms,
        reason: burial.reason.into(),
        detail: cut(&burial.detail),
        rule_id: burial.rule_id.as_str(),
        revision: burial.revision,
        plugin_digest: burial.plugin_digest.map(|digest| digest.0),
        event: &letter.event,
    };
    seal(record_key(id), append_postcard(vec![0; 4], &stored))
}

/// Reads the dead letter with this number.
pub(crate) fn decode(id: u64, record: &[u8]) -> Result<DeadLetter, DamagedRecord> {
    let body = unseal(record_key(id), record)?;
    let stored: StoredDeadLetter<'_> = postcard::from_bytes(body).map_err(|_| DamagedRecord)?;
    let (incarnation, slot, _) = stored.key;
    let event = decode_event(stored.key, stored.event)?.event;
    Ok(DeadLetter {
        id,
        incarnation: IncarnationId(incarnation),
        slot: Slot(slot),
        event,
        burial: Burial {
            reason: stored.reason.into(),
            detail: stored.detail.to_owned(),
            rule_id: RuleId::parse(stored.rule_id).map_err(|_| DamagedRecord)?,
            revision: stored.revision,
            plugin_digest: stored.plugin_digest.map(PluginDigest),
        },
        at_ms: stored.at_ms,
    })
}

/// At most [`DETAIL_BYTES_MAX`] bytes of `detail`, whole characters only.
fn cut(detail: &str) -> &str {
    detail
        .get(..detail.floor_char_boundary(DETAIL_BYTES_MAX))
        .unwrap_or(detail)
}
