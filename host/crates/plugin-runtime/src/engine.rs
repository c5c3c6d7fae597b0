//! The one engine of the process and what goes with it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, OptLevel};

use crate::budget::MemoryBudget;
use crate::code_cache::CodeCache;
use crate::compiler::{Compiler, FunctionBlocks};
use crate::config::{CodeConfig, RuntimeConfig};
use crate::pool;
use crate::runtime::StartRuntimeError;
use crate::sandbox::{self, HostState};
use crate::ticker::Ticker;

/// What all plugins share.
pub(crate) struct Core {
    pub(crate) config: RuntimeConfig,
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<HostState>,
    pub(crate) ticker: Ticker,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) compiler: Compiler,
    /// Held while a child compiles: there is one at a time, whoever asks. It has its whole time from then on.
    pub(crate) compiling: Mutex<()>,
    pub(crate) functions: FunctionBlocks,
    pub(crate) cache: Option<CodeCache>,
}

impl Core {
    pub(crate) fn start(
        config: RuntimeConfig,
        code: CodeConfig,
    ) -> Result<Self, StartRuntimeError> {
        Self::with_settings(&settings(), config, code)
    }

    /// One whose stores count fuel, and have none until it is set; it needs the compiler of this process.
    pub(crate) fn that_counts_fuel(
        config: RuntimeConfig,
        code: CodeConfig,
    ) -> Result<Self, StartRuntimeError> {
        Self::with_settings(settings().consume_fuel(true), config, code)
    }

    fn with_settings(
        settings: &Config,
        config: RuntimeConfig,
        code: CodeConfig,
    ) -> Result<Self, StartRuntimeError> {
        let (engine, places) = pool::engine(settings, config.memory_total_bytes_max)
            .map_err(|error| StartRuntimeError::engine(&error))?;
        let linker = sandbox::link(&engine).map_err(|error| StartRuntimeError::engine(&error))?;
        let ticker = Ticker::start(engine.weak()).map_err(StartRuntimeError::SpawnThread)?;
        let function_bytes_max = match &code.compiler {
            Compiler::InProcess => 0,
            Compiler::Child(child) => child.function_bytes_max,
        };
        let budget = Arc::new(MemoryBudget::new(config.memory_total_bytes_max, places));
        let cache = code
            .cache
            .and_then(|cache| CodeCache::open_or_go_without(cache, &engine));
        Ok(Self {
            config,
            engine,
            linker,
            ticker,
            budget,
            compiler: code.compiler,
            compiling: Mutex::new(()),
            functions: FunctionBlocks::new(function_bytes_max),
            cache,
        })
    }
}

/// What code is compiled for: the same in this process and in a compiler's.
pub(crate) fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Costs more than a whole call; another crate's features must not switch it on.
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // The same event gives the same message on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20))
        // Registering it is quadratic in the number of modules.
        .native_unwind_info(false)
        // What no plugin needs shrinks what can be attacked.
        .wasm_memory64(false)
        .wasm_gc(false);
    config
}
