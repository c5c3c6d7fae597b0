//! The plugins that travel inside the binary, so that `rulemill serve` works alone.
//!
//! `build.rs` makes them. What becomes of them in the store is not decided here.

/// Name and component of each.
pub(crate) const PLUGINS: &[(&str, &[u8])] = &[
    (
        "apsaramq-status",
        include_bytes!(concat!(env!("OUT_DIR"), "/apsaramq-status.wasm")),
    ),
    (
        "cloudevents",
        include_bytes!(concat!(env!("OUT_DIR"), "/cloudevents.wasm")),
    ),
];
