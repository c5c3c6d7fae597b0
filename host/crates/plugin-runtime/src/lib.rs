//! Runs plugins: inspects, compiles and links components, keeps warm instances on mapper threads,
//! and stops what exceeds its limits.
//!
//! The only crate that names wasmtime. It knows neither rules nor the store: who owns a [`Mapper`]
//! decides when it is used. Every instance has a store of its own, because a trap poisons the whole
//! store.

mod allow_list;
mod bindings;
mod budget;
mod canary;
mod cases;
mod code_cache;
mod compile;
mod compiler;
mod config;
mod convert;
mod deadline;
mod engine;
mod exports;
mod fault;
mod fuel;
mod guest_channel;
mod inspect;
mod instance;
mod mapper;
mod plain_text;
mod pool;
mod room;
mod runtime;
mod sandbox;
mod scheduler;
mod ticker;
mod trial;
mod worker;

pub use cases::{
    Answer, CASES_BYTES_MAX, CASES_MAX, Case, CaseReport, EditSectionError, EventIn,
    ExpectedMessage, FailedCase, Mismatch, ReadEventError, RunCaseError, with_cases,
};
pub use code_cache::{CodeCacheConfig, CodeCacheStats};
pub use compile::CompilePluginError;
pub use compiler::{ChildCompiler, CompileLimits, Compiler, FunctionStats, compile_stdin};
pub use config::{CALL_DEADLINE_MAX, CodeConfig, MEMORY_BYTES_MAX, RuntimeConfig};
pub use fault::{CallPhase, CountedPart, MapperFault, MemoryScope};
pub use fuel::{FuelUsed, MeasureFuelError, measure_fuel};
pub use guest_channel::GuestLine;
pub use inspect::{InspectPluginError, PluginFacts, digest_of};
pub use instance::MapperInstance;
pub use mapper::{CompiledPlugin, Mapper, MapperSpec, MapperUsage};
pub use runtime::{PluginRuntime, PrepareMapperError, StartRuntimeError};
pub use trial::Trial;

#[cfg(test)]
mod tests;
