//! The plugins that travel inside the binary, so that `rulemill serve` works alone.
//!
//! `build.rs` makes them. What becomes of them in the store is not decided here.

macro_rules! plugin {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm")),
        )
    };
}

/// Name and component of each.
pub(crate) const PLUGINS: &[(&str, &[u8])] = &[
    plugin!("apsaramq-status"),
    plugin!("aws-iot-lifecycle"),
    plugin!("cloudevents"),
    plugin!("emqx-events"),
    plugin!("filter"),
    plugin!("template"),
];
