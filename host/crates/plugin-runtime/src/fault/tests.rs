//! Which faults may be the host's, and that each is told with its remedy and has its entry.

use domain::CheckMessageError;

use super::place::place_in;
use super::{CallPhase, CountedPart, MapperFault, MemoryScope};

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
        MapperFault::NoPlace { places: 2048 },
        MapperFault::Trap { detail: detail() },
        MapperFault::OutputTooLarge { detail: detail() },
        MapperFault::Init { detail: detail() },
        MapperFault::TooManyParts {
            part: CountedPart::Memory,
            count: 11,
        },
        MapperFault::IllegalMessage(CheckMessageError::EmptyBody),
    ]
}

#[test]
fn only_what_the_host_lacked_may_be_load() {
    let load: Vec<bool> = all().iter().map(MapperFault::may_be_load).collect();
    assert_eq!(
        load,
        [
            false, true, false, true, true, false, false, false, false, false
        ]
    );
}

#[test]
fn what_is_said_has_no_gaps() {
    for fault in all() {
        let said = fault.to_string();
        assert!(!said.contains("  "), "{said}");
    }
}

#[test]
fn every_kind_has_its_entry_in_the_manual() {
    for kind in MapperFault::KINDS {
        assert!(all().iter().any(|fault| fault.kind() == kind), "{kind}");
        assert!(MANUAL.contains(&format!("\n### `{kind}`\n")), "{kind}");
    }
}

#[test]
fn too_many_parts_are_told_with_their_limit_and_their_remedy() {
    for (reason, told) in [
        (
            "memory count too high at 11",
            "at least 11 memories, the limit is 10; have fewer modules in the component, or fewer memories in them",
        ),
        (
            "table count too high at 51",
            "at least 51 tables, the limit is 50; have fewer modules in the component, or fewer tables in them",
        ),
        (
            "instance count too high at 101",
            "at least 101 core instances, the limit is 100; have fewer modules in the component, or instantiate them less often",
        ),
    ] {
        let reason = format!("resource limit exceeded: {reason}");
        let (part, count) = CountedPart::exceeded(&reason).unwrap();
        let fault = MapperFault::TooManyParts { part, count };
        assert_eq!(fault.kind(), "init");
        assert!(fault.to_string().contains(told), "{fault}");
        let listed = format!("{} {part}", part.count_max());
        assert!(MANUAL.contains(&listed), "{listed}");
    }
    assert_eq!(CountedPart::exceeded("wasm trap: unreachable"), None);
    assert_eq!(
        CountedPart::exceeded("resource limit exceeded: stack count too high at 2"),
        None
    );
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

/// A backtrace as the engine writes it.
fn backtrace(names: &[&str]) -> String {
    let frames = names.iter().enumerate();
    let lines = frames.map(|(number, name)| format!("   {number:>2}:   0x1f2 - {name}\n"));
    let lines: String = lines.collect();
    format!("error while executing at wasm backtrace:\n{lines}")
}

#[test]
fn a_place_is_the_innermost_functions_by_name() {
    let text = backtrace(&[
        "plugin.wasm!plugin::broken::h0123456789abcdef",
        "<unknown>!<wasm function 17>",
        "plugin.wasm!map_event",
    ]);
    let place = place_in(&text).unwrap();
    assert_eq!(place, "at plugin::broken < function 17 < map_event");
    assert_eq!(place_in("wasm backtrace:"), None);
}

#[test]
fn the_way_of_a_panic_out_of_a_function_is_left_out() {
    // What Rust 1.97 leaves on the stack.
    let text = backtrace(&[
        "p.wasm!abort",
        "p.wasm!std[85c6cda83d22a5b5]::sys::pal::wasi::abort_internal",
        "p.wasm!std[85c6cda83d22a5b5]::process::abort",
        "p.wasm!__rustc[6c289b9f9c454d21]::__rust_abort",
        "p.wasm!__rustc[6c289b9f9c454d21]::__rust_start_panic",
        "p.wasm!__rustc[6c289b9f9c454d21]::rust_panic",
        "p.wasm!std[85c6cda83d22a5b5]::panicking::begin_panic_handler::{closure#0}",
        "p.wasm!core[4a1ab6b9f2d1f3a7]::panicking::panic_fmt",
        "p.wasm!<core[4a1ab6b9f2d1f3a7]::option::Option<u8>>::unwrap",
        "p.wasm!<alloc[4a1]::vec::Vec<u8> as core[4a1ab6b9f2d1f3a7]::ops::Index<usize>>::index",
        "p.wasm!hostile_plugin[f3f8f4e7d5a64a4a]::trap::<[f32]>",
        "p.wasm!core[4a1ab6b9f2d1f3a7]::iter::map",
        "p.wasm!rulemill:rule/status-mapper@1.0.0#map-event",
    ]);
    assert_eq!(
        place_in(&text).unwrap(),
        "at hostile_plugin::trap::<[f32]> < core::iter::map < rulemill:rule/status-mapper@1.0.0#map-event"
    );
}

#[test]
fn a_trait_of_the_author_for_a_type_of_the_library_is_the_authors() {
    let name = "<alloc::vec::Vec<u8> as plugin::Fields>::first";
    let text = backtrace(&[&format!("p.wasm!{name}"), "p.wasm!map_event"]);
    assert_eq!(place_in(&text).unwrap(), format!("at {name} < map_event"));
}

#[test]
fn a_place_in_nothing_but_the_library_is_told() {
    let text = backtrace(&["p.wasm!abort", "p.wasm!std::process::abort"]);
    assert_eq!(place_in(&text).unwrap(), "at abort < std::process::abort");
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
