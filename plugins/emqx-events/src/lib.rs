//! Client status as the JSON of EMQX 5's events `client.connected` and `client.disconnected`.
//!
//! This file makes the component. The mapping stands in a module without the exports, so that
//! `filter` can compile it in.

mod mapping;

pub use mapping::EmqxEvents;

rulemill_sdk::export_rule!(EmqxEvents);

#[cfg(test)]
mod tests;
