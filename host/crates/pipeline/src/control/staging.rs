//! What a change of rules writes, worked out before anything is written.

use domain::{
    Actor, AnyRule, AnyRuleDraft, DataRule, IncarnationId, Rule, RuleDraft, RuleId, VersionSelector,
};
use store::{ChangeKind, IncarnationRecord, MetaWrite, RevisionRecord, WriteMetaError};

use super::PendingEvents;
use crate::intent::{Intent, managed_key, resolved_key};

/// One rule to store, with all that belongs to it.
#[derive(Debug)]
pub(super) struct StagedRule {
    draft: AnyRuleDraft,
    change: ChangeKind,
    /// The incarnation that goes on.
    kept: Option<IncarnationId>,
    /// The one that only drains from now on.
    retired: Option<IncarnationRecord>,
    /// What `latest` means for it.
    resolved: Option<u32>,
    created_at_ms: Option<u64>,
    /// The file that the rule comes from; `None`: from no file.
    pub(super) managed_by: Option<String>,
}

/// One rule to remove; what it has queued stays with its incarnations.
#[derive(Debug)]
pub(super) struct StagedRemoval {
    rule_id: RuleId,
    records: Vec<IncarnationRecord>,
}

impl StagedRule {
    /// What `draft` makes of the rule that `intent` has, if it has one.
    pub(super) fn new(intent: &Intent, draft: AnyRuleDraft, change: ChangeKind) -> Self {
        let rule_id = draft.rule_id();
        let old = intent.rules.get(rule_id);
        let (kept, ended) = match (old, &draft) {
            (Some(old), AnyRuleDraft::Status(draft)) if has_same_ends(old, draft) => {
                (Some(old.incarnation), None)
            }
            (Some(old), _) => (None, Some(old.incarnation)),
            (None, _) => (None, None),
        };
        let ended = ended.and_then(|id| intent.incarnations.get(&id));
        let resolved = match &draft {
            AnyRuleDraft::Status(draft) => intent
                .version(&draft.rule_id, &draft.mapping, kept_version(intent, draft))
                .map(|record| record.version),
            AnyRuleDraft::Data(_) => None,
        };
        Self {
            kept,
            retired: ended.map(|record| retired(intent, record)),
            resolved,
            created_at_ms: intent.any_rule(rule_id).map(|old| old.created_at_ms()),
            managed_by: None,
            draft,
            change,
        }
    }

    /// `latest` means this version from now on, if one is given, and not the one that the rule had.
    pub(super) fn moving_to(mut self, version: Option<u32>) -> Self {
        self.resolved = version.or(self.resolved);
        self
    }

    pub(super) fn write(
        self,
        tx: &mut MetaWrite<'_>,
        by: &Actor,
        now_ms: u64,
    ) -> Result<(), WriteMetaError> {
        let revision = tx.next_revision()?;
        let created_at_ms = self.created_at_ms.unwrap_or(now_ms);
        let rule_id = self.draft.rule_id().clone();
        if let Some(record) = &self.retired {
            tx.put_incarnation(record)?;
        }
        match self.resolved {
            Some(version) => tx.put_setting(&resolved_key(&rule_id), &version.to_string())?,
            None => tx.remove_setting(&resolved_key(&rule_id))?,
        }
        match &self.managed_by {
            Some(file) => tx.put_setting(&managed_key(&rule_id), file)?,
            None => tx.remove_setting(&managed_key(&rule_id))?,
        }
        let rule = match self.draft {
            AnyRuleDraft::Status(draft) => {
                let incarnation = match self.kept {
                    Some(incarnation) => incarnation,
                    None => tx.next_incarnation()?,
                };
                tx.put_incarnation(&present(&draft, incarnation, revision))?;
                AnyRule::Status(Rule {
                    draft,
                    revision,
                    incarnation,
                    created_at_ms,
                    updated_at_ms: now_ms,
                })
            }
            AnyRuleDraft::Data(draft) => AnyRule::Data(DataRule {
                draft,
                revision,
                created_at_ms,
                updated_at_ms: now_ms,
            }),
        };
        tx.put_revision(&RevisionRecord {
            rule,
            change: self.change,
            by: by.clone(),
            at_ms: now_ms,
        })
    }
}

impl StagedRemoval {
    pub(super) fn new(intent: &Intent, rule_id: &RuleId, pending: PendingEvents) -> Self {
        let is_discarding = pending == PendingEvents::Discard;
        let records = intent.incarnations.values();
        let records = records
            .filter(|record| record.rule_id == *rule_id)
            .map(|record| IncarnationRecord {
                is_discarding,
                ..retired(intent, record)
            });
        Self {
            rule_id: rule_id.clone(),
            records: records.collect(),
        }
    }

    /// The incarnations whose events are to be dropped once this is written.
    pub(super) fn discarded(&self) -> Vec<IncarnationId> {
        let records = self.records.iter().filter(|record| record.is_discarding);
        records.map(|record| record.id).collect()
    }

    pub(super) fn write(self, tx: &mut MetaWrite<'_>) -> Result<(), WriteMetaError> {
        tx.remove_rule(&self.rule_id)?;
        tx.remove_setting(&resolved_key(&self.rule_id))?;
        tx.remove_setting(&managed_key(&self.rule_id))?;
        self.records
            .iter()
            .try_for_each(|record| tx.put_incarnation(record))
    }
}

fn present(draft: &RuleDraft, id: IncarnationId, revision: u64) -> IncarnationRecord {
    IncarnationRecord {
        id,
        rule_id: draft.rule_id.clone(),
        group_id: draft.group_id.clone(),
        destination: draft.destination.clone(),
        ordering: draft.ordering,
        revision,
        mapping: draft.mapping.clone(),
        is_retired: false,
        is_discarding: false,
    }
}

/// The record of an incarnation that only drains from now on. `latest` stops meaning anything for
/// it: what it meant until now is what maps the rest of its events.
fn retired(intent: &Intent, record: &IncarnationRecord) -> IncarnationRecord {
    let mut retired = IncarnationRecord {
        is_retired: true,
        ..record.clone()
    };
    // What maps now: the same change may move the rule itself to a version that refuses the old configuration.
    let maps = intent.generations.get(&record.rule_id);
    let maps = maps.filter(|it| it.plugin == record.mapping.plugin);
    let resolved = maps
        .map(|it| it.active.version)
        .or_else(|| intent.resolved.get(&record.rule_id).copied());
    if record.mapping.version == VersionSelector::Latest
        && let Some(version) = intent.version(&record.rule_id, &record.mapping, resolved)
    {
        retired.mapping.version = VersionSelector::Number(version.version);
    }
    retired
}

/// Whether source and destination stay: then the incarnation does.
fn has_same_ends(old: &Rule, draft: &RuleDraft) -> bool {
    old.draft.group_id == draft.group_id && old.draft.destination == draft.destination
}

/// What `latest` keeps meaning for an edited rule: until a newer version passes the rule's canary,
/// the one that it has.
pub(super) fn kept_version(intent: &Intent, draft: &RuleDraft) -> Option<u32> {
    let old = &intent.rules.get(&draft.rule_id)?.draft.mapping;
    let is_kept = old.plugin == draft.mapping.plugin && old.version == draft.mapping.version;
    intent
        .resolved
        .get(&draft.rule_id)
        .copied()
        .filter(|_| is_kept)
}

#[cfg(test)]
mod tests;
