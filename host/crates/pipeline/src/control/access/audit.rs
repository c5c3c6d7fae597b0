//! The log of who changed what: bounded, stored, without secrets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::{Actor, ErrorChain};
use store::{AuditOutcome, AuditRecord};

use super::{AccessControl, ControlError};
use crate::control_errors;

/// Longer resources are cut.
const RESOURCE_CHARS_MAX: usize = 300;

/// What is to be noted.
#[derive(Clone, Debug)]
pub struct NewAuditEntry {
    /// Who.
    pub actor: Actor,
    /// From where; empty if it was not a request.
    pub peer: String,
    /// How, such as `PUT`; `APPLY` by a file, `ROLLBACK` by the host itself.
    pub method: String,
    /// What, such as `/v1/rules/a`; never with a secret.
    pub resource: String,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// The request; empty if it was none.
    pub request_id: String,
    /// The revision that it made.
    pub revision: Option<u64>,
}

impl NewAuditEntry {
    /// What a file or the host itself changed.
    #[must_use]
    pub fn without_request(actor: &Actor, method: &str, resource: String) -> Self {
        Self {
            actor: actor.clone(),
            peer: String::new(),
            method: method.to_owned(),
            resource,
            outcome: AuditOutcome::Done,
            request_id: String::new(),
            revision: None,
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Grows with time; never given twice.
    pub id: u64,
    /// What was noted.
    pub record: AuditRecord,
}

/// Which entries; all that is left out matches.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Who, exactly.
    pub actor: Option<String>,
    /// What: this resource, or one below it.
    pub resource: Option<String>,
    /// How, exactly.
    pub method: Option<String>,
    /// What became of it.
    pub outcome: Option<AuditOutcome>,
    /// Not before, UNIX milliseconds.
    pub since_ms: Option<u64>,
    /// Before, UNIX milliseconds.
    pub until_ms: Option<u64>,
    /// Only entries with a smaller id.
    pub before: Option<u64>,
}

/// A part of the log, newest first.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Whether there are older ones that match.
    pub has_more: bool,
    /// All that match.
    pub total: usize,
}

/// For metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCounts {
    /// Entries that went because newer ones came.
    pub forgotten: u64,
    /// Entries since the start that could not be stored.
    pub failed: u64,
}

impl AuditFilter {
    fn matches(&self, record: &AuditRecord) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.actor, record.actor.as_str())
            && is(&self.method, &record.method)
            && self
                .resource
                .as_deref()
                .is_none_or(|wanted| is_within(&record.resource, wanted))
            && self.outcome.is_none_or(|wanted| wanted == record.outcome)
            && self.since_ms.is_none_or(|since| record.at_ms >= since)
            && self.until_ms.is_none_or(|until| record.at_ms < until)
    }
}

/// `/v1/rules` holds `/v1/rules/a` and `/v1/rules?force=true`, but not `/v1/rulesets`.
fn is_within(resource: &str, wanted: &str) -> bool {
    let rest = resource.strip_prefix(wanted.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', ':']))
}

impl AccessControl {
    /// Notes who changed what. If that fails, it is counted and logged: the change was made.
    pub async fn note(&self, entry: NewAuditEntry) {
        let resource = if entry.resource.chars().count() > RESOURCE_CHARS_MAX {
            let mut cut: String = entry.resource.chars().take(RESOURCE_CHARS_MAX).collect();
            cut.push('…');
            cut
        } else {
            entry.resource
        };
        let record = AuditRecord {
            at_ms: self.clock.now_ms(),
            actor: entry.actor,
            peer: entry.peer,
            method: entry.method,
            resource,
            outcome: entry.outcome,
            request_id: entry.request_id,
            revision: entry.revision,
        };
        let stored = record.clone();
        let forgotten = self.write(move |tx| tx.add_audit(&stored)).await;
        let forgotten = match forgotten {
            Ok(_) => {
                let meta = Arc::clone(&self.meta);
                Self::blocking(move || {
                    meta.audit_forgotten()
                        .map_err(|error| control_errors::store(&error))
                })
                .await
            }
            Err(error) => Err(error),
        };
        match forgotten {
            Ok(forgotten) => {
                self.audit_forgotten.fetch_max(forgotten, Ordering::Relaxed);
            }
            Err(error) => {
                self.audit_failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    actor = %record.actor,
                    method = record.method,
                    resource = record.resource,
                    request_id = record.request_id,
                    error = %ErrorChain(&error),
                    "the audit log was not written"
                );
            }
        }
    }

    /// A part of the log, newest first.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub async fn audit(
        &self,
        filter: AuditFilter,
        limit: usize,
    ) -> Result<AuditPage, ControlError> {
        let meta = Arc::clone(&self.meta);
        // It is bounded, so that reading all of it is a matter of milliseconds.
        Self::blocking(move || {
            let all = meta
                .audit()
                .map_err(|error| control_errors::store(&error))?;
            let matching = all.into_iter().filter(|(_, it)| filter.matches(it));
            let matching: Vec<AuditEntry> = matching
                .map(|(id, record)| AuditEntry { id, record })
                .collect();
            let total = matching.len();
            let is_older = |entry: &AuditEntry| filter.before.is_none_or(|end| entry.id < end);
            let mut older = matching.into_iter().filter(is_older);
            let entries = older.by_ref().take(limit).collect();
            Ok(AuditPage {
                entries,
                has_more: older.next().is_some(),
                total,
            })
        })
        .await
    }

    /// For metrics.
    #[must_use]
    pub fn audit_counts(&self) -> AuditCounts {
        AuditCounts {
            forgotten: self.audit_forgotten.load(Ordering::Relaxed),
            failed: self.audit_failed.load(Ordering::Relaxed),
        }
    }
}
