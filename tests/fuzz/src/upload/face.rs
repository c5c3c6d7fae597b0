//! What an accepted component imports and exports, judged without the runtime's own code.

use wasmparser::{BinaryReader, ComponentExportSectionReader, ComponentImportSectionReader};

use super::tree::{Body, Unit};

const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;

/// Everything that a plugin may import, without the version.
const ALLOWED: [&str; 23] = [
    "rulemill:rule/log",
    "rulemill:rule/metrics",
    "rulemill:rule/status",
    "rulemill:rule/message",
    "rulemill:rule/fault",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
];

/// Says what the runtime should not have accepted in `component`.
pub(crate) fn check(component: &[u8]) -> Result<(), String> {
    let Some(unit) = Unit::parse(component) else {
        return Err("accepted, but it is no component".to_owned());
    };
    let mut exports = Vec::new();
    for section in &unit.sections {
        let Body::Bytes(body) = &section.body else {
            continue;
        };
        match section.id {
            IMPORTS => check_imports(body)?,
            EXPORTS => read_exports(body, &mut exports)?,
            _ => {}
        }
    }
    for wanted in [
        "rulemill:rule/lifecycle@1.",
        "rulemill:rule/status-mapper@1.",
    ] {
        if !exports.iter().any(|export| export.starts_with(wanted)) {
            return Err(format!("accepted without {wanted}x"));
        }
    }
    Ok(())
}

fn check_imports(section: &[u8]) -> Result<(), String> {
    let broken = |error| format!("accepted, but its imports cannot be read: {error}");
    let reader =
        ComponentImportSectionReader::new(BinaryReader::new(section, 0)).map_err(broken)?;
    for import in reader {
        let name = import.map_err(broken)?.name.name;
        let is_allowed = name.split_once('@').is_some_and(|(interface, version)| {
            let wanted = if interface.starts_with("wasi:") {
                "0.2."
            } else {
                "1."
            };
            ALLOWED.contains(&interface) && version.starts_with(wanted)
        });
        if !is_allowed {
            return Err(format!("accepted, but it imports {name:?}"));
        }
    }
    Ok(())
}

fn read_exports(section: &[u8], into: &mut Vec<String>) -> Result<(), String> {
    let broken = |error| format!("accepted, but its exports cannot be read: {error}");
    let reader =
        ComponentExportSectionReader::new(BinaryReader::new(section, 0)).map_err(broken)?;
    for export in reader {
        into.push(export.map_err(broken)?.name.name.to_owned());
    }
    Ok(())
}
