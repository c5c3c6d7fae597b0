//! Both limits, and that nothing is lost between them.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::{MemoryBudget, MemoryLimiter};
use crate::fault::MemoryScope;

#[test]
fn an_instance_may_not_exceed_its_own_cap() {
    let mut limiter = MemoryLimiter::new(Arc::new(MemoryBudget::new(1000, 1)), 100);
    assert!(limiter.memory_growing(0, 60, None).unwrap());
    // A second memory counts on top of the first.
    assert!(limiter.memory_growing(0, 41, None).is_err());
    let refused = limiter.refused().unwrap();
    assert_eq!(
        (refused.bytes, refused.bytes_max, refused.scope),
        (101, 100, MemoryScope::Instance)
    );
    assert_eq!(limiter.held(), 60);
}

#[test]
fn all_instances_share_the_budget_and_give_it_back() {
    let budget = Arc::new(MemoryBudget::new(100, 1));
    let mut first = MemoryLimiter::new(Arc::clone(&budget), 100);
    let mut second = MemoryLimiter::new(Arc::clone(&budget), 100);
    assert!(first.memory_growing(0, 60, None).unwrap());
    assert!(second.memory_growing(0, 60, None).is_err());
    assert_eq!(second.refused().unwrap().scope, MemoryScope::Host);
    drop(first);
    assert!(second.memory_growing(0, 60, None).unwrap());
    drop(second);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_growth_that_did_not_happen_is_not_counted() {
    let budget = Arc::new(MemoryBudget::new(100, 1));
    let mut limiter = MemoryLimiter::new(Arc::clone(&budget), 100);
    assert!(limiter.memory_growing(0, 60, None).unwrap());
    assert!(limiter.memory_growing(60, 90, None).unwrap());
    limiter
        .memory_grow_failed(wasmtime::Error::msg("no"))
        .unwrap();
    assert_eq!(limiter.held(), 60);
    assert_eq!(budget.used(), 60);
}

#[test]
fn tables_and_what_else_an_instance_takes_count_as_well() {
    let budget = Arc::new(MemoryBudget::new(1000, 1));
    let mut limiter = MemoryLimiter::new(Arc::clone(&budget), 100);
    limiter.hold(20).unwrap();
    assert!(limiter.table_growing(0, 5, None).unwrap());
    assert!(limiter.table_growing(5, 10, None).unwrap());
    limiter
        .table_grow_failed(wasmtime::Error::msg("no"))
        .unwrap();
    assert_eq!(limiter.held(), 60);
    assert!(limiter.table_growing(5, usize::MAX, None).is_err());
    assert_eq!(limiter.held(), 60);
    drop(limiter);
    assert_eq!(budget.used(), 0);
}
