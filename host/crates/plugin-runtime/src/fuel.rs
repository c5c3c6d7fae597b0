//! How much work a plugin does, in a unit that no machine's speed changes.
//!
//! The engine of the mapper threads does not count: it would cost a tenth of each call. So the
//! component is compiled once more for an engine that does. For `plugin bench`.

use std::sync::Arc;

use domain::StatusEvent;

use crate::compile::{self, CompilePluginError};
use crate::config::{CodeConfig, RuntimeConfig};
use crate::convert::EventTexts;
use crate::engine::Core;
use crate::fault::{self, CallPhase, MapperFault};
use crate::guest_channel::GuestChannel;
use crate::runtime::StartRuntimeError;
use crate::sandbox::{self, StoreSpec};

/// More than any plugin uses: nothing is limited by fuel.
const FUEL: u64 = u64::MAX;

/// Fuel: about one for each executed WebAssembly instruction. Work of the host is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuelUsed {
    /// By instantiation and `init`.
    pub start: u64,
    /// By the second call of `map-event`: the first one may set something up.
    pub call: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureFuelError {
    /// The engine did not start.
    #[error(transparent)]
    Start(#[from] StartRuntimeError),
    /// The component is no plugin.
    #[error(transparent)]
    Compile(#[from] CompilePluginError),
    /// It misbehaved.
    #[error(transparent)]
    Fault(#[from] MapperFault),
    /// The engine does not say how much is left: a bug.
    #[error("the engine does not count: {detail}")]
    Engine {
        /// What it said.
        detail: String,
    },
}

/// Measures the component in `bytes` with the configuration `init`, on one event. Blocks for its
/// compilation and two calls.
///
/// # Errors
///
/// Fails when the component is no plugin, refuses its configuration, or misbehaves.
pub fn measure_fuel(
    config: RuntimeConfig,
    code: CodeConfig,
    bytes: &[u8],
    init: &str,
    event: &StatusEvent,
) -> Result<FuelUsed, MeasureFuelError> {
    let core = Core::that_counts_fuel(config, code)?;
    let plugin = compile::compile(&core, bytes)?;
    let _ticking = core.ticker.begin();
    let store = sandbox::store(StoreSpec {
        engine: &core.engine,
        budget: Arc::clone(&core.budget),
        memory_bytes_max: core.config.memory_bytes_max,
        overhead_bytes: plugin.facts.overhead_bytes,
        output_bytes_max: core.config.output_bytes_max,
        guest: Arc::new(GuestChannel::new(String::new())),
    });
    let mut store = store.map_err(|refused| MapperFault::Memory {
        bytes: refused.bytes,
        bytes_max: refused.bytes_max,
        scope: refused.scope,
    })?;
    let engine = |error: wasmtime::Error| MeasureFuelError::Engine {
        detail: format!("{error:#}"),
    };
    store.set_fuel(FUEL).map_err(engine)?;
    sandbox::begin_call(&mut store, core.config.init_deadline, 0);
    let started = match plugin.exports.start(&mut store, init) {
        Ok(Ok(started)) => started,
        Ok(Err(detail)) => return Err(MapperFault::Init { detail }.into()),
        Err(error) => return Err(fault::classify(&error, store.data(), CallPhase::Init).into()),
    };
    let after_start = store.get_fuel().map_err(engine)?;
    let texts = EventTexts::of(event, &started.attributes, &core.config);
    let attributes = texts.attributes();
    let mut left = [after_start; 2];
    for left in &mut left {
        sandbox::begin_call(&mut store, core.config.call_deadline, event.time_ms);
        let answer = started
            .rule
            .rulemill_rule_status_mapper()
            .call_map_event(&mut store, texts.record(&attributes));
        if let Err(error) = answer {
            return Err(fault::classify(&error, store.data(), CallPhase::MapEvent).into());
        }
        *left = store.get_fuel().map_err(engine)?;
    }
    let [first, second] = left;
    Ok(FuelUsed {
        start: FUEL.saturating_sub(after_start),
        call: first.saturating_sub(second),
    })
}

#[cfg(test)]
mod tests {
    use super::{MeasureFuelError, measure_fuel};
    use crate::CodeConfig;
    use crate::tests::fixture::{ACCEPT, component, config, magic, plain};

    /// Counts down from 1,000.
    const SPIN: &str = "(i32.store (i32.const 512) (i32.const 1000)) \
         (loop $again (i32.store (i32.const 512) (i32.sub (i32.load (i32.const 512)) (i32.const 1))) \
         (br_if $again (i32.load (i32.const 512)))) (i32.const 1024)";

    #[test]
    fn fuel_grows_with_the_work_and_is_the_same_each_time() {
        let spin = component(ACCEPT, SPIN);
        let measure = |event: &domain::StatusEvent| {
            measure_fuel(config(), CodeConfig::default(), &spin, "{}", event).unwrap()
        };
        let (plain, magic) = (plain(), magic());
        let (idle, busy) = (measure(&plain), measure(&magic));
        assert!(busy.call > idle.call + 3000, "{idle:?} {busy:?}");
        assert_eq!(busy.start, idle.start);
        assert_eq!(measure(&magic), busy);
    }

    #[test]
    fn a_plugin_that_traps_is_told() {
        let traps = component(ACCEPT, "unreachable");
        let error = measure_fuel(config(), CodeConfig::default(), &traps, "{}", &magic());
        assert!(
            matches!(error, Err(MeasureFuelError::Fault(_))),
            "{error:?}"
        );
    }
}
