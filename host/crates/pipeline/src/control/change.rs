//! The turn of one change, and what is tidied up when it ends.

use std::fmt;

use domain::Actor;
use tokio::sync::MutexGuard;

use super::Control;
use crate::generations::Stamp;

/// A change under way; no other one is. What was loaded to try it and is in no snapshot is forgotten when it ends,
/// however it ends: else each refused change would keep its plugin's code.
pub(super) struct Change<'a> {
    control: &'a Control,
    _turn: MutexGuard<'a, ()>,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let present = self.control.rule_set.load();
        self.control.reloader.forget_unused(&present);
    }
}

impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").finish_non_exhaustive()
    }
}

impl Control {
    /// That `by` does something, now.
    pub(super) fn stamp(&self, by: &Actor) -> Stamp {
        Stamp {
            by: by.clone(),
            at_ms: self.clock.now_ms(),
        }
    }

    /// Waits for its turn. For changes that load plugins before they are stored.
    pub(super) async fn begin_change(&self) -> Change<'_> {
        let turn = self.change.lock().await;
        Change {
            control: self,
            _turn: turn,
        }
    }
}
