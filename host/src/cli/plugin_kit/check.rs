//! `plugin check`: what a component is and whether a host would take it.

use std::path::PathBuf;
use std::sync::Arc;

use bytesize::ByteSize;
use domain::MappingLimits;
use plugin_runtime::{CompiledPlugin, MapperSpec, PluginRuntime, PrepareMapperError};
use serde_json::json;

use super::engine;
use super::manifest::{component_file, read_component};
use crate::cli::connection::Connection;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{print_json, print_line, talk};
use crate::config::defaults;

/// What a host tries each upload with.
const NO_CONFIG: &str = "{}";

pub(super) fn run(
    connection: &Connection,
    file: Option<PathBuf>,
    memory: Option<ByteSize>,
) -> Result<(), Failure> {
    let memory = engine::memory_of(memory);
    let file = component_file(file)?;
    let bytes = read_component(&file)?;
    let runtime = engine::start(memory)?;
    let started = tokio::time::Instant::now();
    let plugin = engine::compile(&runtime, &bytes)?;
    let compiled_in = started.elapsed();
    // As a host does; a configuration that `init` wants more of is the rule's business, a fault is not.
    let config_refused = tried(&runtime, &plugin, NO_CONFIG)?;
    let config = first_config(&plugin);
    let config_refused = if config == NO_CONFIG {
        config_refused
    } else {
        tried(&runtime, &plugin, &config)?
    };
    runtime.run_own_cases(&plugin).map_err(|error| {
        let remedy = "correct the plugin or the case, see `rulemill plugin test`";
        Failure::new(Exit::Failed, format!("{error}; {remedy}"))
    })?;
    if let Some(reason) = config_refused {
        talk(format_args!(
            "init refuses the configuration {config} ({reason}): a rule has to say one; a case with `config` lets this check go on from there"
        ));
    }
    show(connection, &plugin, memory, compiled_in)
}

/// Tries the made-up events with `config`; says why `init` refuses that, if it does.
fn tried(
    runtime: &PluginRuntime,
    plugin: &Arc<CompiledPlugin>,
    config: &str,
) -> Result<Option<String>, Failure> {
    let spec = MapperSpec {
        config: config.to_owned(),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    };
    match runtime.prepare(plugin, spec) {
        Ok(_) => Ok(None),
        Err(PrepareMapperError::ConfigRefused { reason }) => Ok(Some(reason)),
        Err(error) => {
            let error = domain::ErrorChain(&error);
            let message = format!("with the configuration {config}: {error}");
            Err(Failure::new(Exit::Failed, message))
        }
    }
}

/// The configuration of the first case that has one and does not expect it to be refused.
pub(super) fn first_config(plugin: &CompiledPlugin) -> String {
    let mut good = plugin
        .cases()
        .iter()
        .filter(|case| case.config_refused.is_none());
    good.find_map(|case| case.config.as_ref())
        .map_or_else(|| NO_CONFIG.to_owned(), ToString::to_string)
}

/// The package and version that the exports are of.
fn contract(exports: &[String]) -> String {
    let mapper = exports
        .iter()
        .find_map(|name| name.strip_prefix("rulemill:rule/status-mapper@"));
    // What exports no mapper was refused before.
    mapper.map_or_else(
        || "none".to_owned(),
        |version| format!("rulemill:rule@{version}"),
    )
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

fn show(
    connection: &Connection,
    plugin: &CompiledPlugin,
    memory: u64,
    compiled_in: std::time::Duration,
) -> Result<(), Failure> {
    let facts = plugin.facts();
    if connection.is_json() {
        return print_json(&json!({
            "digest": facts.digest.to_string(),
            "size": facts.size_bytes,
            "contract": contract(&facts.exports),
            "exports": facts.exports,
            "imports": facts.imports,
            "cases": plugin.cases().len(),
            "compileMs": u64::try_from(compiled_in.as_millis()).unwrap_or(u64::MAX),
        }));
    }
    let lines = [
        ("contract", contract(&facts.exports)),
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
        ("exports", listed(&facts.exports)),
        ("imports", listed(&facts.imports)),
        ("own cases", format!("{}, all hold", plugin.cases().len())),
        (
            "may use",
            format!(
                "{} MiB of memory, {} ms of CPU time a call, {} ms for init, {} messages and {} MiB an event, log lines and counters; \
                 no files, no network, no environment, no clock but the event's",
                memory >> 20,
                defaults::CALL_DEADLINE.as_millis(),
                defaults::INIT_DEADLINE.as_millis(),
                defaults::MESSAGES_MAX,
                defaults::OUTPUT_BYTES_MAX >> 20,
            ),
        ),
    ];
    for (what, text) in lines {
        print_line(&format!("{what:<12} {text}"))?;
    }
    Ok(())
}
