//! Earlier generations: what they map, when the present one is given up, and what is noted of all this.

use std::sync::Arc;

use domain::{IncarnationId, OnFault, RuleId, VersionSelector};

use crate::courier::rig::instance::queue;
use crate::courier::rig::plugin::{REJECTED, RETRIES, THREE, TRAPS, client_of_length, version};
use crate::courier::rig::{Rig, Setting, client, eventually};
use crate::health::Health;
use crate::rule_set::LoadedMapper;
use crate::samples::{SAMPLES_MAX, SampleOutcome};

/// Version 2 traps for client ids of this length, version 1 does not.
const BAD: usize = 30;

fn bad_client(number: usize) -> String {
    client_of_length(&format!("b{number}"), BAD)
}

/// A courier with version 2, and version 1 kept ready.
fn rig(setting: Setting) -> (Rig, LoadedMapper) {
    let rig = Rig::new(setting, &[queue("a", 0)]);
    let (one, two) = (version(1, TRAPS), version(2, BAD));
    rig.start(1, &[]);
    rig.put(1, |active| {
        active.mapper = Ok(two.clone());
        active.earlier = vec![one];
    });
    (rig, two)
}

fn rule_id() -> RuleId {
    RuleId::parse("test-rule").unwrap()
}

#[tokio::test]
async fn an_earlier_version_maps_what_the_present_one_fails_on() {
    let (rig, two) = rig(Setting::default());
    for number in 0..4 {
        rig.connect(1, &bad_client(number));
        rig.connect(1, &client(number));
    }
    rig.drained(1).await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert_eq!((counts.delivered, counts.buried), (8, 0));
    rig.assert_in_order();
    let samples = rig.samples.last(&rule_id(), SAMPLES_MAX);
    let (failed, fine): (Vec<_>, Vec<_>) = samples.iter().partition(|it| it.fault.is_some());
    assert_eq!((failed.len(), fine.len()), (4, 4));
    assert!(failed.iter().all(|it| it.plugin_version == Some(1)));
    assert!(fine.iter().all(|it| it.plugin_version == Some(2)));
    // Four failures say nothing yet.
    assert!(rig.asked_to_go_back().is_none());
    assert_eq!(two.track.recent(), (8, 4));
    rig.end().await;
}

#[tokio::test]
async fn what_no_version_can_map_is_the_poison() {
    let (rig, two) = rig(Setting::default());
    for number in 0..4 {
        rig.connect(1, &client_of_length(&format!("t{number}"), TRAPS));
    }
    rig.connect(1, &client(1));
    rig.drained(1).await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert_eq!((counts.delivered, counts.buried), (1, 4));
    // It says nothing of the present version.
    assert_eq!(two.track.recent(), (1, 0));
    assert!(rig.asked_to_go_back().is_none());
    rig.end().await;
}

#[tokio::test]
async fn a_version_that_fails_too_often_is_replaced_at_once_and_buries_nothing() {
    for on_fault in [OnFault::DeadLetter, OnFault::Skip, OnFault::Retry] {
        let (rig, two) = rig(Setting {
            on_fault,
            ..Setting::default()
        });
        for number in 0..40 {
            rig.connect(1, &bad_client(number));
        }
        rig.drained(1).await;
        let counts = rig.outbox.counts(IncarnationId(1));
        assert_eq!((counts.delivered, counts.buried), (40, 0), "{on_fault:?}");
        rig.assert_in_order();
        let request = rig.asked_to_go_back().unwrap();
        assert_eq!(request.version, 1);
        assert!(Arc::ptr_eq(&request.track, &two.track));
        assert!(request.reason.contains("which version 1 maps"));
        // Once: from then on the earlier one maps everything.
        assert!(rig.asked_to_go_back().is_none());
        assert_eq!(two.track.replaced_by(), Some(1));
        assert!(two.track.recent().1 < 40);
        rig.end().await;
    }
}

#[tokio::test]
async fn a_version_that_the_rule_names_itself_stays_and_the_rule_says_so() {
    let (rig, two) = rig(Setting::default());
    rig.put(1, |active| {
        active.mapping.version = VersionSelector::Number(2);
    });
    for number in 0..20 {
        rig.connect(1, &bad_client(number));
    }
    rig.drained(1).await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert_eq!((counts.delivered, counts.buried), (20, 0));
    assert!(rig.asked_to_go_back().is_none());
    assert_eq!(two.track.replaced_by(), None);
    let (health, reason) = rig.worst(1).unwrap();
    assert_eq!(health, Health::Retrying);
    assert!(
        reason.starts_with("version 2 failed on") && reason.contains("names this version itself"),
        "{reason}"
    );
    rig.put(1, |active| active.mapper = Ok(version(3, TRAPS)));
    rig.connect(1, &bad_client(1));
    rig.drained(1).await;
    eventually("it is well", || rig.worst(1).is_none()).await;
    rig.end().await;
}

