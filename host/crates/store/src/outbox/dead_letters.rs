//! Looking at dead letters, deleting them and letting their events enter again.
//!
//! A replay goes through the queue of new events, so that its position fits their order. Only
//! deletions and replays remove a letter, one call at a time: what a call has read is still
//! there when it commits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{ClientId, IncarnationId, RefuseConnectError, RuleId, Slot};
use redb::ReadableDatabase;

use super::Outbox;
use super::dead_letter::{DeadLetter, DeadLetterReason, decode};
use super::intake::{Intent, Phase, Replay, RowChange};
use super::jobs::JobKind;
use super::tables::DEAD_LETTERS;
use crate::ReadStoreError;
use crate::record::DamagedRecord;

/// So many dead letters are deleted or enter again in one commit.
const EDIT_LETTERS_MAX: usize = 1000;

/// Which dead letters are meant. Everything that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this rule.
    pub rule_id: Option<RuleId>,
    /// Of this client.
    pub client_id: Option<ClientId>,
    /// Buried for this reason.
    pub reason: Option<DeadLetterReason>,
    /// With a smaller number.
    pub before: Option<u64>,
}

impl DeadLetterFilter {
    fn fits(&self, letter: &DeadLetter) -> bool {
        let burial = &letter.burial;
        let client_id = &letter.event.channel.client_id;
        self.rule_id
            .as_ref()
            .is_none_or(|rule_id| *rule_id == burial.rule_id)
            && self
                .client_id
                .as_ref()
                .is_none_or(|wanted| wanted == client_id)
            && self.reason.is_none_or(|reason| reason == burial.reason)
    }
}

/// A dead letter that is to enter again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayDeadLetter {
    /// Its number.
    pub id: u64,
    /// For whom its event enters.
    pub incarnation: IncarnationId,
    /// Earlier incarnations that share the room with it.
    pub predecessors: Arc<[IncarnationId]>,
}

/// Why dead letters were not deleted or did not enter again.
#[derive(Debug, thiserror::Error)]
pub enum EditDeadLettersError {
    /// They could not be read.
    #[error("dead letters cannot be read")]
    Read(#[from] ReadStoreError),
    /// The outbox is closed.
    #[error("the outbox is closed")]
    Closed,
    /// Their events have no room.
    #[error("the outbox has no room for their events: {0:?}")]
    NoRoom(RefuseConnectError),
}

impl Outbox {
    /// The newest `limit` dead letters that fit `filter`, newest first. Reads the disk, in the worst
    /// case all of them. Damaged ones are left out and counted.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read.
    pub fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ReadStoreError> {
        let mut damaged = 0;
        let letters = self.shared.disk.run(|database| {
            let table = database.begin_read()?.open_table(DEAD_LETTERS)?;
            let mut letters = Vec::new();
            for row in table.range(..filter.before.unwrap_or(u64::MAX))?.rev() {
                if letters.len() >= limit {
                    break;
                }
                let (id, record) = row?;
                match decode(id.value(), record.value()) {
                    Ok(letter) if filter.fits(&letter) => letters.push(letter),
                    Ok(_) => {}
                    Err(DamagedRecord) => damaged += 1,
                }
            }
            Ok(letters)
        })?;
        self.count_damaged(damaged);
        Ok(letters)
    }

    /// The dead letter with this number; `None` if there is none. Reads the disk. A damaged one reads as none and is counted.
    ///
    /// # Errors
    ///
    /// When the file is not open or cannot be read.
    pub fn dead_letter(&self, id: u64) -> Result<Option<DeadLetter>, ReadStoreError> {
        let letter = self.shared.disk.run(|database| {
            let table = database.begin_read()?.open_table(DEAD_LETTERS)?;
            let record = table.get(id)?;
            Ok(record.map(|record| decode(id, record.value())))
        })?;
        self.count_damaged(u64::from(matches!(letter, Some(Err(DamagedRecord)))));
        Ok(letter.and_then(Result::ok))
    }

    /// Whether dead letters take less than their limit. Burials are stored even if not: whoever buries waits for room.
    #[must_use]
    pub fn dead_letters_room(&self) -> bool {
        let bytes = self.shared.ledger.lock().dead_letters.bytes;
        bytes < self.shared.config.dead_letters_bytes_max
    }

