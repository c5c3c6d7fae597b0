//! What a rule was: its last revisions, with who made each and when.

use domain::{Actor, AnyRule, RuleId};
use redb::{ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{self, rule_json};
use super::{HISTORY, MetaStore, MetaStoreError, MetaWrite, WriteMetaError};
use crate::mirror::mirror;

/// Revisions that are kept of each rule; older ones are forgotten.
pub const REVISIONS_MAX: usize = 100;

/// What kind of change made a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The rule was new.
    Created,
    /// Something in it was changed.
    Edited,
    /// It was enabled, and nothing else.
    Enabled,
    /// It was disabled, and nothing else.
    Disabled,
    /// It became what an earlier revision was.
    RolledBack,
}

mirror!(StoredChange of ChangeKind { Created, Edited, Enabled, Disabled, RolledBack });

impl ChangeKind {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Edited => "edited",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::RolledBack => "rolledBack",
        }
    }
}

/// A rule as one change made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRecord {
    /// The rule; its number is the revision's.
    pub rule: AnyRule,
    /// What kind of change it was.
    pub change: ChangeKind,
    /// Who made it.
    pub by: Actor,
    /// When, UNIX milliseconds.
    pub at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRevision {
    change: StoredChange,
    by: String,
    at_ms: u64,
    rule: Value,
}

impl StoredRevision {
    fn restore(&self, rule_id: &RuleId) -> Result<RevisionRecord, MetaStoreError> {
        Ok(RevisionRecord {
            rule: record::rule(rule_id.as_str(), self.rule.to_string().as_bytes())?,
            change: self.change.into(),
            by: Actor::stored(&self.by),
            at_ms: self.at_ms,
        })
    }
}

impl MetaStore {
    /// The kept revisions of a rule, oldest first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn history(&self, rule_id: &RuleId) -> Result<Vec<RevisionRecord>, MetaStoreError> {
        let id = rule_id.as_str();
        let rows = self.read(|database| {
            let table = database.begin_read()?.open_table(HISTORY)?;
            let mut rows = Vec::new();
            for row in table.range((id, 0)..=(id, u64::MAX))? {
                let (key, json) = row?;
                rows.push((key.value().1, json.value().to_vec()));
            }
            Ok(rows)
        })?;
        rows.into_iter()
            .map(|(revision, json)| {
                let key = format!("{id} {revision}");
                let stored: StoredRevision = record::read("revision", &key, &json, Ok)?;
                stored.restore(rule_id)
            })
            .collect()
    }
}

impl MetaWrite<'_> {
    /// Stores a rule as one more revision, and forgets the oldest one beyond the limit.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_revision(&mut self, record: &RevisionRecord) -> Result<(), WriteMetaError> {
        self.put_rule(&record.rule)?;
        let stored = StoredRevision {
            change: record.change.into(),
            by: record.by.as_str().to_owned(),
            at_ms: record.at_ms,
            rule: serde_json::from_slice(&rule_json(&record.rule)?)?,
        };
        let json = serde_json::to_vec(&stored)?;
        let id = record.rule.rule_id().as_str();
        let mut table = self.transaction.open_table(HISTORY)?;
        table.insert((id, record.rule.revision()), json.as_slice())?;
        let mut kept = Vec::new();
        for row in table.range((id, 0)..=(id, u64::MAX))? {
            kept.push(row?.0.value().1);
        }
        let surplus = kept.len().saturating_sub(REVISIONS_MAX);
        for revision in kept.into_iter().take(surplus) {
            table.remove((id, revision))?;
        }
        Ok(())
    }

    /// Forgets the history of a rule.
    pub(super) fn remove_history(&mut self, rule_id: &RuleId) -> Result<(), WriteMetaError> {
        let id = rule_id.as_str();
        self.transaction
            .open_table(HISTORY)?
            .retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        Ok(())
    }
}
