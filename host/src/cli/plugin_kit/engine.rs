//! The host's own engine with the host's default limits, in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use plugin_runtime::{
    CodeCacheConfig, CodeConfig, CompiledPlugin, Compiler, PluginRuntime, RuntimeConfig,
};

use super::Language;
use crate::cli::failure::{Exit, Failure};
use crate::config::defaults;

/// What an interpreter takes; the manual says to give such a rule as much.
const INTERPRETER_MEMORY_BYTES: u64 = 64 << 20;

/// Some ten components with an interpreter.
const CACHE_BYTES_MAX: u64 = 512 << 20;

/// Starts the engine for a plugin in `language`.
pub(super) fn start(language: Option<Language>) -> Result<Arc<PluginRuntime>, Failure> {
    let memory = match language {
        Some(Language::Python) => INTERPRETER_MEMORY_BYTES,
        Some(Language::Rust | Language::Javascript) | None => defaults::PLUGIN_MEMORY_BYTES_MAX,
    };
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let config = RuntimeConfig {
        mapper_threads: NonZeroUsize::MIN,
        memory_bytes_max: memory,
        memory_total_bytes_max: defaults::PLUGIN_MEMORY_TOTAL_BYTES,
        call_deadline: defaults::CALL_DEADLINE,
        init_deadline: defaults::INIT_DEADLINE,
        output_bytes_max: size(defaults::OUTPUT_BYTES_MAX),
        messages_max: usize::try_from(defaults::MESSAGES_MAX).unwrap_or(usize::MAX),
        component_bytes_max: size(defaults::COMPONENT_BYTES_MAX),
        node: "rulemill-1".into(),
        instance: defaults::INSTANCE_ID.into(),
    };
    PluginRuntime::start_with(config, code())
        .map_err(|error| Failure::new(Exit::Failed, domain::ErrorChain(&error).to_string()))
}

/// A component with an interpreter takes 20 s to compile: `test`, `check` and `bench` share the result.
fn code() -> CodeConfig {
    let folders = directories::ProjectDirs::from("", "", "rulemill");
    let cache = folders.map(|folders| CodeCacheConfig {
        folder: folders.cache_dir().join("compiled-plugins"),
        key_file: folders.cache_dir().join("compiled-plugins.key"),
        bytes_max: CACHE_BYTES_MAX,
    });
    CodeConfig {
        compiler: Compiler::InProcess,
        cache,
    }
}

/// Compiles a component.
pub(super) fn compile(
    runtime: &PluginRuntime,
    bytes: &[u8],
) -> Result<Arc<CompiledPlugin>, Failure> {
    runtime
        .compile(bytes)
        .map_err(|error| Failure::new(Exit::Failed, domain::ErrorChain(&error).to_string()))
}
