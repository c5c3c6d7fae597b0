//! What has to be done every few seconds whether or not anything happens: the clock is watched,
//! refusals are told, old events expire, incarnations that own nothing any more are forgotten.
//!
//! Two tasks, since the store may keep the second one waiting for as long as its disk is stuck.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::IncarnationId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::clock_steps;
use crate::clock_watch::Step;
use crate::control::Control;

/// Often enough for a step of the clock and the end of an outage to be told while they matter.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often at least it is tried to load what the host was too busy for or could not compile: each try costs it some
/// of what it lacks.
const AWAITED_EVERY: Duration = Duration::from_secs(30);

/// Starts both tasks; they end with `shutdown`.
pub(crate) fn start(tasks: &TaskTracker, control: &Arc<Control>, shutdown: &CancellationToken) {
    let (watched, cleared) = (Arc::clone(control), Arc::clone(control));
    let (one, other) = (shutdown.clone(), shutdown.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = one.cancelled() => {}
            () = watch(&watched) => {}
        }
    });
    tasks.spawn(async move {
        tokio::select! {
            () = other.cancelled() => {}
            () = clear(&cleared) => {}
        }
    });
}

async fn watch(control: &Control) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        watch_clock(control).await;
        control.review_refusals();
    }
}

async fn watch_clock(control: &Control) {
    let steps = control.clock_watch.steps();
    if steps.iter().any(|step| matches!(step, Step::Forward(_))) {
        clock_steps::keep(control).await;
    }
    for step in steps {
        let (direction, step_ms) = match step {
            Step::Forward(step_ms) => ("forward", step_ms),
            Step::Back(step_ms) => ("back", step_ms),
        };
        control.metrics.clock_steps.inc();
        tracing::warn!(
            direction,
            step_ms,
            "the machine's clock stepped; times of events never go back"
        );
    }
}

async fn clear(control: &Control) {
    let mut idle = BTreeSet::new();
    control.load_awaited().await;
    let mut pause = Backoff::new(INTERVAL, AWAITED_EVERY);
    let mut again_at = Instant::now() + pause.next();
    loop {
        tokio::time::sleep(INTERVAL).await;
        if !control.is_awaiting() {
            pause.reset();
        } else if again_at <= Instant::now() {
            control.load_awaited().await;
            again_at = Instant::now() + pause.next();
        }
        control.expire_old().await;
        control.note_proven().await;
        // Logged where it fails; the next round tries again.
        drop(control.discard_unwanted().await);
        // What was idle twice has no CONNECT on its way that saw the rules before a change.
        match control.forget_idle(&idle).await {
            Ok(still_idle) => idle = still_idle,
            Err(_) => idle = BTreeSet::<IncarnationId>::new(),
        }
    }
}
