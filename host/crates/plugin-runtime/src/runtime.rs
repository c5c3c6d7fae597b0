//! The runtime as the rest of the host sees it: inspect, compile, prepare, map.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

use domain::StatusEvent;
use tokio::sync::oneshot;

use crate::canary;
use crate::code_cache::CodeCacheStats;
use crate::compile::{self, CompilePluginError};
use crate::compiler::FunctionStats;
use crate::config::{CodeConfig, RuntimeConfig};
use crate::engine::Core;
use crate::fault::MapperFault;
use crate::inspect::{self, InspectPluginError, PluginFacts};
use crate::mapper::{CompiledPlugin, Mapper, MapperSpec};
use crate::scheduler::{Job, Lane, Scheduler, Verdicts};
use crate::worker::{Worker, start_instance};

/// Threads of the slow lane on a small machine: some plugins that loop should not keep a sound one from starting.
const SLOW_THREADS_MIN: usize = 4;

/// How much lower the priority of the threads of the slow lane is: each step is a tenth or so.
const SLOW_NICE: i32 = 2;

/// Compiles plugins and calls them on its own threads.
pub struct PluginRuntime {
    core: Arc<Core>,
    scheduler: Arc<Scheduler>,
    threads: Vec<JoinHandle<()>>,
    mappers: AtomicU64,
}

/// Why the runtime did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartRuntimeError {
    /// This machine cannot run it.
    #[error("the plugin engine does not start: {detail}")]
    Engine {
        /// What the engine said.
        detail: String,
    },
    /// The system gave no thread.
    #[error("failed to start a thread of the plugin runtime")]
    SpawnThread(#[source] io::Error),
}

impl StartRuntimeError {
    pub(crate) fn engine(error: &wasmtime::Error) -> Self {
        Self::Engine {
            detail: format!("{error:#}"),
        }
    }
}

/// Why a compiled plugin cannot map for a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareMapperError {
    /// Its `init` refused the rule's configuration.
    #[error("the plugin refuses its configuration: {reason}; correct mapping.config of the rule")]
    ConfigRefused {
        /// What it said.
        reason: String,
    },
    /// It misbehaved when it was tried out.
    #[error("the plugin failed its canary: {detail}")]
    CanaryFailed {
        /// What happened.
        detail: String,
    },
    /// The host had too little time or memory to try it out: that says nothing of the plugin.
    #[error("the host is too busy to try the plugin out: {detail}; try again later")]
    HostBusy {
        /// What it lacked.
        detail: String,
    },
    /// The rule asks for more than a rule may.
    #[error(
        "the rule asks for {asked} {what}; the most is {limit}; ask for less in mapping.limits"
    )]
    LimitTooHigh {
        /// The unit.
        what: &'static str,
        /// What the rule asks for.
        asked: u64,
        /// The most that a rule may have.
        limit: u64,
    },
}

impl PrepareMapperError {
    /// The variant, for metric labels and API codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ConfigRefused { .. } => "config_refused",
            Self::CanaryFailed { .. } => "canary_failed",
            Self::HostBusy { .. } => "host_busy",
            Self::LimitTooHigh { .. } => "limit_too_high",
        }
    }
}

impl PluginRuntime {
    /// Starts the engine, its ticker and the mapper threads. They end when the runtime is dropped,
    /// each after the call that it is in.
    ///
    /// # Errors
    ///
    /// Fails when the machine lacks what the engine needs, or gives no threads.
    pub fn start(config: RuntimeConfig) -> Result<Arc<Self>, StartRuntimeError> {
        Self::start_with(config, CodeConfig::default())
    }

    /// The same with a compiler and a cache of its own. A cache that cannot be used is told in the log,
    /// and done without.
    ///
    /// # Errors
    ///
    /// As [`PluginRuntime::start`].
    pub fn start_with(
        config: RuntimeConfig,
        code: CodeConfig,
    ) -> Result<Arc<Self>, StartRuntimeError> {
        let count = config.mapper_threads.get();
        let core = Arc::new(Core::start(config, code)?);
        let scheduler = Arc::new(Scheduler::new(count));
        let mut runtime = Self {
            core,
            scheduler,
            threads: Vec::new(),
            mappers: AtomicU64::new(0),
        };
        let quick = (0..count).map(|number| (Lane::Quick, number));
        let slow = (0..count.max(SLOW_THREADS_MIN)).map(|number| (Lane::Slow, number));
        for (lane, number) in quick.chain(slow) {
            let thread = runtime.spawn(lane, number);
            let thread = thread.map_err(StartRuntimeError::SpawnThread)?;
            runtime.threads.push(thread);
        }
        Ok(Arc::new(runtime))
    }

    /// Reads the face of the component in `bytes`, without compiling it.
    ///
    /// # Errors
    ///
    /// Says why the bytes are no plugin for this host.
    pub fn inspect(&self, bytes: &[u8]) -> Result<PluginFacts, InspectPluginError> {
        inspect::inspect(bytes, self.core.config.component_bytes_max)
    }

    /// Inspects, compiles and links the component in `bytes`. Blocks: 0.2 s for a small plugin in
    /// Rust, 20 s for one of 18 MB in Python.
    ///
    /// # Errors
    ///
    /// Says why the bytes are no plugin for this host.
    pub fn compile(&self, bytes: &[u8]) -> Result<Arc<CompiledPlugin>, CompilePluginError> {
        compile::compile(&self.core, bytes).map(Arc::new)
    }

