//! What one slot of an incarnation has pending: how many events, how many bytes, and how old the first one is.
//!
//! Sums are stored with a checksum of their own. The first event is only remembered: it is read
//! when somebody asks, since a settlement does not know its successor.

use domain::{IncarnationId, Slot};

use super::tables::SlotRow;

/// Pending events of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotSums {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl SlotSums {
    /// One event.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { events: 1, bytes }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.events = self.events.saturating_sub(other.events);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// The row of these sums.
    pub(crate) fn row(self, incarnation: IncarnationId, slot: Slot) -> SlotRow {
        (self.events, self.bytes, self.checksum(incarnation, slot))
    }

    /// The sums in a row; `None` if it is damaged.
    pub(crate) fn from_row(incarnation: IncarnationId, slot: Slot, row: SlotRow) -> Option<Self> {
        let (events, bytes, checksum) = row;
        let sums = Self { events, bytes };
        (sums.checksum(incarnation, slot) == checksum).then_some(sums)
    }

    fn checksum(self, incarnation: IncarnationId, slot: Slot) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&incarnation.0.to_le_bytes());
        hasher.update(&[slot.0]);
        hasher.update(&self.events.to_le_bytes());
        hasher.update(&self.bytes.to_le_bytes());
        hasher.finalize()
    }
}

/// The first pending event of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Head {
    /// There is none.
    #[default]
    Empty,
    /// It was not read yet.
    Unknown,
    /// It is gone, its successor was not read yet.
    Gone { entered_ms: u64 },
    /// It is this one.
    Known { position: u64, entered_ms: u64 },
}

impl Head {
    pub(crate) fn appended(&mut self, position: u64, entered_ms: u64) {
        if *self == Self::Empty {
            *self = Self::Known {
                position,
                entered_ms,
            };
        }
    }

    pub(crate) fn settled(&mut self, settled: u64) {
        if let Self::Known {
            position,
            entered_ms,
        } = *self
            && position == settled
        {
            *self = Self::Gone { entered_ms };
        }
    }

    /// The first event was read; `is_current`: and nothing has changed since.
    pub(crate) fn read(&mut self, position: u64, entered_ms: u64, is_current: bool) {
        if self.is_unknown() {
            *self = if is_current {
                Self::Known {
                    position,
                    entered_ms,
                }
            } else {
                Self::Gone { entered_ms }
            };
        }
    }

    pub(crate) fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown | Self::Gone { .. })
    }

    /// When it entered, or at the latest.
    pub(crate) fn entered_ms(self) -> Option<u64> {
        match self {
            Self::Empty | Self::Unknown => None,
            Self::Gone { entered_ms } | Self::Known { entered_ms, .. } => Some(entered_ms),
        }
    }
}
