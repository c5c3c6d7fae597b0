//! From bytes to a plugin that can be instantiated: inspected, compiled, linked, its types compared.

use std::sync::Arc;

use domain::PluginDigest;
use sha2::{Digest as _, Sha256};
use wasmtime::Store;
use wasmtime::component::Component;

use crate::bindings::{StatusRule, StatusRulePre};
use crate::cases;
use crate::compiler::{CompileCodeError, Compiler};
use crate::config::MEMORY_BYTES_MAX;
use crate::engine::Core;
use crate::guest_channel::GuestChannel;
use crate::inspect::{self, InspectPluginError};
use crate::mapper::CompiledPlugin;
use crate::sandbox::{self, HostState, StoreSpec};

/// Why bytes did not become a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompilePluginError {
    /// They are no plugin for this host.
    #[error(transparent)]
    Inspect(#[from] InspectPluginError),
    /// The compiler refused them.
    #[error("the component does not compile: {detail}")]
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
    /// It takes more time or memory to compile than a component may.
    #[error("{detail}; make it smaller, or raise the limits of the compiler")]
    TooExpensive {
        /// Which limit.
        detail: String,
    },
    /// The compiler could not be run: no fault of the component.
    #[error("the compiler failed: {detail}")]
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
            Self::BadCases { .. } => "canary_failed",
            Self::TooExpensive { .. } => "compile_limit_exceeded",
            Self::CompilerFailed { .. } => "compiler_failed",
        }
    }
}

pub(crate) fn compile(core: &Core, bytes: &[u8]) -> Result<CompiledPlugin, CompilePluginError> {
    let facts = inspect::inspect(bytes, core.config.component_bytes_max)?;
    let cases =
        cases::read_cases(bytes).map_err(|detail| CompilePluginError::BadCases { detail })?;
    let component = component(core, bytes)?;
    let differs = |error: wasmtime::Error| InspectPluginError::UnsupportedContract {
        missing: format!("{error:#}"),
    };
    let linked = core.linker.instantiate_pre(&component).map_err(differs)?;
    let pre = StatusRulePre::new(linked).map_err(differs)?;
    let mut store = trial_store(core);
    let _ticking = core.ticker.begin();
    sandbox::begin_call(&mut store, core.config.init_deadline, 0);
    // The types of exported functions are compared with an instance only. If it does not even
    // start, the canary says why, with the rule's own limits.
    if let Ok(instance) = pre.instance_pre().instantiate(&mut store) {
        StatusRule::new(&mut store, &instance).map_err(differs)?;
    }
    Ok(CompiledPlugin { facts, pre, cases })
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
    let code = match &core.compiler {
        Compiler::InProcess => core
            .engine
            .precompile_component(&bytes)
            .map_err(|error| refused(format!("{error:#}")))?,
        Compiler::Child(child) => child.compile(&bytes).map_err(|error| match error {
            CompileCodeError::Refused(detail) => refused(detail),
            CompileCodeError::TooExpensive(detail) => CompilePluginError::TooExpensive { detail },
            CompileCodeError::Failed(detail) => CompilePluginError::CompilerFailed { detail },
        })?,
    };
    let component = load(core, &code).map_err(|error| CompilePluginError::CompilerFailed {
        detail: format!("{error:#}"),
    })?;
    if let Some(cache) = &core.cache {
        cache.put(&digest, &code);
    }
    Ok(component)
}

fn refused(detail: String) -> CompilePluginError {
    CompilePluginError::Compile { detail }
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

fn trial_store(core: &Core) -> Store<HostState> {
    sandbox::store(StoreSpec {
        engine: &core.engine,
        budget: Arc::clone(&core.budget),
        memory_bytes_max: core.config.memory_bytes_max.max(MEMORY_BYTES_MAX),
        output_bytes_max: core.config.output_bytes_max,
        guest: Arc::new(GuestChannel::new(String::new())),
    })
}