    /// What the cache of compiled plugins did; all zero without one.
    #[must_use]
    pub fn code_cache_stats(&self) -> CodeCacheStats {
        let cache = self.core.cache.as_ref();
        cache.map(|cache| cache.stats()).unwrap_or_default()
    }

    /// What became of the functions of compiled plugins; all zero when no child compiles.
    #[must_use]
    pub fn function_stats(&self) -> FunctionStats {
        self.core.functions.stats()
    }

    /// Makes a mapper of `plugin` and tries it out in a throw-away instance. Blocks for some calls
    /// of the plugin, up to their deadlines.
    ///
    /// # Errors
    ///
    /// Fails when the plugin refuses the configuration or misbehaves, when the rule asks for more
    /// than a rule may have, and when the host has no time or memory to try it out.
    pub fn prepare(
        &self,
        plugin: &Arc<CompiledPlugin>,
        mut spec: MapperSpec,
    ) -> Result<Arc<Mapper>, PrepareMapperError> {
        let samples = std::mem::take(&mut spec.samples);
        let tried = self.untried(plugin, spec.clone())?;
        let turn = canary::try_out(&tried, &self.scheduler, &samples)?;
        let mapper = self.untried(plugin, spec)?;
        // Its first events need not wait for what is known of it already.
        self.scheduler.note_trial(mapper.id, &turn);
        Ok(Arc::new(mapper))
    }

    /// Starts an instance of `mapper` if it has none to spare, so that its first events find one and a swap seldom keeps
    /// anybody waiting. Blocks up to the deadline of `init`. Where there is no memory for it, none is taken from others, and what
    /// goes wrong is told with the first event, which starts another one.
    pub fn warm_up(&self, mapper: &Mapper) {
        if self.scheduler.has_idle(mapper.id) {
            return;
        }
        let _ticking = self.core.ticker.begin();
        match start_instance(mapper) {
            Ok(instance) => self.scheduler.add_idle(mapper.id, instance),
            Err(error) => {
                let fault = error.into_fault();
                tracing::debug!(plugin = %mapper.plugin.facts.digest, %fault, "no instance of a plugin could be started ahead of its first event");
            }
        }
    }

    /// Whose idle instances make room for one that is tried.
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// A mapper that nobody has tried.
    pub(crate) fn untried(
        &self,
        plugin: &Arc<CompiledPlugin>,
        spec: MapperSpec,
    ) -> Result<Mapper, PrepareMapperError> {
        // Relaxed is enough: only the number's uniqueness counts.
        let id = self.mappers.fetch_add(1, Ordering::Relaxed);
        let scheduler = Arc::downgrade(&self.scheduler);
        let core = Arc::clone(&self.core);
        Mapper::new(id, core, Arc::clone(plugin), spec, scheduler)
    }

    /// Maps `events` one after the other on a mapper thread: one verdict per event, in their order.
    /// Waits while the mapper has 64 calls of this function open. A fault costs its own event only:
    /// the next one gets a fresh instance.
    pub async fn map(&self, mapper: &Arc<Mapper>, events: Vec<Arc<StatusEvent>>) -> Verdicts {
        let count = events.len();
        if count == 0 {
            return Vec::new();
        }
        let Ok(permit) = Arc::clone(&mapper.room).acquire_owned().await else {
            return lost(count);
        };
        let (reply, answer) = oneshot::channel();
        let verdicts = Vec::with_capacity(count);
        let mapper = Arc::clone(mapper);
        self.scheduler.push(Job {
            mapper,
            events,
            verdicts,
            reply,
            permit,
            lacked_memory_at: None,
        });
        answer.await.unwrap_or_else(|_| lost(count))
    }

    fn spawn(&self, lane: Lane, number: usize) -> io::Result<JoinHandle<()>> {
        let worker = Worker::new(Arc::clone(&self.core), Arc::clone(&self.scheduler), lane);
        // The streams of WASI want a tokio runtime around them, and would start one of their own.
        let tokio = tokio::runtime::Builder::new_current_thread().build()?;
        Builder::new()
            .name(match lane {
                Lane::Quick => format!("mapper-{number}"),
                Lane::Slow => format!("mapper-slow-{number}"),
            })
            .spawn(move || {
                if lane == Lane::Slow {
                    give_way();
                }
                let _entered = tokio.enter();
                worker.run();
            })
    }
}

/// Lets the threads of the quick lane go first where there are fewer processors than work. On Linux a priority is that of
/// a thread. No more than a little: a call whose thread gets less than a tenth of a processor ends.
fn give_way() {
    if let Err(error) = rustix::process::nice(SLOW_NICE) {
        tracing::warn!(%error, "the system lets no thread of slow plugins give way to quick ones; they work as equals");
    }
}

/// What a job becomes that no thread answers: a bug of the host, told as a fault so that nothing is
/// lost.
fn lost(count: usize) -> Verdicts {
    vec![Err(MapperFault::HostFailed); count]
}

impl Drop for PluginRuntime {
    fn drop(&mut self) {
        self.scheduler.stop();
        for thread in self.threads.drain(..) {
            // Panics inside jobs are caught and logged; there is no one left to tell of others.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for PluginRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginRuntime")
            .field("config", &self.core.config)
            .finish_non_exhaustive()
    }
}
