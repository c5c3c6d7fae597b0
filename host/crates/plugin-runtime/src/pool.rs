//! Room for instances, reserved once: a new one takes a place that was there before, which is twice as quick as asking
//! the system for one.
//!
//! What is reserved is address space, 4 GiB for each memory and 256 MiB for each table, and no memory:
//! `plugins.memory-total` limits that. Beside it stays what places keep of the instances that were in them.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::config::MEMORY_BYTES_MAX;

/// There is one place for so much of the memory of all instances; an empty one keeps half as much.
const BYTES_PER_PLACE: u64 = 512 << 10;
/// 38 TiB with their tables, less than a third of what a process has on a processor with four levels of page tables.
pub(crate) const PLACES_MAX: u32 = 8192;
/// More than one module may have memories, so that it fits or breaks the limits of `budget`.
const PLACES_MIN: u32 = 128;
/// Plugins in Rust have two.
const TABLES_PER_PLACE: u32 = 3;
/// A table of all the memory that a rule may ask for, elements of 8 bytes.
pub(crate) const TABLE_ELEMENTS: usize = (MEMORY_BYTES_MAX / 8) as usize;
/// Memories, or tables, of one module: WebAssembly allows no more.
const PARTS_OF_MODULE_MAX: u32 = 100;
/// What an empty place keeps of its memory, zeroed: all that a plugin in Rust has.
const KEPT_BYTES: usize = 256 << 10;
/// And of its table.
const KEPT_TABLE_BYTES: usize = 4 << 10;
/// Bytes; the engine adds to it.
const MORE_THAN_ANY: usize = 1 << 40;

/// An engine whose instances share `memory_bytes`, and how many memories they may have at once: with a pool, or without
/// one if the system has no room for it.
pub(crate) fn engine(settings: &Config, memory_bytes: u64) -> wasmtime::Result<(Engine, u32)> {
    take_no_huge_pages();
    let wanted = places(memory_bytes);
    let mut places = wanted;
    loop {
        let error = match pooled(settings, places) {
            Ok(engine) => {
                if places < wanted {
                    tracing::warn!(
                        places,
                        wanted,
                        "the system reserves little address space for plugins: there are fewer instances at once"
                    );
                }
                return Ok((engine, places));
            }
            Err(error) => error,
        };
        if places <= PLACES_MIN {
            tracing::warn!(
                error = format!("{error:#}"),
                "the system reserves no address space for plugins (a limit such as RLIMIT_AS?): they start half as fast"
            );
            return Ok((Engine::new(settings)?, u32::MAX));
        }
        // There is less of it on some processors, and other hosts in this process have some.
        places = (places / 2).max(PLACES_MIN);
    }
}

/// How many memories there should be at once, with so much memory for all instances.
fn places(memory_bytes: u64) -> u32 {
    u32::try_from(memory_bytes / BYTES_PER_PLACE)
        .unwrap_or(PLACES_MAX)
        .clamp(PLACES_MIN, PLACES_MAX)
}

fn pooled(settings: &Config, places: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(places)
        .total_tables(places.saturating_mul(TABLES_PER_PLACE))
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_TABLE_BYTES)
        // The limits of a component are those of `budget` and of `inspect`.
        .total_core_instances(u32::MAX)
        .total_component_instances(u32::MAX)
        .max_memories_per_module(PARTS_OF_MODULE_MAX)
        .max_tables_per_module(PARTS_OF_MODULE_MAX)
        .max_core_instance_size(MORE_THAN_ANY)
        .max_component_instance_size(MORE_THAN_ANY)
        // Nothing here is asynchronous.
        .total_stacks(1);
    let mut settings = settings.clone();
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&settings)
}

/// All tables lie in one mapping. Where the system gives huge pages unasked, the first element of each would take 2 MiB
/// that nobody counts; so this process takes none.
#[cfg(target_os = "linux")]
fn take_no_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "this process cannot do without huge pages: plugins may take 2 MiB for each of their tables");
    }
}

#[cfg(not(target_os = "linux"))]
fn take_no_huge_pages() {}

#[cfg(test)]
mod tests {
    use super::{PLACES_MAX, PLACES_MIN, places};

    #[test]
    fn there_is_a_place_for_each_half_mebibyte() {
        assert_eq!(places(1 << 30), 2048);
        assert_eq!(places(0), PLACES_MIN);
        assert_eq!(places(4 << 30), PLACES_MAX);
        assert_eq!(places(u64::MAX), PLACES_MAX);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_with_a_pool_takes_no_huge_pages() {
        let (_, places) = super::engine(&crate::engine::settings(), 0).unwrap();
        assert_eq!(places, PLACES_MIN);
        assert!(rustix::thread::transparent_huge_pages_are_disabled().unwrap());
    }
}
