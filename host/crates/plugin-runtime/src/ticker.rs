//! The thread that advances the engine's epoch every millisecond while plugins are being called.
//!
//! An OS thread of its own, because a task could starve behind the very calls that it should stop.
//! It sleeps while nothing is called, so an idle host does not wake a thousand times a second.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::EngineWeak;

const TICK: Duration = Duration::from_millis(1);

/// The thread and who needs it.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    callers: usize,
    is_stopped: bool,
}

/// Epochs advance as long as one of these lives.
#[derive(Debug)]
pub(crate) struct Ticking {
    shared: Arc<Shared>,
}

impl Ticker {
    pub(crate) fn start(engine: EngineWeak) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = Builder::new()
            .name("epoch-ticker".to_owned())
            .spawn(move || tick(&theirs, &engine))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Plugins are about to be called.
    pub(crate) fn begin(&self) -> Ticking {
        let mut state = self.shared.state.lock();
        state.callers += 1;
        if state.callers == 1 {
            self.shared.changed.notify_one();
        }
        Ticking {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.state.lock().callers -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.state.lock().is_stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the ticker has been printed by then, and there is no one left to tell.
            drop(thread.join());
        }
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut state = shared.state.lock();
    while !state.is_stopped {
        if state.callers == 0 {
            shared.changed.wait(&mut state);
            continue;
        }
        let _: bool = shared.changed.wait_for(&mut state, TICK).timed_out();
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
    }
}
