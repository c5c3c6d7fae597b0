//! The host's own engine with the host's default limits; it calls plugins in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytesize::ByteSize;
use plugin_runtime::{
    CodeCacheConfig, CodeConfig, CompileLimits, CompiledPlugin, Compiler, PluginRuntime,
    RuntimeConfig,
};

use super::{Language, Manifest};
use crate::cli::failure::{Exit, Failure};
use crate::compiled_code;
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

/// Who compiles for `test`, `check` and `bench`: a child with a host's default limits, so that a component hurts no
/// machine and is refused here as it is there. One with an interpreter takes 20 s: they share the result.
fn code() -> CodeConfig {
    let limits = CompileLimits {
        memory_bytes_max: defaults::COMPILE_MEMORY_BYTES,
        cpu_seconds_max: defaults::COMPILE_TIME.as_secs(),
    };
    CodeConfig {
        // One component, and then this process ends.
        compiler: compiled_code::compiler(limits, 0),
        cache: cache(),
    }
}

/// The same for code that counts fuel, which only this process compiles: of a component that [`compile`] took, so that
/// it is known to need no more than a host gives it.
pub(super) fn code_that_counts_fuel() -> CodeConfig {
    CodeConfig {
        compiler: Compiler::InProcess,
        cache: cache(),
    }
}

fn cache() -> Option<CodeCacheConfig> {
    let folders = directories::ProjectDirs::from("", "", "rulemill");
    folders.map(|folders| CodeCacheConfig {
        folder: folders.cache_dir().join("compiled-plugins"),
        key_file: folders.cache_dir().join("compiled-plugins.key"),
        bytes_max: CACHE_BYTES_MAX,
    })
}

/// Compiles a component.
pub(super) fn compile(
    runtime: &PluginRuntime,
    bytes: &[u8],
) -> Result<Arc<CompiledPlugin>, Failure> {
    runtime
        .compile(bytes)
        .map_err(|error| refusal(domain::ErrorChain(&error).to_string()))
}

/// What is wrong with a component. A message that names a limit names the host's settings, which change nothing here.
pub(super) fn refusal(mut message: String) -> Failure {
    if message.contains("plugins.") || message.contains("mapping.limits.") {
        message += "; this command reads no host's configuration: its limits are the defaults, but for --memory";
    }
    Failure::new(Exit::Failed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_with_where_it_comes_from() {
        let told = |message: &str| refusal(message.to_owned()).messages().join("\n");
        let limit = told("compiling it takes too long; raise plugins.compile-time");
        assert!(limit.contains("reads no host's configuration"), "{limit}");
        assert_eq!(told("the file is empty"), "the file is empty");
    }
}
