//! Pushes beside other changes: whoever edits a rule does not wait for a compiler.

use std::path::Path;
use std::time::Duration;

use domain::{Actor, AnyRuleDraft, PluginDigest, PluginName};
use plugin_runtime::{
    Case, ChildCompiler, CodeConfig, CompileLimits, Compiler, EventIn, with_cases,
};

use super::{Host, PATIENCE, draft, rule_id};
use crate::control::{ApplyScope, ControlCode, Declaration, DeclaredRule, EditTerms, VERSIONS_MAX};
use crate::courier::rig::plugin::{TRAPS, component};

fn plugin() -> PluginName {
    PluginName::parse("p").unwrap()
}

/// A compiler that says in `folder` that it began, waits to be let go, and then fails.
fn slow_compiler(folder: &Path) -> CodeConfig {
    let folder = folder.display();
    let script =
        format!(": >{folder}/begun; until [ -e {folder}/go ]; do sleep 0.02; done; exit 1");
    CodeConfig {
        compiler: Compiler::Child(ChildCompiler {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            limits: CompileLimits {
                memory_bytes_max: 1 << 30,
                cpu_seconds_max: 10,
            },
            wall_clock_max: PATIENCE,
            function_bytes_max: 0,
        }),
        cache: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_edited_while_an_upload_compiles() {
    let signs = tempfile::tempdir().unwrap();
    let folder = signs.path();
    let host = Host::start_with(1, |config| config.code = slow_compiler(folder)).await;
    let (by, rule) = (Actor::token("anna"), rule_id(1));
    let upload = host.push_plugin(plugin(), component(TRAPS, 1), &by);
    let edit = async {
        while !folder.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let edited = host.set_rule_enabled(&rule, false, None, &by);
        let edited = tokio::time::timeout(PATIENCE / 2, edited).await;
        std::fs::write(folder.join("go"), "").unwrap();
        edited
    };
    let (upload, edited) = tokio::join!(upload, edit);
    edited.unwrap().unwrap();
    assert!(!host.intent.load().rules[&rule].draft.enabled);
    assert_eq!(upload.unwrap_err().code, ControlCode::CompilerFailed);
    assert!(host.plugins().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_twice_at_once_are_one_version() {
    let host = Host::start(1).await;
    let by = Actor::token("anna");
    let push = async || {
        let pushed = host.push_plugin(plugin(), component(TRAPS, 1), &by).await;
        let (view, is_new) = pushed.unwrap();
        (view.version, is_new)
    };
    let (one, two) = tokio::join!(push(), push());
    assert_eq!((one.0, two.0), (1, 1));
    assert!(one.1 != two.1, "each of them made the version");
    // Others get the numbers after it, each its own.
    let other = async |label| {
        host.push_plugin(plugin(), component(TRAPS, label), &by)
            .await
    };
    let (two, three) = tokio::join!(other(2), other(3));
    let mut versions = [two.unwrap().0.version, three.unwrap().0.version];
    versions.sort_unstable();
    assert_eq!(versions, [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_no_code_behind() {
    let host = Host::start(1).await;
    let by = Actor::token("anna");
    let before = host.reloader.kept();
    let case = Case {
        name: "it skips".to_owned(),
        config: None,
        event: EventIn::default(),
        message: Vec::new(),
        skipped: true,
        rejected: None,
        retry: None,
        config_refused: None,
    };
    for label in 1..=3 {
        let bytes = with_cases(&component(TRAPS, label), std::slice::from_ref(&case)).unwrap();
        let refused = host.push_plugin(plugin(), bytes.clone(), &by).await;
        assert_eq!(refused.unwrap_err().code, ControlCode::CanaryFailed);
        host.stage_component(bytes).await.unwrap_err();
        assert_eq!(host.reloader.kept(), before);
    }
    // Neither does what is only tried, or only uploaded for later.
    let digest = host.stage_component(component(TRAPS, 1)).await.unwrap();
    assert_eq!(host.reloader.kept(), before);
    let mut draft = draft(1);
    draft.mapping.plugin = plugin();
    let declaration = || Declaration {
        groups: Vec::new(),
        plugins: vec![(plugin(), digest)],
        rules: vec![DeclaredRule {
            draft: AnyRuleDraft::Status(draft.clone()),
            warnings: Vec::new(),
            file: None,
        }],
        is_pruning: false,
        is_forced: true,
        scope: ApplyScope::Operator,
    };
    let plan = host.apply(declaration(), true, &by).await.unwrap();
    assert_eq!(plan.changes.len(), 2, "{plan:?}");
    assert_eq!(host.reloader.kept(), before);
    host.apply(declaration(), false, &by).await.unwrap();
    assert_eq!(host.reloader.kept(), (1, 1));
    // What is used stays through a change that is refused.
    draft.mapping.limits.memory_bytes_max = Some(u64::MAX);
    let edit = AnyRuleDraft::Status(draft);
    let refused = host.replace_rule(edit, EditTerms::default(), &by).await;
    assert_eq!(refused.unwrap_err().code, ControlCode::InvalidRule);
    assert_eq!(host.reloader.kept(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_versions_as_there_may_be_are_not_exceeded() {
    let host = Host::start(1).await;
    let by = Actor::token("anna");
    host.push_plugin(plugin(), component(TRAPS, 1), &by)
        .await
        .unwrap();
    let first = host.intent.load().plugins[&plugin()][0].clone();
    let known: usize = host.intent.load().plugins.values().map(Vec::len).sum();
    let filled: Result<(), store::WriteMetaError> = host.meta.write(|tx| {
        (known..VERSIONS_MAX).try_for_each(|number| {
            let mut record = first.clone();
            record.name = PluginName::parse("many").unwrap();
            record.version = u32::try_from(number).unwrap();
            record.digest = PluginDigest([7; 32]);
            tx.put_plugin(&record, b"")
        })
    });
    filled.unwrap();
    // What was written beside it is seen with the next change.
    let edited = host.set_rule_enabled(&rule_id(1), false, None, &by).await;
    edited.unwrap();
    let refused = host.push_plugin(plugin(), component(TRAPS, 2), &by).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, ControlCode::TooManyVersions);
    assert!(refused.message.contains("rulemill plugin delete"));
    let digest = host.stage_component(component(TRAPS, 2)).await.unwrap();
    let declaration = Declaration {
        groups: Vec::new(),
        plugins: vec![(plugin(), digest)],
        rules: Vec::new(),
        is_pruning: false,
        is_forced: false,
        scope: ApplyScope::Operator,
    };
    let refused = host.apply(declaration, false, &by).await.unwrap_err();
    assert_eq!(refused.first.error.code, ControlCode::TooManyVersions);
    // What is there already is no new version.
    let again = host.push_plugin(plugin(), component(TRAPS, 1), &by).await;
    assert!(!again.unwrap().1);
}
