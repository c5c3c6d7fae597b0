//! CONNECTs that a rule could not take: counted per rule, told once when they begin and once when they end.
//!
//! Only [`Refusals::review`], which runs every few seconds, ends a series: at the limit, room comes and
//! goes with every delivered event, and the log must not.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{GroupId, IncarnationId, RefuseConnectError, RuleId};
use parking_lot::Mutex;
use tokio::time::Instant;

/// A series ends when there is room and nothing was refused for so long.
const QUIET: Duration = Duration::from_secs(2);

/// A rule that CONNECTs may be refused for.
#[derive(Debug)]
pub(crate) struct Reviewed<'a> {
    pub(crate) rule_id: &'a RuleId,
    pub(crate) group_id: &'a GroupId,
    pub(crate) incarnation: IncarnationId,
}

/// Refused CONNECTs since start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefusedCounts {
    pub(crate) total: u64,
    pub(crate) rules: BTreeMap<RuleId, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    reason: RefuseConnectError,
    refused: u64,
    last: Instant,
}

#[derive(Debug, Default)]
struct State {
    counts: RefusedCounts,
    /// Rules that cannot take CONNECTs, or could not until a moment ago. At most one per rule.
    series: BTreeMap<RuleId, Series>,
}

/// The refusals of all rules. Its lock is taken by refused CONNECTs, not by accepted ones.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

impl Refusals {
    /// Counts a refused CONNECT of a client that `rule_id` matches.
    pub(crate) fn refused(&self, rule_id: &RuleId, group_id: &GroupId, reason: RefuseConnectError) {
        let mut state = self.state.lock();
        state.counts.total += 1;
        *state.counts.rules.entry(rule_id.clone()).or_insert(0) += 1;
        // At the end of the host every CONNECT is refused: that is no news.
        if reason == RefuseConnectError::ShuttingDown {
            return;
        }
        let is_new = begin(&mut state.series, rule_id, reason, 1);
        drop(state);
        if is_new {
            tell(rule_id, group_id, reason);
        }
    }

    /// Counts a refused CONNECT whose rule is gone.
    pub(crate) fn refused_of_none(&self) {
        self.state.lock().counts.total += 1;
    }

    /// Begins and ends series by what `room` says of each rule now; forgets those of other rules.
    pub(crate) fn review<'a>(
        &self,
        rules: impl Iterator<Item = Reviewed<'a>>,
        room: impl Fn(IncarnationId) -> Result<(), RefuseConnectError>,
        now: Instant,
    ) {
        let mut state = self.state.lock();
        let mut before = std::mem::take(&mut state.series);
        for rule in rules {
            let series = before.remove(rule.rule_id);
            match (series, room(rule.incarnation)) {
                (_, Err(RefuseConnectError::ShuttingDown)) | (None, Ok(())) => {}
                (Some(series), Err(reason)) => {
                    let series = Series { reason, ..series };
                    state.series.insert(rule.rule_id.clone(), series);
                }
                (None, Err(reason)) => {
                    begin(&mut state.series, rule.rule_id, reason, 0);
                    tell(rule.rule_id, rule.group_id, reason);
                }
                (Some(series), Ok(())) if now.saturating_duration_since(series.last) < QUIET => {
                    state.series.insert(rule.rule_id.clone(), series);
                }
                (Some(series), Ok(())) => {
                    tracing::info!(
                        rule_id = %rule.rule_id, group_id = %rule.group_id, refused = series.refused,
                        "connects of the rule's group are accepted again"
                    );
                }
            }
        }
    }

    /// Why CONNECTs of the rule are refused, or were until a moment ago.
    pub(crate) fn reason(&self, rule_id: &RuleId) -> Option<RefuseConnectError> {
        let state = self.state.lock();
        state.series.get(rule_id).map(|series| series.reason)
    }

    /// All counts, as of one moment.
    pub(crate) fn counts(&self) -> RefusedCounts {
        self.state.lock().counts.clone()
    }

    /// The rule is gone; its refusals stay in the total.
    pub(crate) fn forget(&self, rule_id: &RuleId) {
        let mut state = self.state.lock();
        state.counts.rules.remove(rule_id);
        state.series.remove(rule_id);
    }
}

fn begin(
    series: &mut BTreeMap<RuleId, Series>,
    rule_id: &RuleId,
    reason: RefuseConnectError,
    refused: u64,
) -> bool {
    let last = Instant::now();
    match series.get_mut(rule_id) {
        Some(series) => {
            *series = Series {
                reason,
                refused: series.refused + refused,
                last,
            };
            false
        }
        None => {
            let new = Series {
                reason,
                refused,
                last,
            };
            series.insert(rule_id.clone(), new);
            true
        }
    }
}

fn tell(rule_id: &RuleId, group_id: &GroupId, reason: RefuseConnectError) {
    tracing::warn!(%rule_id, %group_id, error = %reason, "connects of the rule's group are refused");
}

#[cfg(test)]
mod tests;
