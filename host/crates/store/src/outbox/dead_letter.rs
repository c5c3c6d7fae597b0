//! Events that could not be mapped or sent, kept until their table is full: then the oldest go.

use domain::{IncarnationId, PluginDigest, RuleId, Slot, StatusEvent};
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::tables::DEAD_LETTERS;
use crate::EngineError;
use crate::mirror::mirror;
use crate::record::{DamagedRecord, EventKey, append_postcard, decode_event, seal, unseal};

/// Longer details are cut.
const DETAIL_BYTES_MAX: usize = 1024;

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
    /// What the plugin or RocketMQ said; cut to 1 KiB when it is stored.
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

/// How full the table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadLetterBook {
    /// The next number.
    pub(crate) next_id: u64,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// Dead letters that this process dropped to make room.
    pub(crate) dropped: u64,
}

/// Reads how full the table is.
pub(crate) fn survey(database: &Database) -> Result<DeadLetterBook, EngineError> {
    let mut book = DeadLetterBook::default();
    let table = database.begin_read()?.open_table(DEAD_LETTERS)?;
    for row in table.iter()? {
        let (id, record) = row?;
        book.next_id = id.value() + 1;
        book.count += 1;
        book.bytes += stored_bytes(record.value());
    }
    Ok(book)
}

/// An event and its burial, still as bytes.
pub(crate) struct Buried<'a> {
    pub(crate) key: EventKey,
    pub(crate) event: Vec<u8>,
    pub(crate) burial: &'a Burial,
}

/// Stores `buried` and drops the oldest while all together take more than `bytes_max`.
pub(crate) fn bury(
    transaction: &WriteTransaction,
    buried: &[Buried<'_>],
    mut book: DeadLetterBook,
    (at_ms, bytes_max): (u64, u64),
) -> Result<DeadLetterBook, EngineError> {
    let mut table = transaction.open_table(DEAD_LETTERS)?;
    for letter in buried {
        let record = encode(book.next_id, letter, at_ms);
        table.insert(book.next_id, record.as_slice())?;
        book.next_id += 1;
        book.count += 1;
        book.bytes += stored_bytes(&record);
    }
    while book.bytes > bytes_max {
        let Some((_, record)) = table.pop_first()? else {
            break;
        };
        book.bytes = book.bytes.saturating_sub(stored_bytes(record.value()));
        book.count = book.count.saturating_sub(1);
        book.dropped += 1;
    }
    Ok(book)
}

/// The newest `limit` dead letters, newest first, and how many of them were damaged and left out.
pub(crate) fn newest(
    database: &Database,
    limit: usize,
) -> Result<(Vec<DeadLetter>, u64), EngineError> {
    let table = database.begin_read()?.open_table(DEAD_LETTERS)?;
    let mut letters = Vec::new();
    let mut damaged = 0;
    for row in table.iter()?.rev().take(limit) {
        let (id, record) = row?;
        match decode(id.value(), record.value()) {
            Ok(letter) => letters.push(letter),
            Err(DamagedRecord) => damaged += 1,
        }
    }
    Ok((letters, damaged))
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

fn decode(id: u64, record: &[u8]) -> Result<DeadLetter, DamagedRecord> {
    let body = unseal(record_key(id), record)?;
    let stored: StoredDeadLetter<'_> = postcard::from_bytes(body).map_err(|_| DamagedRecord)?;
    let (incarnation, slot, _) = stored.key;
    let event = decode_event(stored.key, stored.event)?;
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
