//! Lets some events pass, and hands those to another shipped mapping.
//!
//! The other mappings are compiled in from their sources: a component exports its mapping once, so
//! crates that export theirs cannot be linked together.

pub mod formats;
mod glob;
mod mapping;

pub use mapping::Filter;

rulemill_sdk::export_rule!(Filter);

#[cfg(test)]
mod tests;
