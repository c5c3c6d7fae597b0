//! How events and open channels look on disk: own mirror types, postcard, a CRC-32 over key and value.
//!
//! The domain's types are never serialised, so they can change without changing a file. The order
//! of the fields and of the variants of the mirror enums is the format: it only grows at the end, with a new schema version.
//! A replay's row carries the sequence and time that the event had first behind it, so rows of schema 1 are read as they are.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventId, EventType, GroupId, IncarnationId,
    MqttVersion, Sequence, Slot, StatusEvent, Synthetic,
};
use serde::{Deserialize, Serialize};

use crate::mirror::mirror;

/// Key of an event: incarnation, slot, position.
pub(crate) type EventKey = (u32, u8, u64);

/// CRC-32 and time in front of every event.
const HEADER_BYTES: usize = 12;

/// A record is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record's checksum or form is wrong")]
pub(crate) struct DamagedRecord;

mirror!(StoredEventType of EventType { Connect, Disconnect, TcpClean });
mirror!(StoredSynthetic of Synthetic { Snapshot, HostRestart });
mirror!(StoredProtocol of MqttVersion { V311, V5 });
mirror!(StoredReason of CloseReason {
    ClientDisconnect, ClientDisconnectWithWill, ConnectionLost, ConnectionReset, KeepAliveTimeout,
    ProtocolError, PacketTooLarge, TakenOver, Kicked, NotAuthorized, QuotaExceeded, HostShutdown,
    HostRestart, InternalError,
});

/// Most groups are named by the client id: then they are not stored again.
#[derive(Serialize, Deserialize)]
enum StoredGroup<'a> {
    None,
    OfClientId,
    Named(&'a str),
}

#[derive(Serialize, Deserialize)]
struct StoredChannel<'a> {
    #[serde(borrow)]
    client_id: &'a str,
    #[serde(borrow)]
    group: StoredGroup<'a>,
    channel_id: [u8; 16],
    client_address: SocketAddr,
    protocol: StoredProtocol,
    listener: &'a str,
    #[serde(borrow)]
    username: Option<&'a str>,
    keep_alive_seconds: u16,
    clean_start: bool,
    session_present: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredEvent<'a> {
    event_id: [u8; 16],
    event_type: StoredEventType,
    reason: Option<StoredReason>,
    synthetic: Option<StoredSynthetic>,
    connected_at_ms: u64,
    #[serde(borrow)]
    channel: StoredChannel<'a>,
}

#[derive(Serialize, Deserialize)]
struct StoredOpenChannel<'a> {
    incarnation: u32,
    connected_at_ms: u64,
    #[serde(borrow)]
    channel: StoredChannel<'a>,
}

/// A row of the table of open channels.
#[derive(Debug)]
pub(crate) struct OpenChannel {
    pub(crate) incarnation: IncarnationId,
    pub(crate) connected_at_ms: u64,
    pub(crate) channel: Arc<ChannelFacts>,
}

impl<'a> StoredChannel<'a> {
    fn of(channel: &'a ChannelFacts) -> Self {
        let group = match &channel.group_id {
            None => StoredGroup::None,
            Some(group) if channel.client_id.group().as_ref() == Some(group) => {
                StoredGroup::OfClientId
            }
            Some(group) => StoredGroup::Named(group.as_str()),
        };
        Self {
            client_id: channel.client_id.as_str(),
            group,
            channel_id: channel.channel_id.0,
            client_address: channel.client_address,
            protocol: channel.protocol.into(),
            listener: channel.listener,
            username: channel.username.as_deref(),
            keep_alive_seconds: channel.keep_alive_seconds,
            clean_start: channel.clean_start,
            session_present: channel.session_present,
        }
    }

    fn restore(self) -> Result<Arc<ChannelFacts>, DamagedRecord> {
        let client_id = ClientId::parse(self.client_id).map_err(|_| DamagedRecord)?;
        let group_id = match self.group {
            StoredGroup::None => None,
            StoredGroup::OfClientId => Some(client_id.group().ok_or(DamagedRecord)?),
            StoredGroup::Named(name) => Some(GroupId::parse(name).map_err(|_| DamagedRecord)?),
        };
        Ok(Arc::new(ChannelFacts {
            client_id,
            group_id,
            channel_id: ChannelId(self.channel_id),
            client_address: self.client_address,
            protocol: self.protocol.into(),
            listener: listener(self.listener),
            username: self.username.map(Arc::from),
            keep_alive_seconds: self.keep_alive_seconds,
            clean_start: self.clean_start,
            session_present: self.session_present,
        }))
    }
}

/// The listener kinds that exist or are planned; the name is shown only, so another one is no damage.
fn listener(name: &str) -> &'static str {
    ["tcp", "ws", "tls", "wss"]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("unknown")
}

/// What a row of a pending event or a dead letter holds.
#[derive(Debug)]
pub(crate) struct DecodedEvent {
    pub(crate) event: StatusEvent,
    /// UNIX milliseconds.
    pub(crate) entered_ms: u64,
}

/// Follows the event in the row of a replay: there the key and the header say when it entered again.
#[derive(Serialize, Deserialize)]
struct StoredOrigin {
    sequence: u64,
    time_ms: u64,
}

