//! The record of which version maps for each rule, kept true after every change.

use domain::{Actor, ErrorChain, Rule};
use store::{GenerationsRecord, MetaStore};

use super::Control;
use crate::control_errors;
use crate::generations::{self, Stamp};
use crate::intent::Intent;
use crate::rule_set::RuleSet;

/// Who made a rule before its history was kept.
const UNKNOWN: &str = "unknown";

/// Notes which version maps for each rule where the store does not know it: after a rule was made or
/// edited, and in a store of an earlier version of the host. Blocks.
///
/// A disk that does not take it now costs a line of the history and no more: the next change notes it.
pub(super) fn reconcile(meta: &MetaStore, intent: &mut Intent, present: &RuleSet, now_ms: u64) {
    let rules = intent.rules.values();
    let news: Vec<GenerationsRecord> = rules
        .filter_map(|rule| news_of(meta, intent, rule, present, now_ms))
        .collect();
    if news.is_empty() {
        return;
    }
    let written: Result<(), store::WriteMetaError> =
        meta.write(|tx| news.iter().try_for_each(|it| tx.put_generations(it)));
    if let Err(error) = written {
        tracing::error!(error = %ErrorChain(&error), "activations were not stored");
    }
    for record in news {
        intent.generations.insert(record.rule_id.clone(), record);
    }
}

fn news_of(
    meta: &MetaStore,
    intent: &Intent,
    rule: &Rule,
    present: &RuleSet,
    now_ms: u64,
) -> Option<GenerationsRecord> {
    let rule_id = &rule.draft.rule_id;
    let resolved = intent.resolved.get(rule_id).copied();
    let version = intent.version(rule_id, &rule.draft.mapping, resolved)?;
    let old = intent.generations.get(rule_id);
    if old.is_some_and(|it| it.plugin == version.name && it.active.digest == version.digest) {
        return None;
    }
    let active = present.incarnations.get(&rule.incarnation);
    let loaded = active.and_then(|active| active.mapper.as_ref().ok());
    let loaded = loaded.filter(|loaded| old.is_some_and(|it| it.active.digest == loaded.digest));
    let history = meta.history(rule_id).unwrap_or_else(|error| {
        tracing::error!(%rule_id, error = %ErrorChain(&error), "rule history cannot be read");
        Vec::new()
    });
    let by = history.last().map(|revision| revision.by.clone());
    let stamp = Stamp {
        by: by.unwrap_or_else(|| Actor::stored(UNKNOWN)),
        at_ms: now_ms,
    };
    let track = loaded.map(|loaded| &*loaded.track);
    Some(generations::activated(old, rule_id, version, track, &stamp))
}

impl Control {
    /// Stores which versions have proved themselves, so that this outlives a restart.
    pub(crate) async fn note_proven(&self) {
        let intent = self.intent.load_full();
        let is_due = intent
            .rules
            .values()
            .any(|rule| self.proven(&intent, rule).is_some());
        if !is_due {
            return;
        }
        let _change = self.change.lock().await;
        let intent = self.intent.load_full();
        let rules = intent.rules.values();
        let proven: Vec<_> = rules
            .filter_map(|rule| self.proven(&intent, rule))
            .collect();
        let mut next = Intent::clone(&intent);
        for record in &proven {
            let rule_id = record.rule_id.clone();
            next.generations.insert(rule_id, record.clone());
        }
        let stored = self
            .write(move |tx| proven.iter().try_for_each(|it| tx.put_generations(it)))
            .await;
        // What failed was logged, and is tried again in the next round.
        if stored.is_ok() {
            self.intent.store(std::sync::Arc::new(next));
        }
    }

    /// The record of a rule whose version has just proved itself.
    fn proven(&self, intent: &Intent, rule: &Rule) -> Option<GenerationsRecord> {
        let record = intent.generations.get(&rule.draft.rule_id)?;
        let active = self.rule_set.incarnation(rule.incarnation)?;
        let loaded = active.mapper.as_ref().ok()?;
        let is_news = !record.active.is_proven
            && record.active.digest == loaded.digest
            && loaded.track.is_proven();
        is_news.then(|| {
            let mut record = record.clone();
            record.active.is_proven = true;
            record
        })
    }

    /// Loads what [`Control::is_awaiting`] tells of: the earlier generations, which the start leaves for later, and what
    /// the host was too busy to try or could not compile. What fails is tried again in a later round.
    pub(crate) async fn load_awaited(&self) {
        let _change = self.change.lock().await;
        if let Err(error) = self.reload().await {
            tracing::error!(error = %ErrorChain(&error), "plugin versions that are still to be loaded were not");
        }
    }

    /// Whether a rule should have a plugin version that is not loaded yet.
    pub(crate) fn is_awaiting(&self) -> bool {
        let rules = self.rule_set.load();
        rules.incarnations.values().any(|it| !it.awaited.is_empty())
    }
}

/// Reads what is stored, with what [`reconcile`] adds. Blocks.
pub(super) fn read(
    meta: &MetaStore,
    present: &RuleSet,
    now_ms: u64,
) -> Result<Intent, super::ControlError> {
    let mut intent = Intent::read(meta).map_err(|error| control_errors::store(&error))?;
    reconcile(meta, &mut intent, present, now_ms);
    Ok(intent)
}
