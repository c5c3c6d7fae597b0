//! Versions of plugins through the control side: back, and not forward by themselves.

use std::sync::Arc;

use domain::{
    Actor, AnyRule, AnyRuleDraft, PluginDigest, PluginName, Rule, RuleDraft, StatusEvent,
    VersionSelector,
};
use plugin_runtime::{ChildCompiler, CodeCacheConfig, CodeConfig, CompileLimits, Compiler};
use store::{ActivationOutcome, MetaStore};
use tempfile::TempDir;

use super::{Host, PATIENCE, draft, facts, record, rule_id};
use crate::config::BuiltInPlugin;
use crate::control::{ControlCode, ControlError, EditTerms, PluginRollback, RuleState};
use crate::courier::rig::plugin::{TRAPS, client_of_length, component};
use crate::reloader::Earlier;
use crate::rollback::RollbackRequest;
use crate::rule_set::ActiveIncarnation;
use crate::samples::{Sample, SampleOutcome};

/// Client ids of this length make one version trap.
const BAD: usize = 30;

pub(super) fn plugin() -> PluginName {
    PluginName::parse("p").unwrap()
}

pub(super) fn anna() -> Actor {
    Actor::token("anna")
}

/// A host with `rule-1`, which wants plugin `p` in this version.
pub(super) async fn start(version: VersionSelector) -> Host {
    let folder = tempfile::tempdir().unwrap();
    put_rule(&folder, version);
    Host::open(folder, |_| {}).await
}

fn put_rule(folder: &TempDir, version: VersionSelector) {
    let meta = MetaStore::open(folder.path().join("meta.redb")).unwrap();
    let mut draft = draft(1);
    draft.mapping.plugin = plugin();
    draft.mapping.version = version;
    let written: Result<(), store::WriteMetaError> = meta.write(|tx| {
        let (revision, incarnation) = (tx.next_revision()?, tx.next_incarnation()?);
        let mut record = record(1, incarnation);
        record.mapping = draft.mapping.clone();
        tx.put_incarnation(&record)?;
        tx.put_rule(&AnyRule::Status(Rule {
            draft,
            revision,
            incarnation,
            created_at_ms: 0,
            updated_at_ms: 0,
        }))
    });
    written.unwrap();
}

pub(super) async fn push(host: &Host, bytes: Vec<u8>) -> u32 {
    let (view, is_new) = host.push_plugin(plugin(), bytes, &anna()).await.unwrap();
    assert!(is_new);
    assert_eq!(view.created_by, anna());
    view.version
}

fn state(host: &Host) -> RuleState {
    host.rule(&rule_id(1)).unwrap().state
}

pub(super) fn version(host: &Host) -> Option<u32> {
    state(host).plugin_version
}

/// Goes back: one rule, or all.
pub(super) async fn back(
    host: &Host,
    name: &PluginName,
    rule: Option<u32>,
) -> Result<PluginRollback, ControlError> {
    let (rule, by) = (rule.map(rule_id), anna());
    host.roll_back_plugin(name, rule.as_ref(), &by).await
}

