//! What is kept of the generations of a rule.

use super::*;
use crate::MetaStore;

fn version(number: u32) -> EarlierVersion {
    EarlierVersion {
        version: number,
        digest: PluginDigest([u8::try_from(number % 256).unwrap(); 32]),
        is_proven: number.is_multiple_of(2),
    }
}

fn record(count: u32) -> GenerationsRecord {
    let plugin = PluginName::parse("plugin").unwrap();
    let withdrawn = |number| WithdrawnVersion {
        plugin: plugin.clone(),
        version: number,
        digest: version(number).digest,
        at_ms: 4,
        by: Actor::host(),
        reason: "it failed".to_owned(),
    };
    let activation = |number| Activation {
        plugin: plugin.clone(),
        version: number,
        digest: version(number).digest,
        at_ms: 5,
        by: Actor::token("anna"),
        outcome: ActivationOutcome::Rejected,
        reason: Some("why".to_owned()),
    };
    GenerationsRecord {
        rule_id: RuleId::parse("rule-1").unwrap(),
        active: version(count),
        earlier: (1..=count).map(version).collect(),
        withdrawn: (1..=count).map(withdrawn).collect(),
        activations: (1..=count).map(activation).collect(),
        plugin,
    }
}

#[test]
fn generations_read_back_after_a_restart_and_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.redb");
    let store = MetaStore::open(&path).unwrap();
    store.write(|tx| tx.put_generations(&record(3))).unwrap();
    drop(store);
    let store = MetaStore::open(&path).unwrap();
    assert_eq!(store.generations().unwrap(), [record(3)]);
    store.write(|tx| tx.put_generations(&record(100))).unwrap();
    let kept = store.generations().unwrap().remove(0);
    assert_eq!(kept.activations.len(), ACTIVATIONS_MAX);
    assert_eq!(kept.withdrawn.len(), WITHDRAWN_MAX);
    assert_eq!(kept.earlier.len(), EARLIER_MAX);
    assert_eq!(kept.earlier.last(), Some(&version(100)));
    assert!(kept.withdrawal(&version(100).digest).is_some());
    assert!(kept.withdrawal(&version(1).digest).is_none());
    store
        .write(|tx| tx.remove_generations(&kept.rule_id))
        .unwrap();
    assert!(store.generations().unwrap().is_empty());
}
