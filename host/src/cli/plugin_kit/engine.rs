//! The host's own engine with the host's default limits, in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytesize::ByteSize;
use plugin_runtime::{
    CodeCacheConfig, CodeConfig, CompiledPlugin, Compiler, PluginRuntime, RuntimeConfig,
};

use super::{Language, Manifest};
use crate::cli::failure::{Exit, Failure};
use crate::config::defaults;

/// What an interpreter takes; the manual says to give such a rule as much.
const INTERPRETER_MEMORY_BYTES: u64 = 64 << 20;

/// Some ten components with an interpreter.
const CACHE_BYTES_MAX: u64 = 512 << 20;

/// Starts the engine; an instance gets `memory` bytes.
pub(super) fn start(memory: u64) -> Result<Arc<PluginRuntime>, Failure> {
    PluginRuntime::start_with(config(memory), code())
        .map_err(|error| Failure::new(Exit::Failed, domain::ErrorChain(&error).to_string()))
}

/// Linear memory of an instance, bytes: what was asked for, else what the language of this folder needs.
pub(super) fn memory_of(asked: Option<ByteSize>) -> u64 {
    let of_language = || {
        let language = Manifest::here().ok().map(|manifest| manifest.language);
        of(language)
    };
    asked.map_or_else(of_language, |asked| asked.as_u64())
}

/// The same for a plugin in `language`.
pub(super) fn of(language: Option<Language>) -> u64 {
    match language {
        Some(Language::Python) => INTERPRETER_MEMORY_BYTES,
        Some(Language::Rust | Language::Javascript) | None => defaults::PLUGIN_MEMORY_BYTES_MAX,
    }
}

/// The host's default limits, but for the memory of an instance.
pub(super) fn config(memory: u64) -> RuntimeConfig {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    RuntimeConfig {
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
    }
}

/// A component with an interpreter takes 20 s to compile: `test`, `check` and `bench` share the result.
pub(super) fn code() -> CodeConfig {
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
