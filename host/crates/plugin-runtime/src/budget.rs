//! Memory of instances: a cap for each and one budget for all of them.
//!
//! Counted are linear memories, tables, and what an instance with uncommonly many parts takes on the
//! host's side. A growth beyond either is a trap, not a failed `memory.grow`: most language runtimes abort on the
//! latter without saying why. What an instance holds goes back when its store is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::fault::MemoryScope;

/// What an element of a table takes: a pointer.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// Core instances of one plugin's instance.
pub(crate) const INSTANCES_MAX: usize = 100;
/// Tables of one.
pub(crate) const TABLES_MAX: usize = 50;
/// Linear memories of one.
pub(crate) const MEMORIES_MAX: usize = 10;

/// The memory that all instances of the host share.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    used: AtomicU64,
    bytes_max: u64,
    /// Linear memories that the engine has places for.
    places: u32,
}

impl MemoryBudget {
    pub(crate) fn new(bytes_max: u64, places: u32) -> Self {
        Self {
            used: AtomicU64::new(0),
            bytes_max,
            places,
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    fn reserve(&self, bytes: u64) -> Result<(), u64> {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max)
            })
            .map(|_| ())
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// A growth that was not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory of {bytes} bytes is over the limit of {bytes_max}")]
pub(crate) struct MemoryRefused {
    /// What it would have been.
    pub(crate) bytes: u64,
    /// The limit that it exceeds.
    pub(crate) bytes_max: u64,
    /// Whose limit that is.
    pub(crate) scope: MemoryScope,
}

/// What one instance holds.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    budget: Arc<MemoryBudget>,
    held: u64,
    bytes_max: u64,
    last_growth: u64,
    refused: Option<MemoryRefused>,
}

impl MemoryLimiter {
    pub(crate) fn new(budget: Arc<MemoryBudget>, bytes_max: u64) -> Self {
        Self {
            budget,
            held: 0,
            bytes_max,
            last_growth: 0,
            refused: None,
        }
    }

    /// Counts what the instance takes from its beginning to its end.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), MemoryRefused> {
        self.grow(bytes)
    }

    /// Memory of the instance, bytes.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Why the instance was stopped, if it was for its memory.
    pub(crate) fn refused(&self) -> Option<MemoryRefused> {
        self.refused
    }

    /// How many memories all instances together may have.
    pub(crate) fn places(&self) -> u32 {
        self.budget.places
    }

    /// Answers the engine: a refused growth stops the call.
    fn judge(&mut self, growth: u64) -> wasmtime::Result<bool> {
        match self.grow(growth) {
            Ok(()) => Ok(true),
            Err(refused) => {
                self.refused = Some(refused);
                Err(wasmtime::Error::new(refused))
            }
        }
    }

    /// The growth was allowed, but did not happen: the module's own maximum or the system.
    fn give_back(&mut self) {
        self.held = self.held.saturating_sub(self.last_growth);
        self.budget.release(self.last_growth);
        self.last_growth = 0;
    }

    fn grow(&mut self, growth: u64) -> Result<(), MemoryRefused> {
        let wanted = self.held.saturating_add(growth);
        if wanted > self.bytes_max {
            let scope = MemoryScope::Instance;
            return Err(MemoryRefused {
                bytes: wanted,
                bytes_max: self.bytes_max,
                scope,
            });
        }
        self.budget.reserve(growth).map_err(|used| MemoryRefused {
            bytes: used.saturating_add(growth),
            bytes_max: self.budget.bytes_max,
            scope: MemoryScope::Host,
        })?;
        self.held = wanted;
        self.last_growth = growth;
        Ok(())
    }
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.budget.release(self.held);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // No machine has a usize of more than 64 bits.
        let growth = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        self.judge(growth)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        self.judge(elements.saturating_mul(TABLE_ELEMENT_BYTES))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests;
