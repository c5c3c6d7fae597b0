//! Client status as the JSON of the presence events of `AWS IoT Core`.
//!
//! This file makes the component. The mapping stands in a module without the exports, so that
//! `filter` can compile it in.

mod mapping;

pub use mapping::AwsIotLifecycle;

rulemill_sdk::export_rule!(AwsIotLifecycle);

#[cfg(test)]
mod tests;
