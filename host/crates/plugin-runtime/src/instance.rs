//! One warm instance of a plugin, in a store of its own.
//!
//! After a fault it is good for nothing but to be dropped: wasmtime refuses every further call into a
//! store that trapped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{Mapping, StatusEvent};
use wasmtime::Store;

use crate::convert::{self, EventTexts};
use crate::exports::StartedPlugin;
use crate::fault::{self, CallPhase, MapperFault, fingerprint};
use crate::mapper::Mapper;
use crate::plain_text::{plain, shortened};
use crate::sandbox::{self, HostState, StoreSpec};
use crate::ticker::Ticking;

/// Guest memory never shrinks and leaks are common, so an instance is renewed now and then.
const CALLS_MAX: u64 = 100_000;
/// What `init` says of a refusal; more is cut.
const REASON_BYTES_MAX: usize = 2048;

/// An instance for one caller, without the way over the mapper threads: for benchmarks and for
/// trying a mapping out.
pub struct MapperInstance {
    instance: Instance,
    mapper: Arc<Mapper>,
    _ticking: Ticking,
}

impl MapperInstance {
    /// Starts an instance of `mapper`. Blocks up to the deadline of `init`.
    ///
    /// # Errors
    ///
    /// Fails when the plugin does not start.
    pub fn new(mapper: &Arc<Mapper>) -> Result<Self, MapperFault> {
        let ticking = mapper.core.ticker.begin();
        let instance = Instance::start(mapper).map_err(StartInstanceError::into_fault)?;
        Ok(Self {
            instance,
            mapper: Arc::clone(mapper),
            _ticking: ticking,
        })
    }

    /// Maps one event. Blocks up to the deadline of a call.
    ///
    /// # Errors
    ///
    /// Fails when the plugin misbehaves; every later call then fails, too.
    pub fn map(&mut self, event: &StatusEvent) -> Result<Mapping, MapperFault> {
        self.instance.map(&self.mapper, event)
    }

    /// The attributes that the plugin says it reads, also those that this host does not know; none: all.
    #[must_use]
    pub fn selection(&self) -> Option<&[String]> {
        self.instance.plugin.selection.as_deref()
    }

    /// Linear memory of the instance, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.instance.memory_bytes()
    }

    /// Whether a mapper thread would renew it before its next call.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.instance.is_worn(&self.mapper)
    }
}

impl fmt::Debug for MapperInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapperInstance")
            .field("mapper", &self.mapper)
            .finish_non_exhaustive()
    }
}

/// A warm instance as the mapper threads keep it.
pub(crate) struct Instance {
    store: Store<HostState>,
    plugin: StartedPlugin,
    calls: u64,
    /// Memory after `init`: what it cannot do without.
    settled_bytes: u64,
}

/// Why an instance did not start.
pub(crate) enum StartInstanceError {
    /// `init` returned this.
    Refused(String),
    /// It misbehaved.
    Fault(MapperFault),
}

impl StartInstanceError {
    pub(crate) fn into_fault(self) -> MapperFault {
        match self {
            // On one line, as all faults are.
            Self::Refused(reason) => MapperFault::Init {
                detail: plain(&reason, reason.len()),
            },
            Self::Fault(MapperFault::Trap { detail }) => MapperFault::Init { detail },
            Self::Fault(other) => other,
        }
    }
}

impl Instance {
    /// Instantiates the plugin and gives it its configuration.
    pub(crate) fn start(mapper: &Mapper) -> Result<Self, StartInstanceError> {
        let core = &mapper.core;
        let store = sandbox::store(StoreSpec {
            engine: &core.engine,
            budget: Arc::clone(&core.budget),
            memory_bytes_max: mapper.limits.memory_bytes_max,
            overhead_bytes: mapper.plugin.facts.overhead_bytes,
            output_bytes_max: core.config.output_bytes_max,
            guest: Arc::clone(&mapper.guest),
        });
        let mut store = store.map_err(|refused| {
            StartInstanceError::Fault(MapperFault::Memory {
                bytes: refused.bytes,
                bytes_max: refused.bytes_max,
                scope: refused.scope,
            })
        })?;
        sandbox::begin_call(&mut store, core.config.init_deadline, 0);
        match mapper.plugin.exports.start(&mut store, &mapper.config) {
            Ok(Ok(plugin)) => {
                let settled_bytes = store.data().memory.held();
                Ok(Self {
                    store,
                    plugin,
                    calls: 0,
                    settled_bytes,
                })
            }
            Ok(Err(reason)) => Err(StartInstanceError::Refused(shortened(
                reason,
                REASON_BYTES_MAX,
            ))),
            Err(error) => Err(StartInstanceError::Fault(fault::classify(
                &error,
                store.data(),
                CallPhase::Init,
            ))),
        }
    }

    pub(crate) fn map(
        &mut self,
        mapper: &Mapper,
        event: &StatusEvent,
    ) -> Result<Mapping, MapperFault> {
        let config = &mapper.core.config;
        let texts = EventTexts::of(event, &self.plugin.attributes, config);
        let attributes = texts.attributes();
        self.calls += 1;
        sandbox::begin_call(&mut self.store, mapper.limits.call_deadline, event.time_ms);
        let answer = self
            .plugin
            .rule
            .rulemill_rule_status_mapper()
            .call_map_event(&mut self.store, texts.record(&attributes));
        match answer {
            Ok(answer) => convert::mapping(answer, config),
            Err(error) => Err(self.fault(&error, event)),
        }
    }

    fn fault(&self, error: &wasmtime::Error, event: &StatusEvent) -> MapperFault {
        match fault::classify(error, self.store.data(), CallPhase::MapEvent) {
            MapperFault::Trap { detail } => MapperFault::Trap {
                detail: format!(
                    "{detail}; on the {} event with fingerprint {}",
                    event.event_type.as_str(),
                    fingerprint(event)
                ),
            },
            other => other,
        }
    }

    /// CPU time of the last call, as far as ticks saw it.
    pub(crate) fn call_cpu(&self) -> Duration {
        self.store.data().deadline.used()
    }

    /// Linear memory, bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.store.data().memory.held()
    }

    /// Whether it should be renewed before its next call.
    pub(crate) fn is_worn(&self, mapper: &Mapper) -> bool {
        let held = self.store.data().memory.held();
        let is_nearly_full = held > mapper.limits.memory_bytes_max / 4 * 3;
        // One that needs that much from the start would not get better.
        self.calls >= CALLS_MAX || (is_nearly_full && held > self.settled_bytes)
    }
}
