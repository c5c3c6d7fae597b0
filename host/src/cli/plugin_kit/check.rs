//! `plugin check`: what a component is and whether a host would take it.

use std::path::PathBuf;

use domain::MappingLimits;
use plugin_runtime::{CompiledPlugin, MapperSpec};
use serde_json::json;

use super::manifest::{component_file, read_component};
use super::{Manifest, engine};
use crate::cli::connection::Connection;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{print_json, print_line};
use crate::config::defaults;

pub(super) fn run(connection: &Connection, file: Option<PathBuf>) -> Result<(), Failure> {
    let language = Manifest::here().ok().map(|manifest| manifest.language);
    let file = component_file(file)?;
    let bytes = read_component(&file)?;
    let runtime = engine::start(language)?;
    let started = tokio::time::Instant::now();
    let plugin = engine::compile(&runtime, &bytes)?;
    let compiled_in = started.elapsed();
    // A configuration that `init` wants more of is the rule's business, a fault is not.
    let spec = MapperSpec {
        config: first_config(&plugin),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    };
    runtime
        .prepare(&plugin, spec)
        .map_err(|error| Failure::new(Exit::Failed, domain::ErrorChain(&error).to_string()))?;
    runtime
        .run_own_cases(&plugin)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    show(connection, &plugin, compiled_in)
}

/// The configuration of the first case that has one and does not expect it to be refused.
pub(super) fn first_config(plugin: &CompiledPlugin) -> String {
    let mut good = plugin
        .cases()
        .iter()
        .filter(|case| case.config_refused.is_none());
    good.find_map(|case| case.config.as_ref())
        .map_or_else(|| "{}".to_owned(), ToString::to_string)
}

fn show(
    connection: &Connection,
    plugin: &CompiledPlugin,
    compiled_in: std::time::Duration,
) -> Result<(), Failure> {
    let facts = plugin.facts();
    if connection.is_json() {
        return print_json(&json!({
            "digest": facts.digest.to_string(),
            "size": facts.size_bytes,
            "exports": facts.exports,
            "imports": facts.imports,
            "cases": plugin.cases().len(),
            "compileMs": u64::try_from(compiled_in.as_millis()).unwrap_or(u64::MAX),
        }));
    }
    let lines = [
        ("digest", facts.digest.to_string()),
        (
            "size",
            format!(
                "{} bytes of {} (plugins.component-max)",
                facts.size_bytes,
                defaults::COMPONENT_BYTES_MAX
            ),
        ),
        ("compiles in", format!("{} ms", compiled_in.as_millis())),
        ("exports", facts.exports.join(", ")),
        ("imports", facts.imports.join(", ")),
        ("own cases", format!("{}, all hold", plugin.cases().len())),
        (
            "may use",
            format!(
                "{} MiB of memory, {} ms of CPU time a call, {} ms for init, {} messages an event; no files, no network, no clock but the event's",
                defaults::PLUGIN_MEMORY_BYTES_MAX >> 20,
                defaults::CALL_DEADLINE.as_millis(),
                defaults::INIT_DEADLINE.as_millis(),
                defaults::MESSAGES_MAX,
            ),
        ),
    ];
    for (what, text) in lines {
        print_line(&format!("{what:<12} {text}"))?;
    }
    Ok(())
}
