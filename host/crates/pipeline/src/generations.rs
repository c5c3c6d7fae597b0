//! What a change makes of the generations of a rule: activated, rejected, gone back from. Without a
//! store, so that each step can be tested alone.

use domain::{Actor, RuleId};
use store::{
    ACTIVATIONS_MAX, Activation, ActivationOutcome, EARLIER_MAX, EarlierVersion, GenerationsRecord,
    PluginRecord, WITHDRAWN_MAX, WithdrawnVersion,
};

use crate::samples::cut;
use crate::track_record::TrackRecord;

/// A longer reason is cut, bytes: it is stored with each line of the history.
const REASON_BYTES_MAX: usize = 512;

/// Who does something, and when.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) by: Actor,
    pub(crate) at_ms: u64,
}

/// `version` maps for the rule from now on. `track` is that of the version that did before.
pub(crate) fn activated(
    old: Option<&GenerationsRecord>,
    rule_id: &RuleId,
    version: &PluginRecord,
    track: Option<&TrackRecord>,
    stamp: &Stamp,
) -> GenerationsRecord {
    let mut record = match old {
        Some(old) => old.clone(),
        None => fresh(rule_id, version),
    };
    if record.plugin == version.name {
        displace(&mut record, track);
    } else {
        // What another plugin made is no way back.
        record.earlier.clear();
    }
    record.plugin = version.name.clone();
    record.active = identity(version);
    let active = record.active;
    record.earlier.retain(|it| it.digest != active.digest);
    record.withdrawn.retain(|it| it.digest != active.digest);
    note(
        &mut record,
        version,
        ActivationOutcome::Activated,
        None,
        stamp,
    );
    record
}

/// `version` was to map and failed its canary.
pub(crate) fn rejected(
    old: &GenerationsRecord,
    version: &PluginRecord,
    reason: &str,
    stamp: &Stamp,
) -> GenerationsRecord {
    let mut record = old.clone();
    let outcome = ActivationOutcome::Rejected;
    note(&mut record, version, outcome, Some(reason), stamp);
    record
}

/// The rule goes back to `target`, one of its earlier versions; the one that it has is withdrawn.
pub(crate) fn rolled_back(
    old: &GenerationsRecord,
    target: &PluginRecord,
    reason: &str,
    stamp: &Stamp,
) -> GenerationsRecord {
    let mut record = old.clone();
    record.withdrawn.push(WithdrawnVersion {
        plugin: record.plugin.clone(),
        version: record.active.version,
        digest: record.active.digest,
        at_ms: stamp.at_ms,
        by: stamp.by.clone(),
        reason: cut(reason, REASON_BYTES_MAX),
    });
    let surplus = record.withdrawn.len().saturating_sub(WITHDRAWN_MAX);
    record.withdrawn.drain(..surplus);
    let index = record
        .earlier
        .iter()
        .rposition(|it| it.digest == target.digest);
    record.active = match index.and_then(|index| record.earlier.get(index).copied()) {
        Some(earlier) => earlier,
        None => identity(target),
    };
    // What came after it is no way back from it.
    record.earlier.truncate(index.unwrap_or(0));
    let outcome = ActivationOutcome::RolledBack;
    note(&mut record, target, outcome, Some(reason), stamp);
    record
}

/// The earlier versions that are kept ready, in the order in which they are asked: the last one, and,
/// if that one is not proven, the last proven one, or else the oldest. So a row of bad versions,
/// pushed faster than each shows what it is, does not push the good one out.
pub(crate) fn ready(record: &GenerationsRecord) -> Vec<EarlierVersion> {
    let Some((last, before)) = record.earlier.split_last() else {
        return Vec::new();
    };
    let mut ready = vec![*last];
    if !last.is_proven {
        let proven = before.iter().rfind(|it| it.is_proven);
        ready.extend(proven.or_else(|| before.first()));
    }
    ready
}

fn fresh(rule_id: &RuleId, version: &PluginRecord) -> GenerationsRecord {
    GenerationsRecord {
        rule_id: rule_id.clone(),
        plugin: version.name.clone(),
        active: identity(version),
        earlier: Vec::new(),
        withdrawn: Vec::new(),
        activations: Vec::new(),
    }
}

fn identity(version: &PluginRecord) -> EarlierVersion {
    EarlierVersion {
        version: version.version,
        digest: version.digest,
        is_proven: false,
    }
}

/// Puts the version that maps among the earlier ones, unless it is known to be bad: it failed on many
/// events, or on some that the version before it mapped.
fn displace(record: &mut GenerationsRecord, track: Option<&TrackRecord>) {
    let has_earlier = !record.earlier.is_empty();
    let is_bad = |track: &TrackRecord| track.is_bad() || (has_earlier && track.is_doubtful());
    if track.is_some_and(is_bad) {
        return;
    }
    let mut displaced = record.active;
    displaced.is_proven |= track.is_some_and(TrackRecord::is_proven);
    record.earlier.retain(|it| it.digest != displaced.digest);
    if record.earlier.len() >= EARLIER_MAX {
        // The newest proven one stays, whatever came after it.
        let proven = record.earlier.iter().rposition(|it| it.is_proven);
        let oldest = usize::from(proven == Some(0));
        record.earlier.remove(oldest);
    }
    record.earlier.push(displaced);
}

fn note(
    record: &mut GenerationsRecord,
    version: &PluginRecord,
    outcome: ActivationOutcome,
    reason: Option<&str>,
    stamp: &Stamp,
) {
    record.activations.push(Activation {
        plugin: version.name.clone(),
        version: version.version,
        digest: version.digest,
        at_ms: stamp.at_ms,
        by: stamp.by.clone(),
        outcome,
        reason: reason.map(|reason| cut(reason, REASON_BYTES_MAX)),
    });
    let surplus = record.activations.len().saturating_sub(ACTIVATIONS_MAX);
    record.activations.drain(..surplus);
}

#[cfg(test)]
mod tests;