    /// Deletes the dead letters with these numbers; returns how many there were. Blocks until it is
    /// durable, 1,000 a commit; a commit that fails is repeated meanwhile.
    ///
    /// # Errors
    ///
    /// When the outbox is closed. Some may be deleted then.
    pub fn delete_dead_letters(&self, ids: &[u64]) -> Result<u64, EditDeadLettersError> {
        let _editing = self.letter_edits.lock();
        let mut deleted = 0;
        for ids in ids.chunks(EDIT_LETTERS_MAX) {
            let job = JobKind::DeleteDeadLetters(ids.to_vec());
            deleted += self.run_job(job).ok_or(EditDeadLettersError::Closed)?;
        }
        Ok(deleted)
    }

    /// Lets the events of dead letters enter again, each client's in the order of its sequences: a
    /// letter goes in the commit that its event enters in. Returns how many that were; unknown and
    /// damaged letters are left out, and the rest when there is no room for more. Blocks until
    /// it is durable, 1,000 a commit; a commit that fails is repeated meanwhile.
    ///
    /// # Errors
    ///
    /// When none entered, since the file cannot be read, there is no room or the outbox is closed;
    /// or when the outbox closed meanwhile.
    pub fn replay_dead_letters(
        &self,
        replays: Vec<ReplayDeadLetter>,
    ) -> Result<u64, EditDeadLettersError> {
        let _editing = self.letter_edits.lock();
        let mut replays = replays;
        replays.sort_unstable_by_key(|replay| replay.id);
        replays.dedup_by_key(|replay| replay.id);
        let mut letters = Vec::new();
        for replay in replays {
            if let Some(letter) = self.dead_letter(replay.id)? {
                letters.push((letter, replay));
            }
        }
        letters.sort_by_key(|(letter, _)| letter.event.sequence);
        let mut entered = 0;
        let mut letters = letters.into_iter().peekable();
        while letters.peek().is_some() {
            let part: Vec<_> = letters.by_ref().take(EDIT_LETTERS_MAX).collect();
            let count = u64::try_from(part.len()).unwrap_or(u64::MAX);
            match self.enter_again(part) {
                Ok(()) => entered += count,
                Err(EditDeadLettersError::NoRoom(_)) if entered > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(entered)
    }

    /// Queues the events of some letters, in this order, and waits until they are committed.
    fn enter_again(
        &self,
        letters: Vec<(DeadLetter, ReplayDeadLetter)>,
    ) -> Result<(), EditDeadLettersError> {
        let (done, answer) = crossbeam_channel::bounded(1);
        let mut done = Some(done);
        let mut intake = self.shared.intake.lock();
        if intake.phase == Phase::Closed {
            return Err(EditDeadLettersError::Closed);
        }
        for (index, (_, replay)) in letters.iter().enumerate() {
            let (incarnation, predecessors) = (replay.incarnation, &replay.predecessors);
            let config = &self.shared.config;
            if let Err(error) = intake.reserve_events(config, incarnation, predecessors, 1) {
                let reserved = letters.iter().take(index);
                reserved.for_each(|(_, replay)| intake.release_events(replay.incarnation, 1));
                return Err(EditDeadLettersError::NoRoom(error));
            }
        }
        let now_ms = self.shared.clock.now_ms();
        let last = letters.len().saturating_sub(1);
        let mut wake = false;
        for (index, (letter, replay)) in letters.into_iter().enumerate() {
            let (position, entered_ms) = intake.stamper.next(now_ms);
            wake |= intake.append(Intent {
                incarnation: replay.incarnation,
                slot: Slot::of(&letter.event.channel.client_id),
                event: letter.event,
                row: RowChange::Keep,
                appended: None,
                replay: Some(Replay {
                    letter: letter.id,
                    position,
                    entered_ms,
                    done: if index == last { done.take() } else { None },
                }),
            });
        }
        drop(intake);
        if wake {
            self.shared.wake.notify_one();
        }
        // No answer: the outbox closed before.
        answer.recv().map_err(|_| EditDeadLettersError::Closed)
    }

    fn count_damaged(&self, damaged: u64) {
        if damaged > 0 {
            tracing::error!(damaged, "stored dead letters are damaged");
            let meter = &self.shared.meters.damaged_events;
            meter.fetch_add(damaged, Ordering::Relaxed);
        }
    }
}
