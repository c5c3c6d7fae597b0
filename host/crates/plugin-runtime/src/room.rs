//! Memory for a plugin that is tried or started: warm instances are only a cache and make room.

use crate::fault::MapperFault;
use crate::scheduler::{Scheduler, lacks_host_memory};

/// Runs `attempt`, which drops its instance before it returns; once more without all idle instances, if the host had no
/// memory for it. `fault` is how the attempt failed.
pub(crate) fn with_room<T>(
    scheduler: &Scheduler,
    attempt: impl Fn() -> T,
    fault: impl Fn(&T) -> Option<&MapperFault>,
) -> T {
    let first = attempt();
    if !fault(&first).is_some_and(lacks_host_memory) {
        return first;
    }
    let idle = scheduler.take_idle();
    if idle.is_empty() {
        return first;
    }
    drop(idle);
    attempt()
}
