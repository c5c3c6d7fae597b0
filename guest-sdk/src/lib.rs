//! What the author of a Rulemill plugin depends on: the contract's types, a trait and a macro.
//!
//! It owns the bindings to `wit/` and stand-ins for the host, so that a plugin is tested by plain
//! `cargo test`. Without features it depends on nothing but those bindings: `config` reads
//! configurations by serde, `testing` helps native tests, `allocator` makes calls faster. The
//! component's exports exist on `wasm32` only, because their names are no valid symbols for native
//! linkers.

#![warn(missing_docs, missing_debug_implementations)]

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod allocator;
#[doc(hidden)]
pub mod bindings;
mod close_reason;
#[cfg(any(test, feature = "config"))]
pub mod config;
mod event;
pub mod host;
pub mod json;
mod log;
mod message;
mod rule;
#[cfg(all(not(target_arch = "wasm32"), any(test, feature = "testing")))]
pub mod testing;
pub mod time;

pub use bindings::rulemill::rule::fault::MapError;
pub use bindings::rulemill::rule::log::Level;
pub use bindings::rulemill::rule::message::Message;
pub use bindings::rulemill::rule::status::{Event, EventType};
pub use close_reason::CloseReason;
pub use rule::StatusRule;
