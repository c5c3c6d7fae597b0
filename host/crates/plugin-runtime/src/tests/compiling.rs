//! The compiler's process as others make it behave, and what becomes of a host whose cache cannot be used.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::fixture::{ACCEPT, component, config, runtime, text};
use crate::{
    Case, ChildCompiler, CodeCacheConfig, CodeCacheStats, CodeConfig, CompileLimits,
    CompilePluginError, Compiler, PluginRuntime, with_cases,
};

const WALL_CLOCK_MAX: Duration = Duration::from_secs(60);

/// A runtime whose compiler is a script of the shell.
fn with_compiler(script: &str) -> Arc<PluginRuntime> {
    let code = CodeConfig {
        compiler: Compiler::Child(ChildCompiler {
            program: "/bin/sh".into(),
            args: ["-c", script].map(Into::into).to_vec(),
            limits: CompileLimits {
                memory_bytes_max: 1 << 30,
                cpu_seconds_max: 10,
            },
            wall_clock_max: WALL_CLOCK_MAX,
            function_bytes_max: 0,
        }),
        cache: None,
    };
    PluginRuntime::start_with(config(), code).unwrap()
}

fn refusal(runtime: &PluginRuntime) -> CompilePluginError {
    let bytes = component(ACCEPT, "(i32.const 1024)");
    runtime.compile(&bytes).unwrap_err()
}

#[test]
fn a_compiler_that_says_more_than_a_pipe_holds_is_heard_out() {
    for (exit, kind) in [
        (3, "not_a_component"),
        (101, "not_a_component"),
        (1, "compiler_failed"),
    ] {
        let script = format!(
            "cat >/dev/null; printf 'its name is '; head -c 1000000 /dev/zero | tr '\\0' '\\n'; printf end; exit {exit}"
        );
        let runtime = with_compiler(&format!("exec 1>&2; {script}"));
        let begun = tokio::time::Instant::now();
        let error = refusal(&runtime);
        assert!(begun.elapsed() < WALL_CLOCK_MAX / 2, "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.contains("its name is"), "{text}");
        assert!(text.len() < 2000 && !text.contains('\n'), "{text}");
    }
}

#[test]
fn one_component_is_compiled_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let busy = folder.path().join("busy");
    // It takes long enough for another one to find it at work.
    let script = format!(
        "cat >/dev/null; mkdir {busy} || exit 1; sleep 0.3; rmdir {busy}; echo refused >&2; exit 3",
        busy = busy.display()
    );
    let runtime = with_compiler(&script);
    thread::scope(|scope| {
        let compiling: Vec<_> = (0..3).map(|_| scope.spawn(|| refusal(&runtime))).collect();
        for one in compiling {
            let error = one.join().unwrap();
            assert_eq!(error.kind(), "not_a_component", "{error}");
        }
    });
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn a_cache_that_cannot_be_used_stops_no_host() {
    type Spoil = fn(&Path, &Path);
    let spoilt: [(&str, Spoil); 4] = [
        ("a file in place of the folder", |folder, _| {
            fs::write(folder, "").unwrap();
        }),
        ("a folder in place of the key", |_, key| {
            fs::create_dir(key).unwrap();
        }),
        ("a pipe in place of the key", |_, key| pipe(key)),
        ("a pipe where the key is written first", |_, key| {
            pipe(&key.with_extension("unfinished"));
        }),
    ];
    for (what, spoil) in spoilt {
        let at = tempfile::tempdir().unwrap();
        let (folder, key_file) = (at.path().join("compiled"), at.path().join("key"));
        spoil(&folder, &key_file);
        let code = CodeConfig {
            compiler: Compiler::InProcess,
            cache: Some(CodeCacheConfig {
                folder,
                key_file,
                bytes_max: 1 << 30,
            }),
        };
        let runtime = PluginRuntime::start_with(config(), code).unwrap();
        let compiled = runtime.compile(&component(ACCEPT, "(i32.const 1024)"));
        assert!(compiled.is_ok(), "{what}");
        assert_eq!(
            runtime.code_cache_stats(),
            CodeCacheStats::default(),
            "{what}"
        );
    }
}

#[test]
fn what_is_said_of_its_own_cases_is_one_short_line() {
    let runtime = runtime(config());
    let good = component(ACCEPT, "(i32.const 1024)");
    let noise = "\n\u{1b}[31mx".repeat(20_000);
    let with = |case: serde_json::Value| {
        let case: Case = serde_json::from_value(case).unwrap();
        runtime
            .compile(&with_cases(&good, &[case]).unwrap())
            .unwrap()
    };
    let failing = [
        json!({ "name": noise, "rejected": noise }),
        // Neither an outcome nor an event that can be.
        json!({ "name": noise }),
        json!({ "name": "a", "skipped": true, "event": { "clientId": noise } }),
        json!({ "name": "a", "skipped": true, "event": { "eventType": noise } }),
        json!({ "name": "a", "message": [{ "properties": { noise.as_str(): "" } }] }),
    ];
    for case in failing {
        let failed = runtime.run_own_cases(&with(case)).unwrap_err();
        let text = failed.to_string();
        assert!(text.len() < 4000, "{} bytes: {text}", text.len());
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

#[test]
fn a_table_that_is_too_large_to_begin_is_told_as_that() {
    let runtime = runtime(config());
    let with_table = |elements: u64| {
        let table = format!("(core module $libc (table {elements} funcref)");
        let text = text(ACCEPT, "unreachable").replace("(core module $libc", &table);
        runtime.compile(&wat::parse_str(text).unwrap())
    };
    let fits = 256 * 1024 * 1024 / 8;
    assert!(with_table(fits).is_ok());
    for elements in [fits + 1, 1 << 31] {
        let error = with_table(elements).unwrap_err();
        assert_eq!(
            (&error, error.kind()),
            (&CompilePluginError::TableTooLarge, "canary_failed")
        );
        assert!(
            error.to_string().contains("let it begin with fewer"),
            "{error}"
        );
    }
}
