//! The host's side of the contract in `wit/`, as wasmtime generates it.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "rulemill:rule/status-rule",
    ownership: Borrowing { duplicate_if_necessary: true },
});

/// What a plugin may export beside it.
pub(crate) mod optional {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        world: "rulemill:attributes/selects",
    });
}
