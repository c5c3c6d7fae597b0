//! From bytes to a plugin that can be instantiated: inspected, compiled, linked, its types compared.

use std::sync::Arc;

use domain::PluginDigest;
use sha2::{Digest as _, Sha256};
use wasmtime::Store;
use wasmtime::component::Component;

use crate::budget::MemoryRefused;
use crate::cases;
use crate::compiler::{Answer, CompileCodeError, Compiler};
use crate::config::MEMORY_BYTES_MAX;
use crate::engine::Core;
use crate::exports::PluginExports;
use crate::guest_channel::GuestChannel;
use crate::inspect::{self, InspectPluginError};
use crate::mapper::CompiledPlugin;
use crate::plain_text::plain;
use crate::pool;
use crate::sandbox::{self, HostState, StoreSpec};

/// What the engine says of a component is cut to this many bytes: it quotes the component's names.
const DETAIL_BYTES_MAX: usize = 1024;

/// Why bytes did not become a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompilePluginError {
    /// They are no plugin for this host.
    #[error(transparent)]
    Inspect(#[from] InspectPluginError),
    /// The compiler refused them.
    #[error(
        "the component does not compile: {detail}; build it for wasm32-wasip2 with the defaults of the tools: without \
         threads, 64-bit memory, exceptions and garbage collection"
    )]
    Compile {
        /// What the compiler said.
        detail: String,
    },
    /// Its own test cases cannot be read.
    #[error("{detail}; build it again with `rulemill plugin build`")]
    BadCases {
        /// What is wrong.
        detail: String,
    },
    /// One of its tables cannot begin at all, whatever the limits of its rule.
    #[error(
        "a table of the component begins with more than {} elements, the most that this host allows; let it begin with fewer",
        pool::TABLE_ELEMENTS
    )]
    TableTooLarge,
    /// It takes more time or memory to compile than a component may.
    #[error("{detail}")]
    TooExpensive {
        /// Which limit, and what to do.
        detail: String,
    },
    /// The compiler could not be run: no fault of the component.
    #[error(
        "the compiler could not do its work, which is no fault of the component: {detail}; see that the host may start \
         processes and has memory, then push it again"
    )]
    CompilerFailed {
        /// What failed.
        detail: String,
    },
}

impl CompilePluginError {
    /// The variant, for metric labels and API codes. What does not compile is no valid component.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Inspect(error) => error.kind(),
            Self::Compile { .. } => "not_a_component",
            Self::BadCases { .. } | Self::TableTooLarge => "canary_failed",
            Self::TooExpensive { .. } => "compile_limit_exceeded",
            Self::CompilerFailed { .. } => "compiler_failed",
        }
    }
}

pub(crate) fn compile(core: &Core, bytes: &[u8]) -> Result<CompiledPlugin, CompilePluginError> {
    let facts = inspect::inspect(bytes, core.config.component_bytes_max)?;
    let cases = cases::read_cases(bytes).map_err(|detail| CompilePluginError::BadCases {
        // It quotes what it does not know, which can be the whole section.
        detail: plain(&detail, DETAIL_BYTES_MAX),
    })?;
    let component = component(core, bytes)?;
    let differs = |error: wasmtime::Error| InspectPluginError::UnsupportedContract {
        missing: plain(&format!("{error:#}"), DETAIL_BYTES_MAX),
    };
    let linked = core.linker.instantiate_pre(&component).map_err(differs)?;
    let exports = PluginExports::find(linked, &facts.exports).map_err(differs)?;
    let Ok(mut store) = trial_store(core, facts.overhead_bytes) else {
        // The canary says so, too.
        return Ok(CompiledPlugin {
            facts,
            exports,
            cases,
        });
    };
    let _ticking = core.ticker.begin();
    sandbox::begin_call(&mut store, core.config.init_deadline, 0);
    // The types of exported functions are compared with an instance only. If it does not even
    // start, the canary says why, with the rule's own limits.
    if let Ok(instance) = exports.instantiate(&mut store) {
        exports
            .compare_types(&mut store, &instance)
            .map_err(differs)?;
    }
    Ok(CompiledPlugin {
        facts,
        exports,
        cases,
    })
}

/// The machine code of `bytes`: from the cache, or from the compiler and then into the cache.
fn component(core: &Core, bytes: &[u8]) -> Result<Component, CompilePluginError> {
    // Without its cases, so that another case needs no compiler.
    let bytes = cases::with_cases(bytes, &[]).map_err(|error| refused(error.to_string()))?;
    let digest = PluginDigest(Sha256::digest(&bytes).into());
    if let Some(code) = core.cache.as_ref().and_then(|cache| cache.get(&digest)) {
        match load(core, &code) {
            Ok(component) => return Ok(component),
            Err(error) => {
                tracing::warn!(%digest, error = format!("{error:#}"), "compiled plugin does not load and is compiled anew");
            }
        }
    }
    let Answer { code, functions } = match &core.compiler {
        Compiler::InProcess => {
            let code = core.engine.precompile_component(&bytes);
            let code = code.map_err(|error| refused(format!("{error:#}")))?;
            Answer::without_functions(code)
        }
        Compiler::Child(child) => {
            // Uploads, the folder and a reload may all come at once; the machine has memory for one.
            let _turn = core.compiling.lock();
            child
                .compile(&bytes, &core.functions)
                .map_err(|error| match error {
                    CompileCodeError::Refused(detail) => refused(detail),
                    CompileCodeError::TooExpensive(detail) => {
                        CompilePluginError::TooExpensive { detail }
                    }
                    CompileCodeError::Failed(detail) => compiler_failed(&detail),
                })?
        }
    };
    let component = load(core, &code).map_err(|error| {
        let detail = format!("{error:#}");
        // The engine has no type for it. Nothing else of a module can be too much for the pool.
        if detail.contains("module table does not fit in pooling allocator requirements") {
            return CompilePluginError::TableTooLarge;
        }
        compiler_failed(&detail)
    })?;
    core.functions.take(functions);
    if let Some(cache) = &core.cache {
        cache.put(&digest, &code);
    }
    Ok(component)
}

fn refused(detail: impl AsRef<str>) -> CompilePluginError {
    let detail = plain(detail.as_ref(), DETAIL_BYTES_MAX);
    CompilePluginError::Compile { detail }
}

fn compiler_failed(detail: &str) -> CompilePluginError {
    let detail = plain(detail, DETAIL_BYTES_MAX);
    CompilePluginError::CompilerFailed { detail }
}

#[expect(
    unsafe_code,
    reason = "code that was not written by this engine's compiler would run with the host's rights: it comes from this \
              process, from a child that runs this program, or from a cache whose files carry this host's tag"
)]
fn load(core: &Core, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: see the reason above; nothing that a user uploads gets here uncompiled.
    unsafe { Component::deserialize(&core.engine, code) }
}

fn trial_store(core: &Core, overhead_bytes: u64) -> Result<Store<HostState>, MemoryRefused> {
    sandbox::store(StoreSpec {
        engine: &core.engine,
        budget: Arc::clone(&core.budget),
        memory_bytes_max: core.config.memory_bytes_max.max(MEMORY_BYTES_MAX),
        overhead_bytes,
        output_bytes_max: core.config.output_bytes_max,
        guest: Arc::new(GuestChannel::new(String::new())),
    })
}
