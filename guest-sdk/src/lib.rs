//! What the author of a Rulemill plugin depends on: the contract's types, a trait and a macro.
//!
//! It owns the bindings to `wit/` and stand-ins for the host, so that a plugin is tested by plain
//! `cargo test`. It does not parse configurations. The component's exports exist on `wasm32` only,
//! because their names are no valid symbols for native linkers.

#![warn(missing_docs, missing_debug_implementations)]

#[doc(hidden)]
pub mod bindings;
mod event;
pub mod host;
pub mod json;
mod message;
mod rule;

pub use bindings::rulemill::rule::fault::MapError;
pub use bindings::rulemill::rule::log::Level;
pub use bindings::rulemill::rule::message::Message;
pub use bindings::rulemill::rule::status::{Event, EventType};
pub use rule::StatusRule;
