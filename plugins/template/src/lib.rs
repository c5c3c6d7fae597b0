//! The message as templates in the rule's configuration, so that most users never compile anything.
//!
//! This file makes the component. The mapping stands in modules without the exports, so that
//! `filter` can compile them in: there, too, `mapping.rs` is named by its path, and looks for its own
//! modules beside it.

#[path = "mapping.rs"]
mod mapping;

pub use mapping::Template;

rulemill_sdk::export_rule!(Template);

#[cfg(test)]
mod tests;
