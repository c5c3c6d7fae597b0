//! The host's side of the contract in `wit/`, as wasmtime generates it.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "status-rule",
    ownership: Borrowing { duplicate_if_necessary: true },
});
