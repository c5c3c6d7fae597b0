//! What a plugin may say of the attributes that it reads, and what becomes of what it may not.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::fixture::{config, plain, runtime, spec};
use crate::{
    CompilePluginError, CompiledPlugin, MapperInstance, PluginRuntime, PrepareMapperError,
};

/// Three names, as they lie in memory.
const NAMES: &str = r#""\01\00\00\00\c0\04\00\00\03\00\00\00""#;

/// The plugin of the contract's fixture, which names three attributes, with `from` as `to`.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let place = "../../../tests/fixtures/contracts/attributes-1.0.0/bare.wat";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(place)).unwrap();
    assert!(text.contains(from), "{from}");
    wat::parse_str(text.replace(from, to)).unwrap()
}

fn compiled(
    from: &str,
    to: &str,
) -> (
    Arc<PluginRuntime>,
    Result<Arc<CompiledPlugin>, CompilePluginError>,
) {
    let runtime = runtime(config());
    let plugin = runtime.compile(&edited(from, to));
    (runtime, plugin)
}

#[track_caller]
fn refusal(from: &str, to: &str) -> String {
    let (runtime, plugin) = compiled(from, to);
    match runtime.prepare(&plugin.unwrap(), spec()) {
        Err(PrepareMapperError::CanaryFailed { detail }) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_selection_that_fails_is_a_fault_of_the_start() {
    let detail = refusal(
        "(func (export \"names\") (result i32)",
        "(func (export \"names\") (result i32) unreachable",
    );
    assert!(detail.contains("in init"), "{detail}");
    assert!(detail.contains("unreachable"), "{detail}");
}

#[test]
fn a_selection_has_limits() {
    let detail = refusal(NAMES, r#""\01\00\00\00\c0\04\00\00\41\00\00\00""#);
    assert!(
        detail.contains("it names 65 attributes that it reads; the limit is 64"),
        "{detail}"
    );

    let long = refusal(
        r"\00\08\00\00\08\00\00\00\08",
        r"\00\08\00\00\41\00\00\00\08",
    );
    assert!(
        long.contains("an attribute of 65 bytes; the limit is 64"),
        "{long}"
    );

    let flood = refusal(NAMES, r#""\01\00\00\00\00\20\00\00\70\17\00\00""#);
    assert!(
        flood.contains("it names 6000 attributes that it reads; the limit is 64"),
        "{flood}"
    );

    let outside = refusal(NAMES, r#""\01\00\00\00\00\00\00\7f\03\00\00\00""#);
    assert!(outside.contains("no value of the contract"), "{outside}");
}

#[test]
fn a_selection_of_another_type_is_refused_by_its_name() {
    for (from, to, said) in [
        (
            "(func $names (result (option (list string)))",
            "(func $names (result (list string))",
            "names has another type",
        ),
        (
            "(export \"names\" (func $names))",
            "(export \"other\" (func $names))",
            "does not have export `names`",
        ),
    ] {
        let (_, plugin) = compiled(from, to);
        let error = plugin.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_selection_of_a_later_contract_is_not_asked_for() {
    let (runtime, plugin) = compiled(
        "rulemill:attributes/selection@1.0.0",
        "rulemill:attributes/selection@2.0.0",
    );
    let mapper = runtime.prepare(&plugin.unwrap(), spec()).unwrap();
    let mapped = MapperInstance::new(&mapper).unwrap().map(&plain()).unwrap();
    let domain::Mapping::Deliver(messages) = mapped else {
        panic!("{mapped:?}");
    };
    let names: Vec<_> = messages[0]
        .properties
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        names.contains(&"listener") && names.contains(&"node"),
        "{names:?}"
    );
}
