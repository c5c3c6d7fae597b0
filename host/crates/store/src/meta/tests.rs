//! What `meta.redb` promises.

use domain::{
    DataRule, DataRuleDraft, Direction, InstanceId, MappingLimits, MqttTopic, OnActivate, OnFault,
    OnReject, Rule, RuleDraft, TopicName, VersionSelector,
};
use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, PathBuf, MetaStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.redb");
    let store = MetaStore::open(&path).unwrap();
    (folder, path, store)
}

fn mapping(version: VersionSelector) -> Mapped {
    Mapped {
        plugin: PluginName::parse("apsaramq-status").unwrap(),
        version,
        config: r#"{"remark":true}"#.to_owned(),
        limits: MappingLimits {
            memory_bytes_max: Some(1 << 20),
            call_deadline_ms: None,
        },
        on_fault: OnFault::Retry,
        on_reject: OnReject::Skip,
    }
}

fn destination() -> Destination {
    Destination {
        instance_id: InstanceId::parse("embedded").unwrap(),
        topic: TopicName::parse("TopicB").unwrap(),
    }
}

fn rule(id: &str, revision: u64, incarnation: IncarnationId, version: VersionSelector) -> AnyRule {
    AnyRule::Status(Rule {
        draft: RuleDraft {
            rule_id: RuleId::parse(id).unwrap(),
            description: "wörk".to_owned(),
            enabled: true,
            group_id: GroupId::parse("GID_Client_Status").unwrap(),
            destination: destination(),
            ordering: Ordering::Available,
            mapping: mapping(version),
            on_activate: OnActivate::None,
        },
        revision,
        incarnation,
        created_at_ms: 1,
        updated_at_ms: 2,
    })
}

fn data_rule(id: &str, direction: Direction) -> AnyRule {
    AnyRule::Data(DataRule {
        draft: DataRuleDraft {
            rule_id: RuleId::parse(id).unwrap(),
            description: "data".to_owned(),
            direction,
            mqtt_topic: MqttTopic::parse("Parent").unwrap(),
            rocketmq: destination(),
            ordering: Ordering::Strict,
        },
        revision: 9,
        created_at_ms: 1,
        updated_at_ms: 2,
    })
}

fn incarnation(id: u32) -> IncarnationRecord {
    IncarnationRecord {
        id: IncarnationId(id),
        rule_id: RuleId::parse("rule-1").unwrap(),
        group_id: GroupId::parse("GID_Client_Status").unwrap(),
        destination: destination(),
        ordering: Ordering::Available,
        revision: 7,
        mapping: mapping(VersionSelector::Latest),
        is_retired: true,
        is_discarding: false,
    }
}

fn plugin(name: &str, version: u32, digest: u8) -> PluginRecord {
    PluginRecord {
        name: PluginName::parse(name).unwrap(),
        version,
        digest: PluginDigest([digest; 32]),
        size_bytes: 4,
        exports: vec!["rulemill:rule/status-mapper@1.0.0".to_owned()],
        imports: Vec::new(),
        created_at_ms: 5,
        created_by: Actor::token("anna"),
        is_built_in: false,
    }
}

type Done = Result<(), WriteMetaError>;

