//! From bytes to a plugin that can be instantiated: inspected, compiled, linked, its types compared.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Component;

use crate::bindings::{StatusRule, StatusRulePre};
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
}

impl CompilePluginError {
    /// The variant, for metric labels and API codes. What does not compile is no valid component.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Inspect(error) => error.kind(),
            Self::Compile { .. } => "not_a_component",
        }
    }
}

pub(crate) fn compile(core: &Core, bytes: &[u8]) -> Result<CompiledPlugin, CompilePluginError> {
    let facts = inspect::inspect(bytes, core.config.component_bytes_max)?;
    let component = Component::from_binary(&core.engine, bytes).map_err(|error| {
        CompilePluginError::Compile {
            detail: format!("{error:#}"),
        }
    })?;
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
    Ok(CompiledPlugin { facts, pre })
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
