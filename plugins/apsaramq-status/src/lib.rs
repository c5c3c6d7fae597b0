//! The default mapping: the body that ApsaraMQ for MQTT sends for a client's status.
//!
//! This file makes the component. The mapping stands in a module without the exports, so that
//! `filter` can compile it in.

mod mapping;

pub use mapping::ApsaramqStatus;

rulemill_sdk::export_rule!(ApsaramqStatus);

#[cfg(test)]
mod tests;
