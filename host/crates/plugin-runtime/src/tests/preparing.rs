//! The canary and the limits of a rule.

use std::time::Duration;

use domain::MappingLimits;

use serde_json::json;

use super::fixture::{ACCEPT, PAGE, component, config, magic, plain, runtime, spec};
use crate::{
    Answer, Case, ChildCompiler, CodeCacheConfig, CodeConfig, CompileLimits, Compiler,
    MapperInstance, MapperSpec, MapperUsage, PluginRuntime, PrepareMapperError, RuntimeConfig,
    with_cases,
};

fn prepare(init: &str, spec: MapperSpec) -> Option<PrepareMapperError> {
    let runtime = runtime(config());
    let plugin = runtime.compile(&component(init, "unreachable")).unwrap();
    runtime.prepare(&plugin, spec).err()
}

fn canary(init: &str, words: &str) {
    let error = prepare(init, spec()).unwrap();
    assert_eq!(error.kind(), "canary_failed");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_refused_configuration_is_told_in_the_plugins_words() {
    let error = prepare("(i32.const 1180)", spec()).unwrap();
    assert_eq!(
        error,
        PrepareMapperError::ConfigRefused {
            reason: "x".to_owned()
        }
    );
}

#[test]
fn a_plugin_that_misbehaves_in_init_fails_its_canary() {
    canary("unreachable", "unreachable");
    canary("(loop (br 0)) unreachable", "deadline");
    canary(
        "(drop (memory.grow (i32.const 16))) (i32.const 0)",
        "memory",
    );
}

#[test]
fn a_sample_that_the_plugin_cannot_map_fails_its_canary() {
    assert_eq!(prepare(ACCEPT, spec()), None);
    let error = prepare(
        ACCEPT,
        MapperSpec {
            samples: vec![magic()],
            ..spec()
        },
    )
    .unwrap();
    assert!(
        error
            .to_string()
            .contains("on a connect event with the configuration {}: the plugin trapped"),
        "{error}"
    );
}

#[test]
fn a_rule_may_not_ask_for_more_than_the_maxima() {
    let with = |memory_bytes_max, call_deadline_ms| MapperSpec {
        limits: MappingLimits {
            memory_bytes_max,
            call_deadline_ms,
        },
        ..spec()
    };
    assert_eq!(prepare(ACCEPT, with(Some(256 << 20), Some(100))), None);
    for limits in [with(Some((256 << 20) + 1), None), with(None, Some(101))] {
        assert_eq!(prepare(ACCEPT, limits).unwrap().kind(), "limit_too_high");
    }
}

#[test]
fn a_rule_may_have_less_memory_than_the_default() {
    let limits = MappingLimits {
        memory_bytes_max: Some(1),
        call_deadline_ms: None,
    };
    let error = prepare(ACCEPT, MapperSpec { limits, ..spec() }).unwrap();
    assert!(
        error
            .to_string()
            .contains("65536 bytes; the limit of an instance is 1"),
        "{error}"
    );
}

#[test]
fn an_instance_without_a_thread_maps_until_its_first_fault() {
    let runtime = runtime(config());
    let mapper = super::fixture::mapper(&runtime, "unreachable");
    let mut instance = MapperInstance::new(&mapper).unwrap();
    assert_eq!(instance.memory_bytes(), PAGE);
    assert!(instance.map(&plain()).is_ok());
    assert!(instance.map(&magic()).is_err());
    assert!(instance.map(&plain()).is_err());
}

#[test]
fn a_cached_plugin_needs_no_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let code = || CodeConfig {
        // A compiler that fails: only the cache can answer.
        compiler: Compiler::Child(ChildCompiler {
            program: "/nonexistent".into(),
            args: Vec::new(),
            limits: CompileLimits {
                memory_bytes_max: 1 << 30,
                cpu_seconds_max: 10,
            },
            wall_clock_max: Duration::from_secs(60),
            function_bytes_max: 0,
        }),
        cache: Some(CodeCacheConfig {
            folder: folder.path().join("compiled"),
            key_file: folder.path().join("key"),
            bytes_max: 1 << 30,
        }),
    };
    let bytes = component(ACCEPT, "(i32.const 1024)");
    let without = PluginRuntime::start_with(config(), code()).unwrap();
    let error = without.compile(&bytes).unwrap_err();
    assert_eq!(error.kind(), "compiler_failed", "{error}");
    let with_compiler = CodeConfig {
        compiler: Compiler::InProcess,
        ..code()
    };
    let with = PluginRuntime::start_with(config(), with_compiler).unwrap();
    with.compile(&bytes).unwrap();
    let plugin = without.compile(&bytes).unwrap();
    assert_eq!(without.code_cache_stats().hits, 1);
    without.prepare(&plugin, spec()).unwrap();
}

