//! Dead letters: list, show, delete, and replay through the rule as it is today.
//!
//! A replay goes client by client in sequence: all letters that are asked for are sorted before the
//! first one is recorded again. It takes the newest mapping, and its messages say `replayed`.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{EventType, IncarnationId, Rule, RuleId, Sequence};
use store::{
    DeadLetter, DeadLetterFilter, EditDeadLettersError, Outbox, ReadStoreError, ReplayDeadLetter,
};

use super::{Control, ControlCode, ControlError};
use crate::control_errors;

/// Letters that are read, deleted or replayed at a time: so many fit into one commit.
const CHUNK: usize = 1000;
/// Skipped letters that an answer names; the others are counted.
const SKIPPED_SHOWN_MAX: usize = 1000;

/// Why a stale `connect` is skipped.
const CLOSED: &str = "the channel of this connect is closed by now: its consumer would take the \
    client for online; force replays it all the same";

/// Which dead letters are meant.
#[derive(Clone, Debug)]
pub enum ChosenDeadLetters {
    /// Those with these ids.
    Ids(Vec<u64>),
    /// Those that the filter lets through.
    Filter(DeadLetterFilter),
}

/// A part of the list, newest first.
#[derive(Clone, Debug)]
pub struct DeadLetterPage {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// All that the filter lets through.
    pub total: u64,
}

/// A letter that was not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedDeadLetter {
    /// Its id.
    pub id: u64,
    /// Why.
    pub reason: String,
}

/// What became of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that are events of their rule again.
    pub replayed: u64,
    /// Letters that stay as they are.
    pub skipped: u64,
    /// Which, and why; the first thousand.
    pub reasons: Vec<SkippedDeadLetter>,
}

/// What a replay has to know of a letter.
#[derive(Clone, Debug)]
struct Choice {
    sequence: Sequence,
    id: u64,
    event_type: EventType,
    rule_id: RuleId,
}

/// The present incarnation of a rule and its predecessors.
type Present = (IncarnationId, Arc<[IncarnationId]>);

impl Control {
    /// The newest letters that `filter` lets through, at most `limit`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        limit: usize,
    ) -> Result<DeadLetterPage, ControlError> {
        let outbox = Arc::clone(&self.outbox);
        self.read_letters(move || {
            let mut letters = outbox.dead_letters(&filter, limit.saturating_add(1))?;
            let has_more = letters.len() > limit;
            letters.truncate(limit);
            let total = count(&outbox, filter)?;
            Ok(DeadLetterPage {
                letters,
                has_more,
                total,
            })
        })
        .await
    }

    /// One letter.
    ///
    /// # Errors
    ///
    /// When there is none with this id, or the store cannot be read.
    pub async fn dead_letter(&self, id: u64) -> Result<DeadLetter, ControlError> {
        let outbox = Arc::clone(&self.outbox);
        let letter = self.read_letters(move || outbox.dead_letter(id)).await?;
        letter.ok_or_else(|| not_found(id))
    }

    /// Deletes letters; returns how many there were. Blocks until that is durable.
    ///
    /// # Errors
    ///
    /// When the store failed; some may be deleted then.
    pub async fn delete_dead_letters(
        &self,
        chosen: ChosenDeadLetters,
    ) -> Result<u64, ControlError> {
        let outbox = Arc::clone(&self.outbox);
        let ids = match chosen {
            ChosenDeadLetters::Ids(ids) => ids,
            ChosenDeadLetters::Filter(filter) => {
                let chosen = self.read_letters(move || choose(&outbox, filter)).await?;
                chosen.into_iter().map(|it| it.id).collect()
            }
        };
        let outbox = Arc::clone(&self.outbox);
        self.blocking(move || {
            let deleted = outbox.delete_dead_letters(&ids);
            deleted.map_err(|error| control_errors::store(&error))
        })
        .await
    }

    /// Records letters again, for the present incarnation of their rule. A `connect` whose channel is
    /// closed by now is skipped unless `is_forced`: its consumer would take the client for online.
    ///
    /// # Errors
    ///
    /// When the rule of a filter is gone, or the store failed; some may be replayed then.
    pub async fn replay_dead_letters(
        &self,
        chosen: ChosenDeadLetters,
        is_forced: bool,
    ) -> Result<Replayed, ControlError> {
        if let ChosenDeadLetters::Filter(filter) = &chosen
            && let Some(rule_id) = &filter.rule_id
            && !self.intent.load().rules.contains_key(rule_id)
        {
            let message = format!(
                "there is no rule {rule_id} any more; create one with that id, or delete the dead letters"
            );
            return Err(ControlError::new(ControlCode::RuleNotFound, message));
        }
        let mut answer = Replayed::default();
        let outbox = Arc::clone(&self.outbox);
        let (mut choices, missing) = self
            .read_letters(move || match chosen {
                ChosenDeadLetters::Ids(ids) => find(&outbox, &ids),
                ChosenDeadLetters::Filter(filter) => Ok((choose(&outbox, filter)?, Vec::new())),
            })
            .await?;
        for id in missing {
            answer.skip(id, "there is no such dead letter");
        }
        choices.sort_by_key(|choice| (choice.sequence, choice.id));
        let mut left = choices.chunks(CHUNK);
        while let Some(chunk) = left.next() {
            if let Some(full) = self.replay_chunk(chunk, is_forced, &mut answer).await? {
                let rest = left.by_ref().flatten();
                rest.for_each(|choice| answer.skip(choice.id, full.clone()));
            }
        }
        Ok(answer)
    }

    /// One commit. No rule changes meanwhile. Says so if there was no room for it.
    async fn replay_chunk(
        &self,
        chunk: &[Choice],
        is_forced: bool,
        answer: &mut Replayed,
    ) -> Result<Option<String>, ControlError> {
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let mut letters: Vec<(Choice, Present)> = Vec::with_capacity(chunk.len());
        for choice in chunk {
            match intent.rules.get(&choice.rule_id) {
                Some(rule) => letters.push((choice.clone(), self.present(rule))),
                None => answer.skip(choice.id, format!("its rule {} is gone", choice.rule_id)),
            }
        }
        let outbox = Arc::clone(&self.outbox);
        let (replays, closed) = self
            .read_letters(move || without_closed(&outbox, letters, is_forced))
            .await?;
        for id in closed {
            answer.skip(id, CLOSED);
        }
        let ids: Vec<_> = replays.iter().map(|replay| replay.id).collect();
        let outbox = Arc::clone(&self.outbox);
        let replay = move || Ok(outbox.replay_dead_letters(replays));
        match self.blocking(replay).await? {
            Ok(replayed) => {
                answer.replayed += replayed;
                Ok(None)
            }
            Err(EditDeadLettersError::NoRoom(reason)) => {
                let reason = format!("there is no room for it: {reason}");
                for id in ids {
                    answer.skip(id, reason.clone());
                }
                Ok(Some(reason))
            }
            Err(error @ (EditDeadLettersError::Read(_) | EditDeadLettersError::Closed)) => {
                Err(control_errors::store(&error))
            }
        }
    }

    fn present(&self, rule: &Rule) -> Present {
        let active = self.rule_set.incarnation(rule.incarnation);
        let predecessors = active.map(|active| Arc::clone(&active.predecessors));
        (rule.incarnation, predecessors.unwrap_or_default())
    }

    async fn read_letters<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ReadStoreError> + Send + 'static,
    ) -> Result<T, ControlError> {
        self.blocking(move || work().map_err(|error| control_errors::store(&error)))
            .await
    }
}

