//! Steps of the machine's clock, kept beside the rules: the events that they make look old outlive a restart, too.

use domain::ErrorChain;
use store::MetaStore;

use crate::control::Control;

/// A step for each line: when it ended, UNIX milliseconds, and its size, milliseconds.
const SETTING: &str = "clock/steps";

/// What was kept before. Without it, what is queued looks as old as the clock says.
pub(crate) fn kept(meta: &MetaStore) -> Vec<(u64, u64)> {
    let text = match meta.setting(SETTING) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(error = %ErrorChain(&error), "earlier steps of the clock cannot be read");
            return Vec::new();
        }
    };
    text.lines().filter_map(step).collect()
}

fn step(line: &str) -> Option<(u64, u64)> {
    let (end_ms, size_ms) = line.split_once(' ')?;
    Some((end_ms.parse().ok()?, size_ms.parse().ok()?))
}

/// Keeps all steps that are known.
pub(crate) async fn keep(control: &Control) {
    let steps = control.clock_watch.steps_forward();
    let lines = steps
        .iter()
        .map(|(end_ms, size_ms)| format!("{end_ms} {size_ms}\n"));
    let text: String = lines.collect();
    let kept = control.write(move |tx| tx.put_setting(SETTING, &text));
    if let Err(error) = kept.await {
        tracing::error!(
            error = %ErrorChain(&error),
            "a step of the clock is not kept: after a restart, events from before it look older than they are"
        );
    }
}
