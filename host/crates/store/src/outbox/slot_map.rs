//! Which RocketMQ queue each slot of an incarnation goes to. The outbox only keeps it.

use domain::{IncarnationId, QueueName, Slot};
use redb::{Database, ReadableDatabase};

use super::Outbox;
use super::commit::is_quick_repair;
use super::tables::SLOT_MAPS;
use crate::EngineError;
use crate::disk::ReadStoreError;
use crate::record::{append_postcard, seal, unseal};

/// Why a slot map was not stored.
#[derive(Debug, thiserror::Error)]
#[error("the slot map cannot be stored")]
pub struct PutSlotMapError {
    #[from]
    source: ReadStoreError,
}

impl Outbox {
    /// Which queue each slot of an incarnation goes to; `None` if none was stored. Reads the disk.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read. A damaged map reads as none: then the slots are dealt anew.
    pub fn slot_map(
        &self,
        incarnation: IncarnationId,
    ) -> Result<Option<Vec<(Slot, QueueName)>>, ReadStoreError> {
        self.shared.disk.run(|database| {
            let table = database.begin_read()?.open_table(SLOT_MAPS)?;
            let record = table.get(incarnation.0)?;
            Ok(record.and_then(|record| decode_slot_map(incarnation, record.value())))
        })
    }

    /// Stores which queue each slot goes to. Blocks until it is durable; may wait for a commit.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be written.
    pub fn put_slot_map(
        &self,
        incarnation: IncarnationId,
        map: Vec<(Slot, QueueName)>,
    ) -> Result<(), PutSlotMapError> {
        let map: Vec<_> = map
            .into_iter()
            .map(|(slot, queue)| (slot.0, queue.broker.to_string(), queue.queue))
            .collect();
        let record = seal((incarnation.0, 0, 0), append_postcard(vec![0; 4], &map));
        // The last commit before a crash decides how long the repair takes.
        let is_quick_repair = is_quick_repair(&self.shared.ledger.lock());
        Ok(self
            .shared
            .disk
            .run(|database| write_slot_map(database, incarnation, &record, is_quick_repair))?)
    }
}

fn write_slot_map(
    database: &Database,
    incarnation: IncarnationId,
    record: &[u8],
    is_quick_repair: bool,
) -> Result<(), EngineError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(is_quick_repair);
    transaction
        .open_table(SLOT_MAPS)?
        .insert(incarnation.0, record)?;
    transaction.commit()?;
    Ok(())
}

fn decode_slot_map(incarnation: IncarnationId, record: &[u8]) -> Option<Vec<(Slot, QueueName)>> {
    let body = unseal((incarnation.0, 0, 0), record).ok()?;
    let map: Vec<(u8, String, u32)> = postcard::from_bytes(body).ok()?;
    Some(
        map.into_iter()
            .map(|(slot, broker, queue)| {
                (
                    Slot(slot),
                    QueueName {
                        broker: broker.into(),
                        queue,
                    },
                )
            })
            .collect(),
    )
}
