//! `plugin check`: what a component is and whether a host would take it.

use std::path::PathBuf;
use std::sync::Arc;

use bytesize::ByteSize;
use domain::{AttributeName, MappingLimits};
use plugin_runtime::{
    CompiledPlugin, MapperInstance, MapperSpec, PluginRuntime, PrepareMapperError,
};
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
    let first = tried(&runtime, &plugin, NO_CONFIG)?;
    let config = first_config(&plugin);
    let tried = if config == NO_CONFIG {
        first
    } else {
        tried(&runtime, &plugin, &config)?
    };
    runtime.run_own_cases(&plugin).map_err(|error| {
        let remedy = "correct the plugin or the case, see `rulemill plugin test`";
        Failure::new(Exit::Failed, format!("{error}; {remedy}"))
    })?;
    let attributes = match tried {
        Ok(attributes) => Some(attributes),
        Err(reason) => {
            talk(format_args!(
                "init refuses the configuration {config} ({reason}): a rule has to say one; a case with `config` lets this check go on from there"
            ));
            None
        }
    };
    let found = Found {
        plugin: &plugin,
        attributes,
        memory,
        compiled_in,
    };
    show(connection, &found)
}

/// Tries the made-up events with `config`. The attributes that the plugin reads then; or why `init` refuses it.
fn tried(
    runtime: &PluginRuntime,
    plugin: &Arc<CompiledPlugin>,
    config: &str,
) -> Result<Result<Vec<AttributeName>, String>, Failure> {
    let spec = MapperSpec {
        config: config.to_owned(),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    };
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let error = domain::ErrorChain(error);
        let message = format!("with the configuration {config}: {error}");
        Failure::new(Exit::Failed, message)
    };
    let mapper = match runtime.prepare(plugin, spec) {
        Ok(mapper) => mapper,
        Err(PrepareMapperError::ConfigRefused { reason }) => return Ok(Err(reason)),
        Err(error) => return Err(failed(&error)),
    };
    let instance = MapperInstance::new(&mapper).map_err(|fault| failed(&fault))?;
    Ok(Ok(instance.attributes().to_vec()))
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

/// What a component is.
struct Found<'a> {
    plugin: &'a CompiledPlugin,
    /// None when no configuration is known that it takes.
    attributes: Option<Vec<AttributeName>>,
    memory: u64,
    compiled_in: std::time::Duration,
}

impl Found<'_> {
    fn attributes(&self) -> Option<Vec<&'static str>> {
        let attributes = self.attributes.as_ref()?;
        Some(attributes.iter().map(|name| name.as_str()).collect())
    }

    fn reads(&self) -> String {
        match self.attributes() {
            None => "unknown without a configuration".to_owned(),
            Some(names) if names.len() == AttributeName::ALL.len() => {
                "all attributes of an event".to_owned()
            }
            Some(names) if names.is_empty() => "no attribute of an event".to_owned(),
            Some(names) => format!("of an event's attributes {}", names.join(", ")),
        }
    }
}

fn show(connection: &Connection, found: &Found<'_>) -> Result<(), Failure> {
    let Found {
        plugin,
        memory,
        compiled_in,
        ..
    } = found;
    let facts = plugin.facts();
    if connection.is_json() {
        return print_json(&json!({
            "digest": facts.digest.to_string(),
            "size": facts.size_bytes,
            "contract": contract(&facts.exports),
            "exports": facts.exports,
            "imports": facts.imports,
            "attributes": found.attributes(),
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
        ("reads", found.reads()),
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