#[test]
fn a_compiler_that_gets_nowhere_is_ended() {
    let limits = CompileLimits {
        memory_bytes_max: 1 << 30,
        cpu_seconds_max: 20,
    };
    assert_eq!(limits.wall_clock_max(), Duration::from_secs(100));
    let least = CompileLimits {
        cpu_seconds_max: 1,
        ..limits
    };
    assert_eq!(least.wall_clock_max(), Duration::from_secs(60));
    // It neither reads the component, nor uses CPU time, nor ends.
    let code = CodeConfig {
        compiler: Compiler::Child(ChildCompiler {
            program: "/bin/sh".into(),
            args: ["-c", "exec sleep 600"].map(Into::into).to_vec(),
            limits,
            wall_clock_max: Duration::from_millis(300),
            function_bytes_max: 0,
        }),
        cache: None,
    };
    let runtime = PluginRuntime::start_with(config(), code).unwrap();
    let error = runtime
        .compile(&component(ACCEPT, "(i32.const 1024)"))
        .unwrap_err();
    assert_eq!(error.kind(), "compile_limit_exceeded", "{error}");
    let text = error.to_string();
    for words in [
        "longer than 0.3 s",
        "plugins.compile-time",
        "busy",
        "push it again later",
    ] {
        assert!(text.contains(words), "no {words:?} in: {text}");
    }
}

#[tokio::test]
async fn warm_instances_make_room_for_a_plugin_that_is_tried() {
    let runtime = runtime(RuntimeConfig {
        memory_total_bytes_max: PAGE,
        ..config()
    });
    let warm = super::fixture::mapper(&runtime, "unreachable");
    let fill = async || {
        assert!(runtime.map(&warm, vec![plain()]).await[0].is_ok());
        assert_eq!(warm.core.budget.used(), PAGE);
    };
    let bytes = component(ACCEPT, "(i32.const 1024)");
    let case: Case = serde_json::from_value(json!({ "name": "a", "message": [{}] })).unwrap();
    let bytes = with_cases(&bytes, std::slice::from_ref(&case)).unwrap();
    let plugin = runtime.compile(&bytes).unwrap();
    fill().await;
    runtime.prepare(&plugin, spec()).unwrap();
    fill().await;
    assert_eq!(runtime.run_own_cases(&plugin), Ok(1));
    fill().await;
    let trial = runtime.try_event(&plugin, spec(), &plain()).unwrap();
    assert!(matches!(trial.answer, Answer::Mapped(_)), "{trial:?}");
}

#[tokio::test]
async fn warm_instances_make_room_for_what_is_tried_and_grows() {
    let runtime = runtime(RuntimeConfig {
        memory_total_bytes_max: 2 * PAGE,
        ..config()
    });
    let warm = super::fixture::mapper(&runtime, "unreachable");
    assert!(runtime.map(&warm, vec![plain()]).await[0].is_ok());
    let grows = "(drop (memory.grow (i32.const 1))) (i32.const 1024)";
    let plugin = runtime.compile(&component(ACCEPT, grows)).unwrap();
    let samples = vec![magic()];
    runtime
        .prepare(&plugin, MapperSpec { samples, ..spec() })
        .unwrap();
}

#[test]
fn what_the_host_lacks_is_no_fault_of_the_plugin() {
    let runtime = runtime(RuntimeConfig {
        memory_total_bytes_max: PAGE - 1,
        ..config()
    });
    let bytes = component(ACCEPT, "(i32.const 1024)");
    let case: Case = serde_json::from_value(json!({ "name": "a", "message": [{}] })).unwrap();
    let plugin = runtime
        .compile(&with_cases(&bytes, &[case]).unwrap())
        .unwrap();
    let error = runtime.prepare(&plugin, spec()).unwrap_err();
    assert_eq!(error.kind(), "host_busy", "{error}");
    assert!(
        error.to_string().contains("memory of all plugins"),
        "{error}"
    );
    assert!(runtime.run_own_cases(&plugin).unwrap_err().is_host_busy);
}

#[tokio::test]
async fn what_the_canary_counts_and_logs_is_none_of_the_rule_s() {
    let runtime = runtime(config());
    let init = "(call $add) (i32.const 0)";
    let plugin = runtime
        .compile(&component(init, "(i32.const 1024)"))
        .unwrap();
    let mapper = runtime.prepare(&plugin, spec()).unwrap();
    assert_eq!(mapper.usage(), MapperUsage::default());
    runtime.map(&mapper, vec![plain()]).await;
    assert_eq!(mapper.usage().counters, [("x".to_owned(), 1)]);
}
