//! A compiled plugin, and the mapper that a rule makes of it: configuration, limits, counters.
//!
//! A mapper holds no instance. The scheduler keeps instances warm, and the mapper threads drop them when
//! the last owner of the mapper is gone.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::{MappingLimits, PluginDigest, StatusEvent};
use tokio::sync::Semaphore;

use crate::cases::Case;
use crate::config::{CALL_DEADLINE_MAX, MEMORY_BYTES_MAX, RuntimeConfig};
use crate::engine::Core;
use crate::exports::PluginExports;
use crate::guest_channel::GuestChannel;
use crate::inspect::PluginFacts;
use crate::runtime::PrepareMapperError;
use crate::scheduler::Scheduler;

/// Jobs of one mapper that wait or run; more callers wait.
const JOBS_MAX: usize = 64;

/// A plugin that is ready to be instantiated.
pub struct CompiledPlugin {
    pub(crate) facts: PluginFacts,
    pub(crate) exports: PluginExports,
    /// Its own test cases.
    pub(crate) cases: Vec<Case>,
}

impl CompiledPlugin {
    /// What was found in it.
    #[must_use]
    pub fn facts(&self) -> &PluginFacts {
        &self.facts
    }

    /// The test cases that it brings along.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }
}

impl fmt::Debug for CompiledPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledPlugin")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// What a rule wants of its mapper.
#[derive(Clone, Debug)]
pub struct MapperSpec {
    /// What `init` gets: JSON as text.
    pub config: String,
    /// Limits of its own.
    pub limits: MappingLimits,
    /// Events that its canary maps, beside one made-up event of each type.
    pub samples: Vec<Arc<StatusEvent>>,
}

/// The limits of one mapper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallLimits {
    pub(crate) memory_bytes_max: u64,
    pub(crate) call_deadline: Duration,
}

/// A compiled, linked, limited, callable plugin.
pub struct Mapper {
    pub(crate) id: u64,
    pub(crate) core: Arc<Core>,
    pub(crate) plugin: Arc<CompiledPlugin>,
    pub(crate) config: String,
    pub(crate) limits: CallLimits,
    pub(crate) guest: Arc<GuestChannel>,
    pub(crate) usage: UsageCounters,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) scheduler: Weak<Scheduler>,
}

#[derive(Debug, Default)]
pub(crate) struct UsageCounters {
    pub(crate) calls: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) busy_ns: AtomicU64,
    pub(crate) instances: AtomicU64,
}

/// What a mapper did since it was prepared, its canary not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapperUsage {
    /// Events that it was called for.
    pub calls: u64,
    /// Calls that ended in a fault.
    pub faults: u64,
    /// Time on mapper threads, nanoseconds, starts of instances included.
    pub busy_ns: u64,
    /// Instances that were started.
    pub instances: u64,
    /// The plugin's own counters, by name.
    pub counters: Vec<(String, u64)>,
    /// Additions to counters beyond the limit of names.
    pub counters_dropped: u64,
    /// Log lines beyond a hundred a second.
    pub lines_dropped: u64,
}

impl Mapper {
    /// SHA-256 of the plugin.
    #[must_use]
    pub fn digest(&self) -> PluginDigest {
        self.plugin.facts.digest
    }

    /// What it did since it was prepared.
    #[must_use]
    pub fn usage(&self) -> MapperUsage {
        let (counters, counters_dropped) = self.guest.counters();
        // Relaxed is enough: the numbers are only read for reporting.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MapperUsage {
            calls: read(&self.usage.calls),
            faults: read(&self.usage.faults),
            busy_ns: read(&self.usage.busy_ns),
            instances: read(&self.usage.instances),
            counters,
            counters_dropped,
            lines_dropped: self.guest.lines_dropped(),
        }
    }

    pub(crate) fn new(
        id: u64,
        core: Arc<Core>,
        plugin: Arc<CompiledPlugin>,
        spec: MapperSpec,
        scheduler: Weak<Scheduler>,
    ) -> Result<Self, PrepareMapperError> {
        Ok(Self {
            id,
            limits: limits(spec.limits, &core.config)?,
            guest: Arc::new(GuestChannel::new(plugin.facts.digest.to_string())),
            core,
            plugin,
            config: spec.config,
            usage: UsageCounters::default(),
            room: Arc::new(Semaphore::new(JOBS_MAX)),
            scheduler,
        })
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            scheduler.retire(self.id);
        }
    }
}

impl fmt::Debug for Mapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapper")
            .field("id", &self.id)
            .field("digest", &self.plugin.facts.digest)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn limits(asked: MappingLimits, config: &RuntimeConfig) -> Result<CallLimits, PrepareMapperError> {
    let memory_max = config.memory_bytes_max.max(MEMORY_BYTES_MAX);
    let memory_bytes_max = asked.memory_bytes_max.unwrap_or(config.memory_bytes_max);
    if memory_bytes_max > memory_max {
        return Err(PrepareMapperError::LimitTooHigh {
            what: "bytes of memory",
            asked: memory_bytes_max,
            limit: memory_max,
        });
    }
    let deadline_max = config.call_deadline.max(CALL_DEADLINE_MAX);
    let call_deadline = asked
        .call_deadline_ms
        .map_or(config.call_deadline, Duration::from_millis);
    if call_deadline > deadline_max {
        return Err(PrepareMapperError::LimitTooHigh {
            what: "milliseconds for a call",
            asked: asked.call_deadline_ms.unwrap_or(0),
            limit: u64::try_from(deadline_max.as_millis()).unwrap_or(u64::MAX),
        });
    }
    Ok(CallLimits {
        memory_bytes_max,
        call_deadline,
    })
}
