//! Pushes beside other changes: whoever edits a rule does not wait for a compiler.

use std::path::Path;
use std::time::Duration;

use domain::{Actor, PluginName};
use plugin_runtime::{ChildCompiler, CodeConfig, CompileLimits, Compiler};

use super::{Host, PATIENCE, rule_id};
use crate::control::ControlCode;
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
