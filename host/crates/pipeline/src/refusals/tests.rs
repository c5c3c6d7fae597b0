//! Series of refusals.

use domain::{GroupId, IncarnationId, RefuseConnectError, RuleId};

use tokio::time::Instant;

use super::{QUIET, Refusals, Reviewed};

const FULL: RefuseConnectError = RefuseConnectError::ShareFull;

struct Rule {
    rule_id: RuleId,
    group_id: GroupId,
}

fn rule(name: &str) -> Rule {
    Rule {
        rule_id: RuleId::parse(name).unwrap(),
        group_id: GroupId::parse(&format!("GID_{name}")).unwrap(),
    }
}

fn review(refusals: &Refusals, rules: &[&Rule], room: Result<(), RefuseConnectError>) {
    review_at(refusals, rules, room, Instant::now());
}

fn review_at(
    refusals: &Refusals,
    rules: &[&Rule],
    room: Result<(), RefuseConnectError>,
    now: Instant,
) {
    let reviewed = rules.iter().map(|rule| Reviewed {
        rule_id: &rule.rule_id,
        group_id: &rule.group_id,
        incarnation: IncarnationId(1),
    });
    refusals.review(reviewed, |_| room, now);
}

#[test]
fn a_series_ends_when_there_is_room_and_nothing_was_refused_for_a_while() {
    let refusals = Refusals::default();
    let rule = rule("rule-1");
    refusals.refused(&rule.rule_id, &rule.group_id, FULL);
    assert_eq!(refusals.reason(&rule.rule_id), Some(FULL));
    // Room that came a moment ago may be gone again.
    review(&refusals, &[&rule], Ok(()));
    assert_eq!(refusals.reason(&rule.rule_id), Some(FULL));
    let later = Instant::now() + QUIET;
    review_at(&refusals, &[&rule], Err(FULL), later);
    assert_eq!(refusals.reason(&rule.rule_id), Some(FULL));
    review_at(&refusals, &[&rule], Ok(()), later);
    assert_eq!(refusals.reason(&rule.rule_id), None);
    assert_eq!(refusals.counts().total, 1);
}

#[test]
fn a_full_share_is_told_before_anyone_was_refused() {
    let refusals = Refusals::default();
    let rule = rule("rule-1");
    review(&refusals, &[&rule], Err(FULL));
    assert_eq!(refusals.reason(&rule.rule_id), Some(FULL));
    assert_eq!(refusals.counts().total, 0);
    // A rule that is not reviewed any more, since it was deleted, has no series.
    review(&refusals, &[], Err(FULL));
    assert_eq!(refusals.reason(&rule.rule_id), None);
}

#[test]
fn refusals_of_a_forgotten_rule_stay_in_the_total() {
    let refusals = Refusals::default();
    let (one, other) = (rule("rule-1"), rule("rule-2"));
    for rule in [&one, &one, &other] {
        refusals.refused(&rule.rule_id, &rule.group_id, FULL);
    }
    assert_eq!(refusals.counts().rules[&one.rule_id], 2);
    refusals.forget(&one.rule_id);
    let counts = refusals.counts();
    assert_eq!(counts.total, 3);
    assert_eq!(counts.rules.keys().collect::<Vec<_>>(), [&other.rule_id]);
}

#[test]
fn the_end_of_the_host_is_no_series() {
    let refusals = Refusals::default();
    let rule = rule("rule-1");
    refusals.refused(
        &rule.rule_id,
        &rule.group_id,
        RefuseConnectError::ShuttingDown,
    );
    assert_eq!(refusals.reason(&rule.rule_id), None);
    assert_eq!(refusals.counts().total, 1);
}
