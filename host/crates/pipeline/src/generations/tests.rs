//! The ways of a rule through the versions of its plugin.

use domain::{PluginDigest, PluginName};

use super::*;

fn stamp() -> Stamp {
    Stamp {
        by: Actor::token("anna"),
        at_ms: 7,
    }
}

fn rule_id() -> RuleId {
    RuleId::parse("rule-1").unwrap()
}

fn plugin(name: &str, version: u32) -> PluginRecord {
    PluginRecord {
        name: PluginName::parse(name).unwrap(),
        version,
        digest: PluginDigest([u8::try_from(version).unwrap(); 32]),
        size_bytes: 1,
        exports: Vec::new(),
        imports: Vec::new(),
        created_at_ms: 0,
        created_by: Actor::host(),
        is_built_in: false,
    }
}

fn one() -> GenerationsRecord {
    activated(None, &rule_id(), &plugin("p", 1), None, &stamp())
}

fn next(old: &GenerationsRecord, version: u32, track: &TrackRecord) -> GenerationsRecord {
    activated(
        Some(old),
        &rule_id(),
        &plugin("p", version),
        Some(track),
        &stamp(),
    )
}

fn proven() -> TrackRecord {
    let track = TrackRecord::default();
    track.worked(1000);
    track
}

fn unknown() -> TrackRecord {
    TrackRecord::default()
}

fn versions(versions: &[EarlierVersion]) -> Vec<u32> {
    versions.iter().map(|it| it.version).collect()
}

#[test]
fn a_rule_goes_back_step_by_step() {
    let three = next(&next(&one(), 2, &unknown()), 3, &unknown());
    assert_eq!(versions(&three.earlier), [1, 2]);
    let two = rolled_back(&three, &plugin("p", 2), "it failed", &stamp());
    assert_eq!((two.active.version, versions(&two.earlier)), (2, vec![1]));
    assert_eq!(
        two.withdrawal(&plugin("p", 3).digest).unwrap().reason,
        "it failed"
    );
    let one = rolled_back(&two, &plugin("p", 1), "it failed, too", &stamp());
    assert_eq!((one.active.version, one.earlier.len()), (1, 0));
    let outcomes: Vec<_> = one.activations.iter().map(|it| it.outcome).collect();
    let (activated, back) = (ActivationOutcome::Activated, ActivationOutcome::RolledBack);
    assert_eq!(outcomes, [activated, activated, activated, back, back]);
    // What is activated all the same is not withdrawn any more.
    let again = next(&one, 3, &unknown());
    assert!(again.withdrawal(&plugin("p", 3).digest).is_none());
    assert!(again.withdrawal(&plugin("p", 2).digest).is_some());
}

#[test]
fn bad_versions_in_a_row_do_not_push_the_good_one_out() {
    let mut record = next(&one(), 2, &proven());
    for version in 3..40 {
        record = next(&record, version, &unknown());
        assert!(versions(&ready(&record)).contains(&1), "{record:?}");
        assert!(record.earlier.len() <= EARLIER_MAX);
    }
    // One that is known to be bad is no way back at all.
    let bad = TrackRecord::default();
    (0..5).for_each(|_| bad.failed());
    let record = next(&next(&one(), 2, &proven()), 3, &bad);
    assert_eq!(versions(&record.earlier), [1]);
    assert_eq!(versions(&ready(&record)), [1]);
}

#[test]
fn a_proven_version_is_the_only_one_kept_ready() {
    let record = next(&next(&one(), 2, &unknown()), 3, &proven());
    assert_eq!(versions(&ready(&record)), [2]);
    let record = next(&next(&one(), 2, &unknown()), 3, &unknown());
    assert_eq!(versions(&ready(&record)), [2, 1]);
    assert!(ready(&one()).is_empty());
}

#[test]
fn another_plugin_is_no_way_back() {
    let two = next(&one(), 2, &proven());
    let other = activated(Some(&two), &rule_id(), &plugin("q", 9), None, &stamp());
    assert!(other.earlier.is_empty());
    assert_eq!(other.activations.len(), 3);
}

#[test]
fn a_rejected_version_changes_nothing_but_the_history() {
    let two = rejected(&one(), &plugin("p", 2), &"x".repeat(10_000), &stamp());
    assert_eq!((two.active, two.earlier), (one().active, one().earlier));
    let last = two.activations.last().unwrap();
    assert_eq!(last.outcome, ActivationOutcome::Rejected);
    assert_eq!(last.reason.as_ref().unwrap().len(), REASON_BYTES_MAX);
    let mut record = one();
    for _ in 0..100 {
        record = rejected(&record, &plugin("p", 2), "no", &stamp());
    }
    assert_eq!(record.activations.len(), ACTIVATIONS_MAX);
}