#[test]
fn everything_reads_back_after_a_restart() {
    let (_folder, path, store) = store();
    let versions = [
        VersionSelector::Latest,
        VersionSelector::Number(3),
        VersionSelector::Digest(PluginDigest([9; 32])),
    ];
    let mut rules: Vec<_> = (1..4)
        .zip(versions)
        .map(|(n, version)| {
            rule(
                &format!("rule-{n}"),
                u64::from(n),
                IncarnationId(n),
                version,
            )
        })
        .collect();
    rules.push(data_rule("rule-4", Direction::Inbound));
    rules.push(data_rule("rule-5", Direction::Outbound));
    let groups = ["GID_AAA", "GID_BBB"].map(|id| GroupRecord {
        group_id: GroupId::parse(id).unwrap(),
        created_at_ms: 3,
        is_deleted: id == "GID_BBB",
    });
    store
        .write(|tx| -> Done {
            rules.iter().try_for_each(|rule| tx.put_rule(rule))?;
            groups.iter().try_for_each(|group| tx.put_group(group))?;
            tx.put_incarnation(&incarnation(4))?;
            tx.put_plugin(&plugin("a", 1, 1), b"one")?;
            tx.put_plugin(&plugin("a", 2, 2), b"two")
        })
        .unwrap();
    store.put_setting("token/1", "hash").unwrap();
    drop(store);
    let store = MetaStore::open(&path).unwrap();
    assert_eq!(store.rules().unwrap(), rules);
    assert_eq!(store.groups().unwrap(), groups);
    assert_eq!(store.incarnations().unwrap(), [incarnation(4)]);
    assert_eq!(
        store.plugins().unwrap(),
        [plugin("a", 1, 1), plugin("a", 2, 2)]
    );
    assert_eq!(
        store.plugin_bytes(&PluginDigest([2; 32])).unwrap().unwrap(),
        b"two"
    );
    assert_eq!(store.plugin_bytes(&PluginDigest([3; 32])).unwrap(), None);
    assert_eq!(store.setting("token/1").unwrap().as_deref(), Some("hash"));
    store.remove_setting("token/1").unwrap();
    assert_eq!(store.setting("token/1").unwrap(), None);
}

#[test]
fn a_write_that_fails_writes_nothing() {
    let (_folder, _path, store) = store();
    let result = store.write(|tx| -> Done {
        tx.put_group(&GroupRecord {
            group_id: GroupId::parse("GID_AAA").unwrap(),
            created_at_ms: 3,
            is_deleted: false,
        })?;
        tx.next_revision()?;
        Err(WriteMetaError::NoNumberLeft { what: "anything" })
    });
    assert!(result.is_err());
    assert!(store.groups().unwrap().is_empty());
    assert_eq!(store.write(|tx| tx.next_revision()).unwrap(), 1);
}

#[test]
fn numbers_of_incarnations_go_on_after_those_that_were_used_elsewhere() {
    let (_folder, path, store) = store();
    let skip = |store: &MetaStore, used: u32| {
        let skipped: Result<_, WriteMetaError> =
            store.write(|tx| tx.skip_incarnations(IncarnationId(used)));
        skipped.unwrap()
    };
    let next = |store: &MetaStore| store.write(|tx| tx.next_incarnation()).unwrap();
    assert!(!skip(&store, 0));
    assert!(skip(&store, 7));
    drop(store);
    let store = MetaStore::open(&path).unwrap();
    assert_eq!(next(&store), IncarnationId(8));
    assert!(!skip(&store, 8) && !skip(&store, 3));
    assert_eq!(next(&store), IncarnationId(9));
    assert!(skip(&store, u32::MAX));
    let none_left: Result<_, WriteMetaError> = store.write(|tx| tx.next_incarnation());
    assert!(none_left.is_err());
}

#[test]
fn a_number_is_never_given_twice() {
    let (_folder, path, store) = store();
    let next = |store: &MetaStore| {
        let numbers: Result<_, WriteMetaError> =
            store.write(|tx| Ok((tx.next_revision()?, tx.next_incarnation()?)));
        numbers.unwrap()
    };
    assert_eq!(next(&store), (1, IncarnationId(1)));
    let made = rule("rule-1", 1, IncarnationId(1), VersionSelector::Latest);
    store.write(|tx| tx.put_rule(&made)).unwrap();
    store
        .write(|tx| -> Done {
            tx.remove_rule(made.rule_id())?;
            tx.remove_incarnation(IncarnationId(1))
        })
        .unwrap();
    assert!(store.rules().unwrap().is_empty());
    drop(store);
    assert_eq!(
        next(&MetaStore::open(&path).unwrap()),
        (2, IncarnationId(2))
    );
}

