//! What the host does for a plugin: log lines and counters.
//!
//! Natively, in a plugin's own tests, both are kept per thread and read back by `take_log` and
//! `take_counters`.

#[cfg(not(target_arch = "wasm32"))]
mod stand_in;

use crate::Level;

#[cfg(not(target_arch = "wasm32"))]
pub use stand_in::{take_counters, take_log};

/// Writes a line to the host's log: 1 KiB at most, the rest is cut; 100 lines a second at most.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::rulemill::rule::log::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    stand_in::log(level, message);
}

/// Adds `delta` to the counter `name`: 32 names at most per rule, each of 64 bytes at most.
pub fn add(name: &str, delta: u64) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::rulemill::rule::metrics::add(name, delta);
    #[cfg(not(target_arch = "wasm32"))]
    stand_in::add(name, delta);
}
