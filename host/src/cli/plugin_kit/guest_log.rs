//! What a plugin says while the kit runs it: its log lines, caught instead of written.
//!
//! On a host they go into the host's log. Here whoever wrote the plugin wants them beside the case that
//! caused them, a traceback above all.

use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The runtime drops most of a flood already; this bounds what is left of it.
const LINES_MAX: usize = 10_000;
/// The runtime's target for what plugins say.
const TARGET: &str = "plugin";

static LINES: Mutex<Vec<GuestLine>> = Mutex::new(Vec::new());

/// A line of the plugin's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuestLine {
    /// `trace` to `error`.
    pub(super) level: &'static str,
    pub(super) text: String,
}

/// Catches what plugins say from now on. Further calls change nothing.
pub(super) fn catch() {
    // It fails only when there is a subscriber already: this one.
    drop(tracing_subscriber::registry().with(Catcher).try_init());
}

/// The lines since the last call.
pub(super) fn take() -> Vec<GuestLine> {
    std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Catcher;

impl<S: Subscriber> Layer<S> for Catcher {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let text = match (said.line, said.dropped) {
            (Some(line), _) => line,
            (None, Some(dropped)) => format!("{dropped} lines were dropped: 100 a second at most"),
            (None, None) => return,
        };
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push(GuestLine {
                level: name(*event.metadata().level()),
                text,
            });
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

#[derive(Default)]
struct Said {
    line: Option<String>,
    dropped: Option<u64>,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "line" {
            self.line = Some(value.to_owned());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "dropped" {
            self.dropped = Some(value);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::{GuestLine, catch, take};

    #[test]
    fn what_plugins_say_is_caught_once_and_nothing_else_is() {
        catch();
        tracing::info!(target: "plugin", guest = true, line = "one", "plugin log");
        tracing::error!(target: "plugin", guest = true, line = "two", "plugin log");
        tracing::warn!(target: "plugin", dropped = 3_u64, "plugin log lines dropped");
        tracing::error!("the host's own");
        let line = |level, text: &str| GuestLine {
            level,
            text: text.to_owned(),
        };
        assert_eq!(
            take(),
            [
                line("info", "one"),
                line("error", "two"),
                line("warn", "3 lines were dropped: 100 a second at most"),
            ]
        );
        assert!(take().is_empty());
    }
}