/// Encodes `event` for the row `key`; a key that is not its sequence makes it a replay.
pub(crate) fn encode_event(key: EventKey, entered_ms: u64, event: &StatusEvent) -> Vec<u8> {
    let stored = StoredEvent {
        event_id: event.event_id.0,
        event_type: event.event_type.into(),
        reason: event.reason.map(Into::into),
        synthetic: event.synthetic.map(Into::into),
        connected_at_ms: event.connected_at_ms,
        channel: StoredChannel::of(&event.channel),
    };
    let mut bytes = Vec::with_capacity(192);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&entered_ms.to_le_bytes());
    let mut bytes = append_postcard(bytes, &stored);
    if event.sequence.0 != key.2 {
        let origin = StoredOrigin {
            sequence: event.sequence.0,
            time_ms: event.time_ms,
        };
        bytes = append_postcard(bytes, &origin);
    }
    seal(key, bytes)
}

/// Reads the event in the row `key`.
pub(crate) fn decode_event(key: EventKey, bytes: &[u8]) -> Result<DecodedEvent, DamagedRecord> {
    let body = unseal(key, bytes)?;
    let (time, body) = body.split_first_chunk::<8>().ok_or(DamagedRecord)?;
    let entered_ms = u64::from_le_bytes(*time);
    let (stored, rest): (StoredEvent<'_>, _) =
        postcard::take_from_bytes(body).map_err(|_| DamagedRecord)?;
    let origin = if rest.is_empty() {
        StoredOrigin {
            sequence: key.2,
            time_ms: entered_ms,
        }
    } else {
        postcard::from_bytes(rest).map_err(|_| DamagedRecord)?
    };
    let event = StatusEvent {
        event_id: EventId(stored.event_id),
        event_type: stored.event_type.into(),
        time_ms: origin.time_ms,
        sequence: Sequence(origin.sequence),
        reason: stored.reason.map(Into::into),
        synthetic: stored.synthetic.map(Into::into),
        connected_at_ms: stored.connected_at_ms,
        channel: stored.channel.restore()?,
    };
    Ok(DecodedEvent { event, entered_ms })
}

/// When an event entered, without a look at the rest; 0 if the row is too short.
pub(crate) fn event_time_ms(bytes: &[u8]) -> u64 {
    bytes
        .get(4..HEADER_BYTES)
        .and_then(|time| time.first_chunk::<8>())
        .map_or(0, |time| u64::from_le_bytes(*time))
}

/// Encodes the row of a channel that opened with sequence `opened`.
pub(crate) fn encode_open_channel(incarnation: IncarnationId, event: &StatusEvent) -> Vec<u8> {
    let stored = StoredOpenChannel {
        incarnation: incarnation.0,
        connected_at_ms: event.connected_at_ms,
        channel: StoredChannel::of(&event.channel),
    };
    let mut bytes = Vec::with_capacity(160);
    bytes.extend_from_slice(&[0; 4]);
    seal(
        open_channel_key(event.sequence),
        append_postcard(bytes, &stored),
    )
}

/// Reads the row of the channel that opened with sequence `opened`.
pub(crate) fn decode_open_channel(
    opened: Sequence,
    bytes: &[u8],
) -> Result<OpenChannel, DamagedRecord> {
    let body = unseal(open_channel_key(opened), bytes)?;
    let stored: StoredOpenChannel<'_> = postcard::from_bytes(body).map_err(|_| DamagedRecord)?;
    Ok(OpenChannel {
        incarnation: IncarnationId(stored.incarnation),
        connected_at_ms: stored.connected_at_ms,
        channel: stored.channel.restore()?,
    })
}

/// The key of an event.
pub(crate) fn event_key(incarnation: IncarnationId, slot: Slot, position: Sequence) -> EventKey {
    (incarnation.0, slot.0, position.0)
}

/// The keys of a slot's events with a position above `after`; none has the position 0. Every reader
/// of a slot looks it up with these, so that all see the same rows of a damaged file.
pub(crate) fn slot_keys(
    incarnation: IncarnationId,
    slot: Slot,
    after: Sequence,
) -> RangeInclusive<EventKey> {
    let first = Sequence(after.0.saturating_add(1));
    event_key(incarnation, slot, first)..=event_key(incarnation, slot, Sequence(u64::MAX))
}

fn open_channel_key(opened: Sequence) -> EventKey {
    (0, 0, opened.0)
}

/// Appends the postcard form of `value`. The mirror types have no map and no length that postcard
/// does not know, so it cannot fail but for memory; an empty body would be found as damage.
pub(crate) fn append_postcard<T: Serialize>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::to_extend(value, bytes).unwrap_or_default()
}

/// Puts the CRC-32 of key and value into the first four bytes.
pub(crate) fn seal(key: EventKey, mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some((checksum, body)) = bytes.split_first_chunk_mut::<4>() {
        *checksum = crc(key, body).to_le_bytes();
    }
    bytes
}

/// Checks the CRC-32 and returns what follows it.
pub(crate) fn unseal(key: EventKey, bytes: &[u8]) -> Result<&[u8], DamagedRecord> {
    let (checksum, body) = bytes.split_first_chunk::<4>().ok_or(DamagedRecord)?;
    if u32::from_le_bytes(*checksum) == crc(key, body) {
        Ok(body)
    } else {
        Err(DamagedRecord)
    }
}

fn crc((incarnation, slot, position): EventKey, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&incarnation.to_le_bytes());
    hasher.update(&[slot]);
    hasher.update(&position.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
