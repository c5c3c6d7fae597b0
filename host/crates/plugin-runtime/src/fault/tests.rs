//! Which faults may be the host's, and that each is told with its remedy and has its entry.

use domain::CheckMessageError;

use super::{CallPhase, MapperFault, MemoryScope, place_in};

const MANUAL: &str = include_str!("../../../../manual/faults.md");

fn all() -> Vec<MapperFault> {
    let deadline = |is_cpu_time, phase| MapperFault::Deadline {
        deadline_ms: 10,
        is_cpu_time,
        phase,
        place: String::new(),
    };
    let memory = |scope| MapperFault::Memory {
        bytes: 2,
        bytes_max: 1,
        scope,
    };
    let detail = String::new;
    vec![
        deadline(true, CallPhase::Init),
        deadline(false, CallPhase::MapEvent),
        memory(MemoryScope::Instance),
        memory(MemoryScope::Host),
        MapperFault::Trap { detail: detail() },
        MapperFault::OutputTooLarge { detail: detail() },
        MapperFault::Init { detail: detail() },
        MapperFault::IllegalMessage(CheckMessageError::EmptyBody),
    ]
}

#[test]
fn only_what_the_host_lacked_may_be_load() {
    let load: Vec<bool> = all().iter().map(MapperFault::may_be_load).collect();
    assert_eq!(load, [false, true, false, true, false, false, false, false]);
}

#[test]
fn every_kind_has_its_entry_in_the_manual() {
    for kind in MapperFault::KINDS {
        assert!(all().iter().any(|fault| fault.kind() == kind), "{kind}");
        assert!(MANUAL.contains(&format!("\n### `{kind}`\n")), "{kind}");
    }
}

#[test]
fn every_code_of_a_refused_upload_has_its_entry_in_the_manual() {
    let codes = [
        "component_too_large",
        "not_a_component",
        "unsupported_contract",
        "forbidden_import",
        "compile_limit_exceeded",
        "compiler_failed",
        "canary_failed",
        "plugin_config_refused",
    ];
    for code in codes {
        assert!(MANUAL.contains(&format!("\n### `{code}`\n")), "{code}");
    }
}

#[test]
fn a_key_of_megabytes_makes_no_message_of_megabytes() {
    let key = "x y".repeat(1 << 20);
    let fault = MapperFault::IllegalMessage(CheckMessageError::BlankInKey { key });
    assert!(fault.to_string().len() < 4096);
}

#[test]
fn a_place_is_the_innermost_functions_by_name() {
    let text = "error while executing at wasm backtrace:\n    \
         0:   0x1f2 - plugin.wasm!core::panicking::panic_fmt::h0123456789abcdef\n    \
         1:    0x7e - <unknown>!<wasm function 17>\n    \
         2:     0x9 - plugin.wasm!map_event\n";
    let place = place_in(text).unwrap();
    assert_eq!(
        place,
        "at core::panicking::panic_fmt < function 17 < map_event"
    );
    assert_eq!(place_in("wasm backtrace:"), None);
}

#[test]
fn a_deep_place_with_long_names_is_bounded() {
    let name = "generic<".repeat(1000);
    let text: String = (0..500)
        .map(|it| format!("{it}: 0x1 - m!{name}\n"))
        .collect();
    let place = place_in(&text).unwrap();
    assert!(place.ends_with(" < 492 more"), "{place}");
    assert!(place.len() < 8 * 160, "{}", place.len());
    let fault = MapperFault::Trap { detail: place };
    assert!(fault.brief().len() <= 500, "{}", fault.brief().len());
}
