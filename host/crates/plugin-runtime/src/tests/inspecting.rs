//! What is refused before anything runs, and by what name.

use super::fixture::{ACCEPT, component, config, runtime, text};
use crate::{CompilePluginError, InspectPluginError, RuntimeConfig};

fn inspect(bytes: &[u8]) -> InspectPluginError {
    runtime(config()).inspect(bytes).unwrap_err()
}

fn compile(text: &str) -> CompilePluginError {
    runtime(config())
        .compile(&wat::parse_str(text).unwrap())
        .unwrap_err()
}

#[test]
fn a_good_component_shows_its_face() {
    let bytes = component(ACCEPT, ACCEPT);
    let facts = runtime(config()).inspect(&bytes).unwrap();
    assert_eq!(facts.imports.len(), 5);
    assert_eq!(facts.imports[0], "rulemill:rule/metrics@1.0.0");
    assert!(
        facts
            .exports
            .contains(&"rulemill:rule/status-mapper@1.0.0".to_owned())
    );
    assert_eq!(facts.size_bytes, bytes.len());
    let plugin = runtime(config()).compile(&bytes).unwrap();
    assert_eq!(*plugin.facts(), facts);
}

#[test]
fn a_file_over_the_limit_is_not_even_read() {
    let config = RuntimeConfig {
        component_bytes_max: 3,
        ..config()
    };
    let error = runtime(config).inspect(b"\0asm").unwrap_err();
    assert_eq!(
        error,
        InspectPluginError::TooLarge {
            bytes: 4,
            bytes_max: 3
        }
    );
}

#[test]
fn what_is_no_component_is_told_what_it_is() {
    let whole = component(ACCEPT, ACCEPT);
    let core_module = wat::parse_str("(module)").unwrap();
    for (bytes, words) in [
        (&b""[..], "empty"),
        (b"#!/bin/sh", "text file"),
        (b"\x80\0", "magic"),
        (b"\0asm", "cut off"),
        (core_module.as_slice(), "core module"),
        (&whole[..whole.len() / 2], "cut off"),
        (&whole[..whole.len() - 1], "cut off"),
    ] {
        let error = inspect(bytes);
        assert_eq!(error.kind(), "not_a_component");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_component_without_the_contract_is_told_what_it_lacks() {
    let nothing = wat::parse_str("(component)").unwrap();
    let old = text(ACCEPT, ACCEPT).replace("rule/status-mapper@1.0.0", "rule/status-mapper@0.9.0");
    let newer = text(ACCEPT, ACCEPT).replace("rule/metrics@1.0.0", "rule/metrics@2.0.0");
    for (bytes, words) in [
        (nothing, "does not export rulemill:rule/lifecycle@1.x"),
        (
            wat::parse_str(old).unwrap(),
            "exports rulemill:rule/status-mapper@0.9.0",
        ),
        (
            wat::parse_str(newer).unwrap(),
            "imports rulemill:rule/metrics@2.0.0",
        ),
    ] {
        let error = inspect(&bytes);
        assert_eq!(error.kind(), "unsupported_contract");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_later_minor_version_of_the_contract_is_served() {
    let later =
        text(ACCEPT, ACCEPT).replace("rule/status-mapper@1.0.0", "rule/status-mapper@1.3.0");
    let later = later.replace("rule/metrics@1.0.0", "rule/metrics@1.0.7");
    let error = runtime(config())
        .compile(&wat::parse_str(later).unwrap())
        .err();
    assert_eq!(error, None);
}

#[test]
fn a_forbidden_import_is_named() {
    let import = r#"(component (import "wasi:sockets/tcp@0.2.9" (instance)) (import "#;
    let text = text(ACCEPT, ACCEPT).replacen("(component \n    (import ", import, 1);
    let error = inspect(&wat::parse_str(text).unwrap());
    assert_eq!(
        error,
        InspectPluginError::ForbiddenImport {
            names: "wasi:sockets/tcp@0.2.9".to_owned()
        }
    );
}

#[test]
fn functions_of_other_types_are_another_contract() {
    let other_import =
        text(ACCEPT, ACCEPT).replace(r#"(param "delta" u64)"#, r#"(param "delta" s64)"#);
    let other_export = text(ACCEPT, ACCEPT).replace(r#""retry" string"#, r#""later" string"#);
    let no_function = text(ACCEPT, ACCEPT).replace(r#"(export "map-event" (func $map-event))"#, "");
    for text in [other_import, other_export, no_function] {
        let error = compile(&text);
        assert_eq!(error.kind(), "unsupported_contract", "{error}");
    }
}

#[test]
fn what_the_compiler_refuses_is_no_component() {
    let text = text(ACCEPT, "(i64.const 0)");
    assert_eq!(compile(&text).kind(), "not_a_component");
}