fn outcomes(host: &Host) -> Vec<(u32, ActivationOutcome, String)> {
    let all = host.plugin_activations(&plugin()).into_iter();
    all.map(|it| {
        let it = it.activation;
        (it.version, it.outcome, it.by.to_string())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_to_map_is_warm_and_what_is_only_tried_is_not() {
    let host = start(VersionSelector::Latest).await;
    let started = |host: &Host| state(host).mapper.map(|it| (it.instances, it.calls));
    push(&host, component(TRAPS, 1)).await;
    assert_eq!(started(&host), Some((1, 0)));
    push(&host, component(TRAPS, 2)).await;
    assert_eq!(started(&host), Some((1, 0)));
    // It is still warm.
    back(&host, &plugin(), None).await.unwrap();
    assert_eq!((version(&host), started(&host)), (Some(1), Some((1, 0))));
    // A start warms nothing: its first events come later, if any do.
    let host = host.restart().await;
    assert_eq!((version(&host), started(&host)), (Some(1), Some((0, 0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_goes_back_and_stays_back_until_told_otherwise() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    assert_eq!(version(&host), Some(2));
    let done = back(&host, &plugin(), None).await.unwrap();
    let went = &done.rolled_back[0];
    assert_eq!(
        (went.rule_id.clone(), went.from, went.to),
        (rule_id(1), 2, 1)
    );
    assert_eq!(version(&host), Some(1));
    let host = host.restart().await;
    assert_eq!(version(&host), Some(1));
    // The same bytes again do nothing, and say why.
    let (view, is_new) = host
        .push_plugin(plugin(), component(TRAPS, 2), &anna())
        .await
        .unwrap();
    assert_eq!((view.version, is_new), (2, false));
    assert_eq!(view.withdrawn_for[0].0, rule_id(1));
    assert_eq!(version(&host), Some(1));
    // A newer version is taken as usual.
    push(&host, component(TRAPS, 3)).await;
    assert_eq!(version(&host), Some(3));
    // In so many words, the withdrawn one gets another chance.
    let (view, _) = host
        .push_plugin_again(plugin(), component(TRAPS, 2), &anna())
        .await
        .unwrap();
    assert!(view.withdrawn_for.is_empty());
    assert_eq!(
        (view.active_for, version(&host)),
        (vec![rule_id(1)], Some(2))
    );
    let all = outcomes(&host);
    let wanted = [(2, true), (3, true), (1, false), (2, true), (1, true)];
    let found: Vec<_> = all
        .iter()
        .map(|(version, outcome, _)| (*version, *outcome == ActivationOutcome::Activated))
        .collect();
    assert_eq!(found, wanted, "{all:?}");
    assert!(all.iter().all(|(_, _, by)| by == "token:anna"));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_must_be_a_way_back() {
    let host = start(VersionSelector::Latest).await;
    let code = async |rule: Option<u32>| back(&host, &plugin(), rule).await.unwrap_err().code;
    assert_eq!(code(None).await, ControlCode::PluginNotFound);
    push(&host, component(TRAPS, 1)).await;
    assert_eq!(code(None).await, ControlCode::NoEarlierVersion);
    assert_eq!(code(Some(1)).await, ControlCode::NoEarlierVersion);
    assert_eq!(code(Some(2)).await, ControlCode::RuleNotFound);
    let other = PluginName::parse("other").unwrap();
    host.push_plugin(other.clone(), component(TRAPS, 1), &anna())
        .await
        .unwrap();
    for rule in [Some(1), None] {
        let refused = back(&host, &other, rule).await.unwrap_err();
        assert_eq!(refused.code, ControlCode::RollbackImpossible);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_a_rule_names_is_not_rolled_back() {
    let host = start(VersionSelector::Number(1)).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    assert_eq!(version(&host), Some(1));
    let refused = back(&host, &plugin(), None).await.unwrap_err();
    assert_eq!(refused.code, ControlCode::RollbackImpossible);
    assert!(refused.message.contains("names version 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drains_with_a_version_that_the_rule_went_back_from_has_the_rule_s_as_a_way_back() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(BAD, 2)).await;
    let draining = host.meta.write(|tx| {
        let mut draining = record(1, tx.next_incarnation()?);
        draining.mapping.plugin = plugin();
        draining.mapping.version = VersionSelector::Number(2);
        draining.is_retired = true;
        tx.put_incarnation(&draining)?;
        Ok::<_, store::WriteMetaError>(draining.id)
    });
    let draining = draining.unwrap();
    host.reload().await.unwrap();
    back(&host, &plugin(), None).await.unwrap();
    let versions = |id| {
        let active = host.rule_set.incarnation(id).unwrap();
        let present = active.mapper.as_ref().map(|it| it.version).unwrap();
        let earlier: Vec<_> = active.earlier.iter().map(|it| it.version).collect();
        (present, earlier)
    };
    assert_eq!(versions(draining), (2, vec![1]));
    let present = host.intent.load().rules[&rule_id(1)].incarnation;
    assert_eq!(versions(present), (1, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_version_is_gone_for_good() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(BAD, 2)).await;
    let incarnation = host.intent.load().rules[&rule_id(1)].incarnation;
    let active = host.rule_set.incarnation(incarnation).unwrap();
    assert_eq!(active.earlier.len(), 1);
    let request = RollbackRequest {
        rule_id: rule_id(1),
        track: Arc::clone(&active.mapper.as_ref().unwrap().track),
        version: 1,
        reason: "failed on 5 of its last 9 events".to_owned(),
    };
    host.roll_back_failing(&request).await.unwrap();
    assert_eq!(version(&host), Some(1));
    // It is about a generation that is gone: nothing happens.
    host.roll_back_failing(&request).await.unwrap();
    assert_eq!(version(&host), Some(1));
    let host = host.restart().await;
    assert_eq!(version(&host), Some(1));
    let told = host.went_back(&rule_id(1)).unwrap();
    assert!(
        told.contains("version 2 failed on 5 of its last 9"),
        "{told}"
    );
    assert!(host.metrics_text().contains("rulemill_plugin_swaps"));
    let (last, outcome, by) = outcomes(&host).remove(0);
    assert_eq!((last, outcome), (1, ActivationOutcome::RolledBack));
    assert_eq!(by, "host");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_on_a_rule_s_last_events_does_not_map_for_it() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    let event = |length| {
        let facts = facts(&client_of_length("s", length).replace("GID_Test", "GID_rule"));
        assert_eq!(facts.client_id.as_str().len(), length);
        Arc::new(StatusEvent {
            event_id: domain::EventId([7; 16]),
            event_type: domain::EventType::Connect,
            time_ms: 1,
            sequence: domain::Sequence(1),
            reason: None,
            synthetic: None,
            connected_at_ms: 1,
            channel: facts,
        })
    };
    let sample = |length, fault: Option<&str>| Sample {
        event: event(length),
        outcome: SampleOutcome::skipped(None),
        fault: fault.map(str::to_owned),
        plugin_version: Some(1),
        at_ms: 1,
    };
    // What the present version fails on, too, is no reason to refuse another one.
    host.samples
        .note(&rule_id(1), vec![sample(BAD + 1, Some("it trapped"))]);
    push(&host, component(BAD + 1, 2)).await;
    assert_eq!(version(&host), Some(2));
    host.samples.note(&rule_id(1), vec![sample(BAD, None)]);
    push(&host, component(BAD, 3)).await;
    assert_eq!(version(&host), Some(2));
    let (rejected, outcome, _) = outcomes(&host).remove(0);
    assert_eq!((rejected, outcome), (3, ActivationOutcome::Rejected));
    // The upload itself was fine: the version is there for others.
    assert!(host.plugin_version(&plugin(), 3).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_deleted_when_nothing_needs_it_and_its_number_is_not_given_again() {
    let host = start(VersionSelector::Latest).await;
    for label in 1..=3 {
        push(&host, component(TRAPS, label)).await;
    }
    let delete = async |version| {
        host.delete_plugin_version(&plugin(), version, &anna())
            .await
    };
    let code = async |version| delete(version).await.unwrap_err().code;
    assert_eq!(code(4).await, ControlCode::PluginVersionNotFound);
    assert_eq!(code(3).await, ControlCode::PluginInUse);
    // The rule would go back to it.
    assert_eq!(code(2).await, ControlCode::PluginInUse);
    back(&host, &plugin(), None).await.unwrap();
    delete(3).await.unwrap();
    assert!(host.plugin_version(&plugin(), 3).is_err());
    assert_eq!(push(&host, component(TRAPS, 4)).await, 4);
    let host = host.restart().await;
    assert_eq!(version(&host), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_from_before_has_its_version_noted_at_the_start() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    let forget: Result<(), store::WriteMetaError> =
        host.meta.write(|tx| tx.remove_generations(&rule_id(1)));
    forget.unwrap();
    let host = host.restart().await;
    assert_eq!(version(&host), Some(2));
    let all = outcomes(&host);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].0, all[0].1), (2, ActivationOutcome::Activated));
    let refused = back(&host, &plugin(), None).await.unwrap_err();
    assert_eq!(refused.code, ControlCode::NoEarlierVersion);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_awaits_the_earlier_versions_and_loads_them_by_itself() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(BAD, 2)).await;
    let active = || {
        let incarnation = host.intent.load().rules[&rule_id(1)].incarnation;
        host.rule_set.incarnation(incarnation).unwrap()
    };
    let loaded = active().earlier[0].digest;
    // What the start does first, and what housekeeping finds when its first round failed.
    host.reload_with(Earlier::Later).await.unwrap();
    let now = active();
    assert!(now.earlier.is_empty());
    assert_eq!(now.awaited, [loaded]);
    host.until("loaded", |_| active().awaited.is_empty()).await;
    assert_eq!(active().earlier.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_version_that_cannot_be_loaded_is_not_awaited() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    let mut record = host.intent.load().plugins[&plugin()][0].clone();
    let missing = PluginDigest([9; 32]);
    record.digest = missing;
    let mut generations = host.intent.load().generations[&rule_id(1)].clone();
    generations.earlier[0].digest = missing;
    let broken: Result<(), store::WriteMetaError> = host.meta.write(|tx| {
        tx.put_plugin(&record, b"no component")?;
        tx.put_generations(&generations)
    });
    broken.unwrap();
    let host = host.restart().await;
    let incarnation = host.intent.load().rules[&rule_id(1)].incarnation;
    let active = || host.rule_set.incarnation(incarnation).unwrap();
    host.until("given up", |_| active().awaited.is_empty())
        .await;
    assert!(active().earlier.is_empty());
    assert_eq!(version(&host), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_stored_component_is_told_and_comes_back_under_another_name() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    let record = host.intent.load().plugins[&plugin()][0].clone();
    let damaged: Result<(), store::WriteMetaError> = host
        .meta
        .write(|tx| tx.put_plugin(&record, b"no component"));
    damaged.unwrap();
    let host = host.restart().await;
    let incarnation = host.intent.load().rules[&rule_id(1)].incarnation;
    let active = || host.rule_set.incarnation(incarnation).unwrap();
    let told = active().mapper.as_ref().err().cloned().unwrap_or_default();
    assert!(
        told.contains("is damaged; push the same file under a name that no plugin has"),
        "{told}"
    );
    let other = PluginName::parse("other").unwrap();
    let stored = host.push_plugin(other, component(TRAPS, 1), &anna()).await;
    stored.unwrap();
    host.until("mended", |_| active().mapper.is_ok()).await;
    assert_eq!(version(&host), Some(1));
}

/// Nobody has the file of one that comes with the host.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_plugin_of_the_host_s_own_is_mended_by_a_start() {
    let bytes: &'static [u8] = component(TRAPS, 1).leak();
    let with_own = |folder| {
        Host::open(folder, move |config| {
            config.built_in = vec![BuiltInPlugin { name: "p", bytes }];
        })
    };
    let folder = tempfile::tempdir().unwrap();
    put_rule(&folder, VersionSelector::Latest);
    let host = with_own(folder).await;
    let record = host.intent.load().plugins[&plugin()][0].clone();
    let damaged: Result<(), store::WriteMetaError> = host
        .meta
        .write(|tx| tx.put_plugin(&record, b"no component"));
    damaged.unwrap();
    let Host { folder, pipeline } = host;
    pipeline.shutdown(std::time::Duration::ZERO).await;
    let host = with_own(folder).await;
    let stored = host.meta.plugin_bytes(&record.digest).unwrap();
    assert_eq!(stored.as_deref(), Some(bytes));
    assert_eq!((version(&host), host.plugins().len()), (Some(1), 1));
}

/// A host with so much memory for all plugins, bytes.
async fn with_memory(folder: TempDir, bytes: u64) -> Host {
    Host::open(folder, |config| {
        config.runtime.memory_total_bytes_max = bytes;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_host_refuses_an_upload_as_such_and_keeps_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    put_rule(&folder, VersionSelector::Latest);
    let host = with_memory(folder, 1).await;
    let refused = host
        .push_plugin(plugin(), component(TRAPS, 1), &anna())
        .await
        .unwrap_err();
    assert_eq!(refused.code, ControlCode::HostBusy, "{refused}");
    assert!(host.plugins().is_empty());
    assert_eq!(host.reloader.kept(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_host_could_not_load_is_awaited_and_not_taken_for_unusable() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    let Host { folder, pipeline } = host;
    pipeline.shutdown(std::time::Duration::ZERO).await;
    let host = with_memory(folder, 1).await;
    let incarnation = host.intent.load().rules[&rule_id(1)].incarnation;
    let active = host.rule_set.incarnation(incarnation).unwrap();
    let wanted = host.intent.load().plugins[&plugin()][1].digest;
    assert_eq!(active.awaited, [wanted]);
    assert!(active.mapper.as_ref().unwrap_err().contains("too busy"));
    // The code is there for the next try.
    assert_eq!(host.reloader.kept(), (1, 0));
}

/// The present incarnation of `rule-1` as its courier sees it.
pub(super) fn active(host: &Host) -> Arc<ActiveIncarnation> {
    let incarnation = host.intent.load().rules[&rule_id(1)].incarnation;
    host.rule_set.incarnation(incarnation).unwrap()
}

/// A host that keeps compiled code in `code`, and compiles with this compiler what is not there.
async fn with_compiler(folder: TempDir, compiler: Compiler) -> Host {
    Host::open(folder, |config| {
        config.code = CodeConfig {
            compiler,
            cache: Some(CodeCacheConfig {
                folder: config.data_dir.join("code"),
                key_file: config.data_dir.join("code.key"),
                bytes_max: 1 << 28,
            }),
        };
    })
    .await
}

/// One that never starts its work.
fn broken_compiler() -> Compiler {
    Compiler::Child(ChildCompiler {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "exit 1".into()],
        limits: CompileLimits {
            memory_bytes_max: 1 << 30,
            cpu_seconds_max: 10,
        },
        wall_clock_max: PATIENCE,
        function_bytes_max: 0,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_compiled_is_awaited_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    put_rule(&folder, VersionSelector::Latest);
    let (code, away) = (folder.path().join("code"), folder.path().join("away"));
    let host = with_compiler(folder, Compiler::InProcess).await;
    std::fs::create_dir(&away).unwrap();
    let mut files = Vec::new();
    for label in 1..=2 {
        push(&host, component(TRAPS, label)).await;
        for file in std::fs::read_dir(&code).unwrap() {
            // Its code is not there any more at the next start.
            let file = file.unwrap();
            std::fs::rename(file.path(), away.join(file.file_name())).unwrap();
            files.push(file.file_name());
        }
    }
    assert_eq!(files.len(), 2, "each version has code of its own");
    let back_again =
        |index: usize| std::fs::rename(away.join(&files[index]), code.join(&files[index])).unwrap();
    let Host { folder, pipeline } = host;
    pipeline.shutdown(std::time::Duration::ZERO).await;
    let host = with_compiler(folder, broken_compiler()).await;
    let digest = |index: usize| host.intent.load().plugins[&plugin()][index].digest;
    let now = active(&host);
    assert!(now.mapper.as_ref().unwrap_err().contains("the compiler"));
    assert_eq!(now.awaited, [digest(1)]);
    back_again(1);
    host.until("loaded by itself", |_| active(&host).mapper.is_ok())
        .await;
    assert_eq!(version(&host), Some(2));
    // The earlier version is not taken for one that does not take the rule's mapping.
    let now = active(&host);
    assert!(now.earlier.is_empty());
    assert_eq!(now.awaited, [digest(0)]);
    back_again(0);
    host.load_awaited().await;
    let now = active(&host);
    assert_eq!((now.earlier.len(), now.awaited.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_versions_are_all_withdrawn_is_told_so() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    back(&host, &plugin(), None).await.unwrap();
    let other = PluginName::parse("other").unwrap();
    let (by, third) = (anna(), component(TRAPS, 3));
    host.push_plugin(other.clone(), third, &by).await.unwrap();
    let edit = async |change: &dyn Fn(&mut RuleDraft)| {
        let AnyRuleDraft::Status(mut draft) = host.rule(&rule_id(1)).unwrap().rule.draft() else {
            panic!("another type of rule");
        };
        change(&mut draft);
        let draft = AnyRuleDraft::Status(draft);
        host.replace_rule(draft, EditTerms::default(), &anna())
            .await
    };
    let edited = edit(&|draft| draft.mapping.plugin = other.clone()).await;
    edited.unwrap();
    host.delete_plugin_version(&plugin(), 1, &anna())
        .await
        .unwrap();
    let edited = edit(&|draft| draft.mapping.plugin = plugin()).await;
    let refused = edited.unwrap_err();
    assert_eq!(refused.code, ControlCode::UnknownPlugin);
    let told = "every version of plugin p is withdrawn for rule rule-1";
    assert!(refused.message.contains(told), "{refused}");
    // What it says helps: the rule names the version.
    let edited = edit(&|draft| {
        draft.mapping.plugin = plugin();
        draft.mapping.version = VersionSelector::Number(2);
    })
    .await;
    edited.unwrap();
    assert_eq!(version(&host), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_tried_again_starts_anew() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    let intent = host.intent.load_full();
    let record = &intent.plugins[&plugin()][1];
    let mapping = &intent.rules[&rule_id(1)].draft.mapping;
    let loaded = host.reloader.load(Some(&rule_id(1)), record, mapping);
    let loaded = loaded.unwrap();
    assert!(loaded.track.replace_by(1));
    let anew = host.reloader.load_anew(&rule_id(1), record, mapping);
    assert_eq!(anew.unwrap().track.replaced_by(), None);
}
