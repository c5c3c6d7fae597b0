//! Room for instances, reserved once: a new one takes a place that was there before, which is twice as quick as asking
//! the system for one.
//!
//! What is reserved is address space, 4 GiB for each memory, and no memory: `plugins.memory-total` limits that.
//! Nothing that is allowed without a pool is refused with one but more instances than it has places for.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// There is one place for so much of the memory of all instances: plugins in Rust take a little more each.
pub(crate) const BYTES_PER_PLACE: u64 = 128 << 10;
/// 32 TiB, a quarter of what a process on a processor with four levels of page tables has.
const PLACES_MAX: u32 = 8192;
const PLACES_MIN: u32 = 8;
/// Plugins in Rust have two.
const TABLES_PER_PLACE: u32 = 3;
/// The most that a module may begin with, by WebAssembly's own limit, elements.
const TABLE_ELEMENTS: usize = 10_000_000;
/// What a place keeps of the memory of the instance before, zeroed: as much as a plugin in Rust has.
const KEPT_BYTES: usize = 256 << 10;
/// Places that keep it.
const PLACES_KEPT: u32 = 32;
/// Bytes; the engine adds to it.
const MORE_THAN_ANY: usize = 1 << 40;

/// An engine whose instances share `memory_bytes`: with a pool, or without one if the system has no room for it.
pub(crate) fn engine(settings: &Config, memory_bytes: u64) -> wasmtime::Result<Engine> {
    let mut pooled = settings.clone();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(memory_bytes)));
    Engine::new(&pooled).or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "the system reserves no address space for plugins (a limit such as RLIMIT_AS?): they start half as fast"
        );
        Engine::new(settings)
    })
}

fn pool(memory_bytes: u64) -> PoolingAllocationConfig {
    let places = u32::try_from(memory_bytes / BYTES_PER_PLACE)
        .unwrap_or(PLACES_MAX)
        .clamp(PLACES_MIN, PLACES_MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(places)
        .total_tables(places.saturating_mul(TABLES_PER_PLACE))
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_BYTES)
        .max_unused_warm_slots(PLACES_KEPT)
        // The limits of a component are those of `budget` and of `inspect`.
        .total_core_instances(u32::MAX)
        .total_component_instances(u32::MAX)
        .max_memories_per_module(places)
        .max_tables_per_module(u32::MAX)
        .max_core_instance_size(MORE_THAN_ANY)
        .max_component_instance_size(MORE_THAN_ANY);
    pool
}
