//! `plugin check`: what a component is and whether a host would take it.

use std::path::PathBuf;
use std::sync::Arc;

use bytesize::ByteSize;
use domain::MappingLimits;
use plugin_runtime::{
    CompiledPlugin, MapperInstance, MapperSpec, PluginRuntime, PrepareMapperError,
};
use serde_json::json;

use super::engine;
use super::manifest::{component_file, read_component};
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::output::{print_json, print_line, printable, talk};
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
    let last = if config == NO_CONFIG {
        first
    } else {
        tried(&runtime, &plugin, &config)?
    };
    runtime.run_own_cases(&plugin).map_err(|error| {
        let remedy = if error.is_host_busy {
            "this machine is too busy to say whether that is the plugin's fault: run it again later"
        } else {
            "correct the plugin or the case, see `rulemill plugin test`"
        };
        engine::refusal(format!("{error}; {remedy}"))
    })?;
    let reads = match last {
        Ok(reads) => Some(reads),
        Err(reason) => {
            let config = printable(&config);
            talk(format_args!(
                "init refuses the configuration {config} ({reason}): a rule has to say one; a case with `config` lets this check go on from there"
            ));
            None
        }
    };
    let found = Found {
        plugin: &plugin,
        reads,
        config: &config,
        memory,
        compiled_in,
    };
    show(connection, &found)
}

/// The attributes of an event that a plugin says it reads.
enum Reads {
    All,
    These(Vec<String>),
}

/// Tries the made-up events with `config`. What the plugin reads then; or why `init` refuses it.
fn tried(
    runtime: &PluginRuntime,
    plugin: &Arc<CompiledPlugin>,
    config: &str,
) -> Result<Result<Reads, String>, Failure> {
    let spec = MapperSpec {
        config: config.to_owned(),
        limits: MappingLimits::default(),
        samples: Vec::new(),
    };
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let (error, config) = (domain::ErrorChain(error), printable(config));
        engine::refusal(format!("with the configuration {config}: {error}"))
    };
    let mapper = match runtime.prepare(plugin, spec) {
        Ok(mapper) => mapper,
        Err(PrepareMapperError::ConfigRefused { reason }) => return Ok(Err(reason)),
        Err(error) => return Err(failed(&error)),
    };
    let instance = MapperInstance::new(&mapper).map_err(|fault| failed(&fault))?;
    Ok(Ok(match instance.selection() {
        Some(names) => Reads::These(names.to_vec()),
        None => Reads::All,
    }))
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
    reads: Option<Reads>,
    /// The configuration that it was tried with last.
    config: &'a str,
    memory: u64,
    compiled_in: std::time::Duration,
}

impl Found<'_> {
    fn reads_as_json(&self) -> serde_json::Value {
        match &self.reads {
            None => serde_json::Value::Null,
            Some(Reads::All) => json!({ "config": self.config, "attributes": "all" }),
            Some(Reads::These(names)) => json!({ "config": self.config, "attributes": names }),
        }
    }

    /// Who is asked to trust the plugin sees that another configuration may have it read more.
    fn reads(&self) -> String {
        let what = match &self.reads {
            None => return "unknown without a configuration".to_owned(),
            Some(Reads::All) => "all attributes".to_owned(),
            Some(Reads::These(names)) if names.is_empty() => "no attribute".to_owned(),
            Some(Reads::These(names)) => format!("the attributes {}", printable(&names.join(", "))),
        };
        let config = printable(self.config);
        format!("{what} of an event, with the configuration {config}")
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
            "reads": found.reads_as_json(),
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
