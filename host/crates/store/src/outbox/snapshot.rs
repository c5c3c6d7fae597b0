//! Answers that must fit each other: all counts at one commit, whether a channel would find room,
//! whether it is open.

use std::collections::BTreeMap;

use domain::{IncarnationId, RefuseConnectError, Sequence};
use redb::ReadableDatabase;

use super::tables::OPEN_CHANNELS;
use super::{IncarnationCounts, Outbox};
use crate::ReadStoreError;

/// What became of all events that ever entered, as of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Of each incarnation that has counts or pending events.
    pub incarnations: BTreeMap<IncarnationId, IncarnationCounts>,
    /// Of rules that were forgotten.
    pub forgotten: IncarnationCounts,
}

impl Outbox {
    /// All counts as of the last commit, read under one lock: a commit is in all of them or in none.
    #[must_use]
    pub fn all_counts(&self) -> OutboxCounts {
        let ledger = self.shared.ledger.lock();
        let counts = |incarnation| (incarnation, ledger.counts(incarnation));
        OutboxCounts {
            incarnations: ledger.incarnations().into_iter().map(counts).collect(),
            forgotten: ledger.forgotten_counts(),
        }
    }

    /// Whether [`Outbox::reserve_after`] would find room now. Changes nothing. Takes no longer.
    ///
    /// # Errors
    ///
    /// As [`Outbox::reserve_after`].
    pub fn check_room(
        &self,
        incarnation: IncarnationId,
        predecessors: &[IncarnationId],
    ) -> Result<(), RefuseConnectError> {
        let mut intake = self.shared.intake.lock();
        // Both under one lock: nobody sees the reservation.
        intake.reserve(&self.shared.config, incarnation, predecessors)?;
        intake.release(incarnation);
        Ok(())
    }

    /// Whether the channel whose `connect` has this sequence is open, by its row or by what is not
    /// committed yet. A channel that no rule matched has no row. May read the disk; looks at every uncommitted event.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read.
    pub fn is_channel_open(&self, opened: Sequence) -> Result<bool, ReadStoreError> {
        if let Some(is_open) = self.shared.intake.lock().is_open(opened) {
            return Ok(is_open);
        }
        self.shared.disk.run(|database| {
            let table = database.begin_read()?.open_table(OPEN_CHANNELS)?;
            Ok(table.get(opened.0)?.is_some())
        })
    }
}
