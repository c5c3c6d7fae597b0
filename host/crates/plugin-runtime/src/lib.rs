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
mod compile;
mod config;
mod convert;
mod deadline;
mod engine;
mod fault;
mod guest_channel;
mod inspect;
mod instance;
mod mapper;
mod runtime;
mod sandbox;
mod scheduler;
mod ticker;
mod worker;

pub use compile::CompilePluginError;
pub use config::{CALL_DEADLINE_MAX, MEMORY_BYTES_MAX, RuntimeConfig};
pub use fault::{MapperFault, MemoryScope};
pub use inspect::{InspectPluginError, PluginFacts};
pub use instance::MapperInstance;
pub use mapper::{CompiledPlugin, Mapper, MapperSpec, MapperUsage};
pub use runtime::{PluginRuntime, PrepareMapperError, StartRuntimeError};

#[cfg(test)]
mod tests;
