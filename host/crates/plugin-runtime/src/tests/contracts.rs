//! Components of every released contract load for ever: those in `tests/fixtures/contracts` take the
//! whole way, and their messages are compared byte by byte. The text of the contract is frozen, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use domain::MappingLimits;

use super::fixture::{config, runtime, spec};
use crate::{Case, MapperSpec, RuntimeConfig};

/// What was frozen: never built again, never replaced.
const FROZEN: [(&str, &str); 3] = [
    (
        "1.0.0/bare.wasm",
        "sha256:eaee00dc6c2a369cacf37622fe30368397a649419e4fc114cc8962eccc94044f",
    ),
    (
        "1.0.0/rust.wasm",
        "sha256:c56711d01f9564a60159140a75ca30c68304c11c69e65e679f04ea49bf0c986c",
    ),
    (
        "attributes-1.0.0/bare.wasm",
        "sha256:9833f0d7cb1df60987f1cbc4e73dfb63ce0dc89d8a80418ef1890ae605b9c3e8",
    ),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn contracts() -> PathBuf {
    workspace().join("tests/fixtures/contracts")
}

/// The limits that users of those days relied on.
fn defaults() -> RuntimeConfig {
    RuntimeConfig {
        memory_bytes_max: 16 << 20,
        memory_total_bytes_max: 1 << 30,
        init_deadline: std::time::Duration::from_secs(1),
        output_bytes_max: 3 << 20,
        ..config()
    }
}

/// The cases of one version by component.
fn cases(version: &Path) -> BTreeMap<String, Vec<Case>> {
    let text = fs::read_to_string(version.join("cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn components_of_every_released_contract_still_map_the_same() {
    let runtime = runtime(defaults());
    for (place, digest) in FROZEN {
        let path = contracts().join(place);
        let (version, name) = (path.parent().unwrap(), path.file_name().unwrap());
        let bytes = fs::read(&path).unwrap();

        let facts = runtime.inspect(&bytes).unwrap();
        assert_eq!(
            facts.digest.to_string(),
            digest,
            "{place} was frozen; it must not be built again"
        );
        let plugin = runtime.compile(&bytes).unwrap();
        assert_eq!(plugin.facts(), &facts, "{place}");

        let cases = cases(version);
        let cases = &cases[name.to_str().unwrap()];
        assert!(cases.len() >= 4, "{place} has few cases");
        // The canary maps one event of each type and these.
        let samples = cases.iter().map(|case| case.event.read().unwrap().into());
        let spec = MapperSpec {
            samples: samples.collect(),
            ..spec()
        };
        runtime.prepare(&plugin, spec).unwrap();
        for case in cases {
            let report = runtime
                .run_case(&plugin, case, MappingLimits::default())
                .unwrap();
            let differences: Vec<_> = report.mismatches.iter().map(ToString::to_string).collect();
            assert!(
                differences.is_empty(),
                "{place}, {}: {}",
                case.name,
                differences.join("; ")
            );
        }
    }
}

#[test]
fn no_released_component_is_forgotten() {
    let mut found = Vec::new();
    for version in fs::read_dir(contracts()).unwrap() {
        let version = version.unwrap().path();
        if !version.is_dir() {
            continue;
        }
        for name in cases(&version).into_keys() {
            let version = version.file_name().unwrap().to_str().unwrap();
            found.push(format!("{version}/{name}"));
        }
    }
    found.sort();
    assert_eq!(found, FROZEN.map(|(place, _)| place));
}

/// Interfaces and worlds of WIT texts, by their first line, without comments, blanks and last commas.
fn items(texts: &[String]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for text in texts {
        let (mut name, mut open) = (String::new(), String::new());
        for line in text.lines() {
            let line = line.split("//").next().unwrap_or_default();
            if open.is_empty() && !line.trim().is_empty() {
                name = line.split_whitespace().take(2).collect();
            }
            open.extend(line.split_whitespace());
            let is_complete = open.matches('{').count() == open.matches('}').count();
            if !open.is_empty() && is_complete {
                all.insert(name.clone(), open.replace(",}", "}"));
                open.clear();
            }
        }
    }
    all
}

/// The items of the package in `folder`, which is in `wit`.
fn present(folder: &str) -> BTreeMap<String, String> {
    let mut texts = Vec::new();
    for file in fs::read_dir(workspace().join("wit").join(folder)).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "wit") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    items(&texts)
}

#[test]
fn the_contract_is_still_what_was_frozen() {
    for (version, folder, count) in [("1.0.0", "", 9), ("attributes-1.0.0", "deps/attributes", 3)] {
        let frozen = fs::read_to_string(contracts().join(version).join("contract.wit")).unwrap();
        let frozen = items(&[frozen]);
        assert_eq!(frozen.len(), count);
        // What grows in 1.x is more items, and another package line; none of these ever changes.
        assert_eq!(present(folder), frozen, "{version}");
    }
}