#[test]
fn the_versions_of_a_plugin_are_its_own_oldest_first() {
    let (_folder, _path, store) = store();
    let versions = [("a", 256), ("a", u32::MAX), ("a", 2), ("a-b", 1), ("b", 3)];
    store
        .write(|tx| -> Done {
            let mut versions = versions.into_iter();
            versions
                .try_for_each(|(name, version)| tx.put_plugin(&plugin(name, version, 1), b"one"))
        })
        .unwrap();
    let of = |name: &str| {
        store
            .plugin_versions(&PluginName::parse(name).unwrap())
            .unwrap()
    };
    assert_eq!(
        of("a"),
        [2, 256, u32::MAX].map(|version| plugin("a", version, 1))
    );
    assert_eq!(of("b"), [plugin("b", 3, 1)]);
    assert!(of("c").is_empty());
}

#[test]
fn removing_a_plugin_keeps_bytes_that_another_one_has() {
    let (_folder, _path, store) = store();
    store
        .write(|tx| -> Done {
            tx.put_plugin(&plugin("a", 1, 1), b"one")?;
            tx.put_plugin(&plugin("a", 2, 2), b"two")?;
            tx.put_plugin(&plugin("b", 1, 2), b"two")
        })
        .unwrap();
    store
        .write(|tx| tx.remove_plugin(&PluginName::parse("a").unwrap()))
        .unwrap();
    assert_eq!(store.plugins().unwrap(), [plugin("b", 1, 2)]);
    assert_eq!(store.plugin_bytes(&PluginDigest([1; 32])).unwrap(), None);
    assert_eq!(
        store.plugin_bytes(&PluginDigest([2; 32])).unwrap().unwrap(),
        b"two"
    );
}

#[test]
fn a_damaged_record_is_an_error_that_names_it() {
    let (_folder, path, store) = store();
    drop(store);
    for (json, problem) in [("{}", "missing field"), ("not json", "expected")] {
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(RULES)
            .unwrap()
            .insert("rule-1", json.as_bytes())
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = MetaStore::open(&path)
            .unwrap()
            .rules()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("stored rule \"rule-1\" is damaged") && error.contains(problem),
            "{error}"
        );
    }
}

#[test]
fn a_file_in_use_or_of_something_else_is_refused() {
    let (_folder, path, store) = store();
    assert!(matches!(
        MetaStore::open(&path),
        Err(OpenStoreError::InUse { .. })
    ));
    drop(store);
    std::fs::write(&path, [0x55; 10_000]).unwrap();
    assert!(matches!(
        MetaStore::open(&path),
        Err(OpenStoreError::Damaged { .. })
    ));
}

#[test]
fn a_rule_keeps_its_last_revisions_until_it_is_removed() {
    let (_folder, path, store) = store();
    let put = |store: &MetaStore, revision: u64| {
        let record = RevisionRecord {
            rule: rule(
                "rule-1",
                revision,
                IncarnationId(1),
                VersionSelector::Latest,
            ),
            change: ChangeKind::Edited,
            by: Actor::token("anna"),
            at_ms: revision * 10,
        };
        store.write(|tx| tx.put_revision(&record)).unwrap();
        record
    };
    let kept = u64::try_from(REVISIONS_MAX).unwrap();
    (1..=kept).for_each(|revision| drop(put(&store, revision)));
    let rule_id = RuleId::parse("rule-1").unwrap();
    assert_eq!(store.history(&rule_id).unwrap().len(), REVISIONS_MAX);
    let last = put(&store, kept + 1);
    drop(store);
    let store = MetaStore::open(&path).unwrap();
    let history = store.history(&rule_id).unwrap();
    assert_eq!(history.len(), REVISIONS_MAX);
    assert_eq!(history[0].rule.revision(), 2);
    assert_eq!(history[REVISIONS_MAX - 1], last);
    assert_eq!(store.rules().unwrap(), [last.rule]);
    let other = RuleId::parse("rule-10").unwrap();
    assert!(store.history(&other).unwrap().is_empty());
    store.write(|tx| tx.remove_rule(&rule_id)).unwrap();
    assert!(store.history(&rule_id).unwrap().is_empty());
}
