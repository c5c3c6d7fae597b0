//! Every hostile component against the runtime: each gets exactly its outcome, in its words, and the
//! events around it do not notice.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use domain::{ChannelFacts, ClientId, Mapping, MappingLimits, RejectEvent, StatusEvent};
use hostile_components::{Hostile, Outcome, trigger_client_id};

use super::fixture::{config, plain, runtime, spec};
use crate::{MapperFault, MapperSpec, PluginRuntime, PrepareMapperError, RuntimeConfig};

/// The limits of a host that nobody configured, but for the start of an instance.
fn as_a_host() -> RuntimeConfig {
    RuntimeConfig {
        mapper_threads: NonZeroUsize::MIN,
        memory_bytes_max: 16 << 20,
        memory_total_bytes_max: 1 << 30,
        init_deadline: Duration::from_millis(200),
        output_bytes_max: 3 << 20,
        component_bytes_max: 32 << 20,
        ..config()
    }
}

fn setting_off() -> Arc<StatusEvent> {
    let event = plain();
    let client_id = ClientId::parse(&trigger_client_id("GID_Hostile")).unwrap();
    Arc::new(StatusEvent {
        channel: Arc::new(ChannelFacts {
            group_id: client_id.group(),
            client_id,
            ..(*event.channel).clone()
        }),
        ..(*event).clone()
    })
}

/// What became of it, and what was said.
async fn outcome(runtime: &PluginRuntime, case: &Hostile) -> (Outcome, String) {
    let plugin = match runtime.compile(&case.bytes) {
        Ok(plugin) => plugin,
        Err(error) => {
            let code = match error.kind() {
                "too_large" => "component_too_large",
                other => other,
            };
            return (Outcome::Refused(code), error.to_string());
        }
    };
    if let Err(failed) = runtime.run_own_cases(&plugin) {
        let text = format!("{failed}; see `rulemill plugin test`");
        return (Outcome::Refused("canary_failed"), text);
    }
    let limits = MappingLimits {
        memory_bytes_max: case.memory_bytes,
        // A development build takes some 10 ms for some megabytes: what is not about time gets more.
        call_deadline_ms: (case.outcome != Outcome::Fault("deadline")).then_some(100),
    };
    let mapper = match runtime.prepare(&plugin, MapperSpec { limits, ..spec() }) {
        Ok(mapper) => mapper,
        Err(error) => {
            let outcome = match &error {
                PrepareMapperError::ConfigRefused { .. } => {
                    Outcome::RuleRefused("plugin_config_refused")
                }
                PrepareMapperError::CanaryFailed { .. } => Outcome::Refused("canary_failed"),
                other @ (PrepareMapperError::LimitTooHigh { .. }
                | PrepareMapperError::HostBusy { .. }) => panic!("{}: {other}", case.name),
            };
            return (outcome, error.to_string());
        }
    };
    let events = vec![plain(), setting_off(), plain(), setting_off(), plain()];
    let verdicts = runtime.map(&mapper, events).await;
    for index in [0, 2, 4] {
        assert!(
            matches!(verdicts[index], Ok(Mapping::Deliver(_))),
            "{}: the event beside it: {:?}",
            case.name,
            verdicts[index]
        );
    }
    let verdict = |index: usize| match &verdicts[index] {
        Ok(Mapping::Deliver(_)) => (Outcome::Harmless, String::new()),
        Ok(Mapping::Reject(RejectEvent::Rejected(reason))) => (Outcome::Rejected, reason.clone()),
        Ok(Mapping::Reject(RejectEvent::Retry(reason))) => (Outcome::Retried, reason.clone()),
        Err(fault) => (Outcome::Fault(fault.kind()), fault.to_string()),
    };
    assert_eq!(verdict(1), verdict(3), "{}: once so, once so", case.name);
    verdict(1)
}

#[tokio::test]
async fn each_hostile_component_gets_exactly_its_outcome() {
    let runtime = runtime(as_a_host());
    let mut wrong = Vec::new();
    for case in hostile_components::all() {
        // What takes minutes or gigabytes is compiled in a child of the whole host only.
        if case.outcome == Outcome::CompilerStopped {
            continue;
        }
        let (outcome, text) = outcome(&runtime, &case).await;
        let missing: Vec<_> = case
            .words
            .iter()
            .filter(|words| !text.contains(**words))
            .collect();
        if outcome != case.outcome || !missing.is_empty() {
            wrong.push(format!(
                "{}: {outcome:?}, not {:?}; missing {missing:?} in: {text}",
                case.name, case.outcome
            ));
        }
        if text.len() > 4096
            || text.contains('\n') && matches!(outcome, Outcome::Refused(_) | Outcome::Fault(_))
        {
            wrong.push(format!(
                "{}: no short line: {} bytes",
                case.name,
                text.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn compiled_code_is_told_from_a_program() {
    let engine = wasmtime::Engine::new(&crate::engine::settings()).unwrap();
    let code = engine
        .precompile_component(&hostile_components::good())
        .unwrap();
    let error = runtime(as_a_host()).inspect(&code).unwrap_err();
    assert!(error.to_string().contains(".cwasm"), "{error}");
}

#[tokio::test]
async fn a_trap_names_the_same_event_by_the_same_fingerprint() {
    let runtime = runtime(as_a_host());
    let all = hostile_components::all();
    let case = all.iter().find(|case| case.name == "map-traps").unwrap();
    let plugin = runtime.compile(&case.bytes).unwrap();
    let mapper = runtime.prepare(&plugin, spec()).unwrap();
    let other = Arc::new(StatusEvent {
        time_ms: 2,
        ..(*setting_off()).clone()
    });
    let verdicts = runtime
        .map(&mapper, vec![setting_off(), setting_off(), other])
        .await;
    let text = |index: usize| match &verdicts[index] {
        Err(MapperFault::Trap { detail }) => detail.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(0), text(1));
    assert_ne!(text(0), text(2));
    assert!(!text(0).contains("GID_Hostile"), "{}", text(0));
    // The place: both functions are on the stack, the innermost first.
    assert!(text(0).contains("at "), "{}", text(0));
}