impl Replayed {
    fn skip(&mut self, id: u64, reason: impl Into<String>) {
        self.skipped += 1;
        if self.reasons.len() < SKIPPED_SHOWN_MAX {
            self.reasons.push(SkippedDeadLetter {
                id,
                reason: reason.into(),
            });
        }
    }
}

fn not_found(id: u64) -> ControlError {
    let message = format!("there is no dead letter {id}; see `rulemill dead-letter list`");
    ControlError::new(ControlCode::DeadLetterNotFound, message)
}

fn choice(letter: &DeadLetter) -> Choice {
    Choice {
        sequence: letter.event.sequence,
        id: letter.id,
        event_type: letter.event.event_type,
        rule_id: letter.burial.rule_id.clone(),
    }
}

/// All letters that `filter` lets through, whatever page it is about.
fn count(outbox: &Outbox, filter: DeadLetterFilter) -> Result<u64, ReadStoreError> {
    let everything = DeadLetterFilter::default();
    let filter = DeadLetterFilter {
        before: None,
        ..filter
    };
    if filter == everything {
        return Ok(outbox.stats().dead_letters);
    }
    let count = choose(outbox, filter)?.len();
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

/// All letters that `filter` lets through, without their events.
fn choose(outbox: &Outbox, mut filter: DeadLetterFilter) -> Result<Vec<Choice>, ReadStoreError> {
    let mut choices = Vec::new();
    loop {
        let letters = outbox.dead_letters(&filter, CHUNK)?;
        let Some(last) = letters.last() else {
            return Ok(choices);
        };
        filter.before = Some(last.id);
        choices.extend(letters.iter().map(choice));
    }
}

/// The letters with these ids, each once, and the ids that none has.
fn find(outbox: &Outbox, ids: &[u64]) -> Result<(Vec<Choice>, Vec<u64>), ReadStoreError> {
    let (mut choices, mut missing) = (Vec::new(), Vec::new());
    for id in ids.iter().collect::<BTreeSet<_>>() {
        match outbox.dead_letter(*id)? {
            Some(letter) => choices.push(choice(&letter)),
            None => missing.push(*id),
        }
    }
    Ok((choices, missing))
}

/// What is to be replayed, and those that are not since their channel is closed.
fn without_closed(
    outbox: &Outbox,
    letters: Vec<(Choice, Present)>,
    is_forced: bool,
) -> Result<(Vec<ReplayDeadLetter>, Vec<u64>), ReadStoreError> {
    let mut closed = Vec::new();
    let mut replays = Vec::with_capacity(letters.len());
    for (
        Choice {
            sequence,
            id,
            event_type,
            ..
        },
        (incarnation, predecessors),
    ) in letters
    {
        let is_stale = event_type == EventType::Connect && !is_forced;
        if is_stale && !outbox.is_channel_open(sequence)? {
            closed.push(id);
        } else {
            replays.push(ReplayDeadLetter {
                id,
                incarnation,
                predecessors,
            });
        }
    }
    Ok((replays, closed))
}
