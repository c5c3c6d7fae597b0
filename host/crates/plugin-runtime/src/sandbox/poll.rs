//! `wasi:io/poll` without waiting.
//!
//! The clock stands still, so a timer never fires, and streams never block: everything that a plugin
//! can wait for is ready. A wait in the host could not be interrupted by a deadline.

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::sync::io::poll::{Host, HostPollable};

/// For the parts of `wasi:io` that work on the table alone.
pub(crate) struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// For `wasi:io/poll`.
pub(crate) struct HasPoll;

impl HasData for HasPoll {
    type Data<'a> = TimelessPoll<'a>;
}

/// Says that everything is ready.
pub(crate) struct TimelessPoll<'a>(pub(crate) &'a mut ResourceTable);

impl Host for TimelessPoll<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        (0..pollables.len())
            .map(|index| Ok(u32::try_from(index)?))
            .collect()
    }
}

impl HostPollable for TimelessPoll<'_> {
    fn ready(&mut self, _pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        Ok(true)
    }

    fn block(&mut self, _pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        HostPollable::drop(self.0, pollable)
    }
}
