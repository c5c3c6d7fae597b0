//! What a change makes of the records, without a store.

use domain::{
    Destination, GroupId, IncarnationId, InstanceId, Mapped, MappingLimits, OnFault, OnReject,
    Ordering, PluginDigest, PluginName, RuleId, TopicName, VersionSelector,
};
use store::{EarlierVersion, GenerationsRecord, IncarnationRecord, PluginRecord};

use super::retired;
use crate::intent::Intent;

fn record(version: VersionSelector) -> IncarnationRecord {
    IncarnationRecord {
        id: IncarnationId(1),
        rule_id: RuleId::parse("rule-1").unwrap(),
        group_id: GroupId::parse("GID_Test").unwrap(),
        destination: Destination {
            instance_id: InstanceId::parse("instance").unwrap(),
            topic: TopicName::parse("Topic").unwrap(),
        },
        ordering: Ordering::Strict,
        revision: 1,
        mapping: Mapped {
            plugin: PluginName::parse("plugin").unwrap(),
            version,
            config: "{}".to_owned(),
            limits: MappingLimits::default(),
            on_fault: OnFault::DeadLetter,
            on_reject: OnReject::DeadLetter,
        },
        is_retired: false,
        is_discarding: false,
    }
}

fn intent(resolved: Option<u32>) -> Intent {
    let name = PluginName::parse("plugin").unwrap();
    let version = |version: u8| PluginRecord {
        name: name.clone(),
        version: u32::from(version),
        digest: PluginDigest([version; 32]),
        size_bytes: 1,
        exports: Vec::new(),
        imports: Vec::new(),
        created_at_ms: 0,
        created_by: domain::Actor::host(),
        is_built_in: false,
    };
    let mut intent = Intent::default();
    intent
        .plugins
        .insert(name.clone(), vec![version(1), version(2)]);
    let rule_id = RuleId::parse("rule-1").unwrap();
    intent
        .resolved
        .extend(resolved.map(|version| (rule_id, version)));
    intent
}

#[test]
fn a_retired_incarnation_keeps_the_version_that_latest_meant() {
    let latest = record(VersionSelector::Latest);
    let pinned = |resolved| retired(&intent(resolved), &latest);
    assert!(pinned(Some(1)).is_retired);
    assert_eq!(pinned(Some(1)).mapping.version, VersionSelector::Number(1));
    assert_eq!(pinned(None).mapping.version, VersionSelector::Number(2));
    let digest = VersionSelector::Digest(PluginDigest([1; 32]));
    let by_digest = retired(&intent(Some(2)), &record(digest));
    assert_eq!(by_digest.mapping.version, digest);
}

#[test]
fn a_retired_incarnation_keeps_what_maps_also_if_the_rule_moves_on_in_the_same_change() {
    let latest = record(VersionSelector::Latest);
    let mut moving = intent(Some(2));
    let maps = GenerationsRecord {
        rule_id: latest.rule_id.clone(),
        plugin: latest.mapping.plugin.clone(),
        active: EarlierVersion {
            version: 1,
            digest: PluginDigest([1; 32]),
            is_proven: false,
        },
        earlier: Vec::new(),
        withdrawn: Vec::new(),
        activations: Vec::new(),
    };
    moving.generations.insert(latest.rule_id.clone(), maps);
    let pinned = retired(&moving, &latest).mapping.version;
    assert_eq!(pinned, VersionSelector::Number(1));
}
