//! What an instance finds around it: the contract's imports, a WASI with nothing behind it, limits.
//!
//! Everything that a plugin can ask for is the same for the same event: the wall clock stands at the
//! event's time, the monotonic clock stands still, random bytes are always the same. Nothing blocks:
//! whoever waits for time to pass goes on at once, because a deadline cannot interrupt the host.

mod output;
mod poll;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::{cli, clocks, random, sync};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView,
};

use crate::bindings::rulemill::rule::{log, metrics};
use crate::budget::{MemoryBudget, MemoryLimiter, MemoryRefused};
use crate::deadline::CallDeadline;
use crate::guest_channel::{GuestChannel, LINE_BYTES_MAX, cut};
use output::CapturedOutput;
use poll::{HasPoll, HasTable, TimelessPoll};

/// Handles that an instance may hold: streams and pollables.
const HANDLES_MAX: usize = 1024;
/// Random bytes of one request; a longer one traps.
const RANDOM_BYTES_MAX: u64 = 64 * 1024;
/// Every random byte. A longer pattern would depend on how much was drawn before.
const RANDOM_BYTE: u8 = 0x5a;
/// Bytes from the guest to the host in one call, beyond the messages themselves: lists and log lines.
const HOSTCALL_BYTES_SPARE: usize = 256 * 1024;

/// The host's side of one instance.
pub(crate) struct HostState {
    pub(crate) memory: MemoryLimiter,
    pub(crate) deadline: CallDeadline,
    pub(crate) output: CapturedOutput,
    /// Bytes that the plugin may pass to the host in one call.
    pub(crate) passed_bytes_max: usize,
    /// What it logged last as an error in this call: a language that catches its exceptions says them so.
    pub(crate) last_error: String,
    guest: Arc<GuestChannel>,
    time_ms: Arc<AtomicU64>,
    table: ResourceTable,
    wasi: WasiCtx,
}

/// What a new instance's store is made of.
pub(crate) struct StoreSpec<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) memory_bytes_max: u64,
    /// What the instance takes beside its linear memories and tables; see [`crate::inspect`].
    pub(crate) overhead_bytes: u64,
    pub(crate) output_bytes_max: usize,
    pub(crate) guest: Arc<GuestChannel>,
}

/// Makes the store of one instance. Its deadline is set before each call.
///
/// # Errors
///
/// When there is no memory even for what the instance takes beside its own.
pub(crate) fn store(spec: StoreSpec<'_>) -> Result<Store<HostState>, MemoryRefused> {
    let time_ms = Arc::new(AtomicU64::new(0));
    let output = CapturedOutput::new(Arc::clone(&spec.guest));
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES_MAX);
    let passed_bytes_max = spec.output_bytes_max.saturating_add(HOSTCALL_BYTES_SPARE);
    let mut memory = MemoryLimiter::new(spec.budget, spec.memory_bytes_max);
    memory.hold(spec.overhead_bytes)?;
    let state = HostState {
        memory,
        passed_bytes_max,
        deadline: CallDeadline::default(),
        wasi: wasi(&output, &time_ms),
        output,
        last_error: String::new(),
        guest: spec.guest,
        time_ms,
        table,
    };
    let mut store = Store::new(spec.engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(passed_bytes_max);
    store.epoch_deadline_callback(|mut context| {
        context.data_mut().deadline.on_tick()?;
        Ok(UpdateDeadline::Continue(1))
    });
    Ok(store)
}

/// Prepares `store` for a call at the event time `time_ms`.
pub(crate) fn begin_call(store: &mut Store<HostState>, deadline: Duration, time_ms: u64) {
    let state = store.data_mut();
    state.deadline.begin(deadline);
    state.last_error.clear();
    state.output.begin_call();
    // Relaxed is enough: the clock is read on this thread.
    state.time_ms.store(time_ms, Ordering::Relaxed);
    store.set_epoch_deadline(1);
}

fn wasi(output: &CapturedOutput, time_ms: &Arc<AtomicU64>) -> WasiCtx {
    let random = || Deterministic::new(vec![RANDOM_BYTE]);
    WasiCtx::builder()
        .stdout(output.stdout())
        .stderr(output.stderr())
        .wall_clock(EventClock(Arc::clone(time_ms)))
        .monotonic_clock(StandingClock)
        .secure_random(random())
        .insecure_random(random())
        .insecure_random_seed(u128::from(RANDOM_BYTE))
        .max_random_size(RANDOM_BYTES_MAX)
        .build()
}

/// Defines what the allow-list allows, and nothing else: the rest is refused when linking.
pub(crate) fn link(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    log::add_to_linker::<HostState, HasSelf<HostState>>(l, |state| state)?;
    metrics::add_to_linker::<HostState, HasSelf<HostState>>(l, |state| state)?;
    sync::io::error::add_to_linker::<HostState, HasTable>(l, |state| &mut state.table)?;
    sync::io::streams::add_to_linker::<HostState, HasTable>(l, |state| &mut state.table)?;
    sync::io::poll::add_to_linker::<HostState, HasPoll>(l, |state| TimelessPoll(&mut state.table))?;
    clocks::wall_clock::add_to_linker::<HostState, WasiClocks>(l, HostState::clocks)?;
    clocks::monotonic_clock::add_to_linker::<HostState, WasiClocks>(l, HostState::clocks)?;
    random::random::add_to_linker::<HostState, WasiRandom>(l, |state| state.wasi.random())?;
    random::insecure::add_to_linker::<HostState, WasiRandom>(l, |state| state.wasi.random())?;
    random::insecure_seed::add_to_linker::<HostState, WasiRandom>(l, |state| state.wasi.random())?;
    cli::environment::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::exit::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::stdin::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::stdout::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::stderr::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::terminal_input::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::terminal_output::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::terminal_stdin::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::terminal_stdout::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    cli::terminal_stderr::add_to_linker::<HostState, WasiCli>(l, HostState::cli)?;
    Ok(linker)
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl log::Host for HostState {
    fn log(&mut self, level: log::Level, message: String) {
        self.guest.log(level, &message);
        if level == log::Level::Error {
            cut(&message, LINE_BYTES_MAX).clone_into(&mut self.last_error);
        }
    }
}

impl metrics::Host for HostState {
    fn add(&mut self, name: String, delta: u64) {
        self.guest.add(&name, delta);
    }
}

/// A wall clock that shows the time of the event.
struct EventClock(Arc<AtomicU64>);

impl HostWallClock for EventClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A monotonic clock that stands still: whatever it measures takes no time.
struct StandingClock;

impl HostMonotonicClock for StandingClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        1
    }
}