#[tokio::test]
async fn a_rejection_is_no_fault() {
    let (rig, two) = rig(Setting::default());
    for number in 0..20 {
        rig.connect(1, &client_of_length(&format!("r{number}"), REJECTED));
    }
    rig.drained(1).await;
    assert_eq!(rig.outbox.counts(IncarnationId(1)).buried, 20);
    assert_eq!(two.track.recent(), (20, 0));
    assert!(rig.asked_to_go_back().is_none());
    rig.end().await;
}

#[tokio::test]
async fn the_last_events_are_noted_with_what_became_of_them() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    rig.start(1, &[]);
    for (name, length) in [("t", TRAPS), ("r", REJECTED), ("m", THREE)] {
        rig.connect(1, &client_of_length(name, length));
        rig.drained(1).await;
    }
    let samples = rig.samples.last(&rule_id(), SAMPLES_MAX);
    let outcomes: Vec<_> = samples.iter().map(|it| it.outcome.as_str()).collect();
    assert_eq!(outcomes, ["delivered", "buried", "buried"]);
    let SampleOutcome::Delivered { messages, count } = &samples[0].outcome else {
        panic!("{samples:?}");
    };
    assert_eq!((messages.len(), *count), (3, 3));
    assert_eq!(
        (messages[0].body.as_slice(), messages[0].body_bytes),
        (&b"x"[..], 1)
    );
    assert!(samples[1].fault.is_none());
    assert!(samples[2].fault.as_ref().unwrap().contains("trapped"));
    // One that waits is noted once, however often it is tried.
    rig.connect(1, &client_of_length("w", RETRIES));
    rig.committed().await;
    let waiting = || {
        let samples = rig.samples.last(&rule_id(), SAMPLES_MAX);
        let is_waiting = |it: &&crate::samples::Sample| it.outcome.as_str() == "retried";
        samples.iter().filter(is_waiting).count()
    };
    eventually("it waits", || waiting() == 1).await;
    for number in 0..100 {
        rig.connect(1, &client(number));
    }
    rig.committed().await;
    eventually("the others are delivered", || rig.pending(1) == 1).await;
    assert!(waiting() <= 1);
    assert_eq!(rig.samples.last(&rule_id(), usize::MAX).len(), SAMPLES_MAX);
    rig.put(1, |active| active.is_discarding = true);
    rig.drained(1).await;
    rig.end().await;
}

/// A courier with version 2, as right after a start: version 1 is not loaded yet.
fn rig_after_start() -> (Rig, LoadedMapper) {
    let (rig, _) = rig(Setting::default());
    let mut one = Vec::new();
    rig.put(1, |active| {
        one = std::mem::take(&mut active.earlier);
        active.awaited = vec![one[0].digest];
    });
    (rig, one.remove(0))
}

#[tokio::test]
async fn nothing_is_buried_before_the_earlier_versions_are_loaded() {
    let (rig, one) = rig_after_start();
    // More than so many in a row would pause the rule.
    for number in 0..8 {
        rig.connect(1, &bad_client(number));
    }
    rig.connect(1, &client(1));
    rig.committed().await;
    eventually("all others are stored", || rig.pending(1) == 8).await;
    eventually("the rule says why", || {
        let worst = rig.worst(1);
        worst.is_some_and(|(_, reason)| reason.contains("not loaded yet"))
    })
    .await;
    rig.put(1, |active| {
        active.earlier = vec![one];
        active.awaited.clear();
    });
    rig.drained(1).await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert_eq!((counts.delivered, counts.buried), (9, 0));
    rig.assert_in_order();
    rig.end().await;
}

#[tokio::test]
async fn what_waited_for_an_earlier_version_is_buried_if_there_is_none() {
    let (rig, _) = rig_after_start();
    for number in 0..4 {
        rig.connect(1, &bad_client(number));
    }
    rig.committed().await;
    let is_waiting = || rig.worst(1).is_some_and(|it| it.0 == Health::Retrying);
    eventually("they wait", is_waiting).await;
    rig.put(1, |active| active.awaited.clear());
    rig.drained(1).await;
    assert_eq!(rig.outbox.counts(IncarnationId(1)).buried, 4);
    rig.end().await;
}

#[tokio::test]
async fn what_waited_for_an_earlier_version_pauses_a_rule_that_fails_on_everything() {
    let (rig, _) = rig_after_start();
    for number in 0..20 {
        rig.connect(1, &bad_client(number));
    }
    rig.committed().await;
    let has = |health| rig.worst(1).is_some_and(|it| it.0 == health);
    eventually("they wait", || has(Health::Retrying)).await;
    rig.put(1, |active| active.awaited.clear());
    eventually("the rule pauses", || has(Health::Faulted)).await;
    assert!(rig.outbox.counts(IncarnationId(1)).buried < 5);
    rig.put(1, |active| active.is_discarding = true);
    rig.drained(1).await;
    rig.end().await;
}
