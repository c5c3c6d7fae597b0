//! Client status as CloudEvents 1.0 in structured JSON mode.
//!
//! This file makes the component. The mapping stands in a module without the exports, so that
//! `filter` can compile it in.

mod mapping;

pub use mapping::CloudEvents;

rulemill_sdk::export_rule!(CloudEvents);

#[cfg(test)]
mod tests;
