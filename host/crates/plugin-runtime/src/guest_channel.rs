//! What a plugin says: log lines and counters, bounded, shared by all instances of one mapper.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bindings::rulemill::rule::log::Level;

/// A longer line is cut.
pub(crate) const LINE_BYTES_MAX: usize = 1024;

const LINES_PER_SECOND_MAX: u32 = 100;
/// Lines that are shown of one trial.
const TRANSCRIPT_LINES_MAX: usize = 100;
const COUNTERS_MAX: usize = 32;
const COUNTER_NAME_BYTES_MAX: usize = 64;

/// The way from a plugin's instances to the host.
#[derive(Debug)]
pub(crate) struct GuestChannel {
    plugin_digest: String,
    lines: Mutex<LineBudget>,
    counters: Mutex<Counters>,
    /// Where lines go instead of the host's log, while somebody wants to see them.
    transcript: Mutex<Option<Transcript>>,
}

/// A line that a plugin wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLine {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The text, cut to 1 KiB.
    pub text: String,
}

#[derive(Debug, Default)]
struct Transcript {
    lines: Vec<GuestLine>,
    dropped: u64,
}

impl Transcript {
    fn push(&mut self, level: Level, line: &str) {
        if self.lines.len() >= TRANSCRIPT_LINES_MAX {
            self.dropped += 1;
            return;
        }
        self.lines.push(GuestLine {
            level: level_name(level),
            text: cut(line, LINE_BYTES_MAX).to_owned(),
        });
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

#[derive(Debug)]
struct LineBudget {
    second: Instant,
    written: u32,
    /// Since the log last told of them.
    dropped: u64,
    dropped_in_all: u64,
}

#[derive(Debug, Default)]
struct Counters {
    by_name: BTreeMap<String, u64>,
    dropped: u64,
}

impl GuestChannel {
    pub(crate) fn new(plugin_digest: String) -> Self {
        let lines = LineBudget {
            second: Instant::now(),
            written: 0,
            dropped: 0,
            dropped_in_all: 0,
        };
        Self {
            plugin_digest,
            lines: Mutex::new(lines),
            counters: Mutex::default(),
            transcript: Mutex::default(),
        }
    }

    /// From now on lines are kept for [`GuestChannel::recorded`].
    pub(crate) fn record(&self) {
        *self.transcript.lock() = Some(Transcript::default());
    }

    /// The lines that were kept, and how many there were beyond them.
    pub(crate) fn recorded(&self) -> (Vec<GuestLine>, u64) {
        let transcript = self.transcript.lock().take().unwrap_or_default();
        (transcript.lines, transcript.dropped)
    }

    /// Writes a line to the host's log, or counts it as dropped.
    pub(crate) fn log(&self, level: Level, line: &str) {
        if let Some(transcript) = self.transcript.lock().as_mut() {
            return transcript.push(level, line);
        }
        let Some(dropped) = self.lines.lock().take() else {
            return;
        };
        let plugin_digest = self.plugin_digest.as_str();
        if dropped > 0 {
            tracing::warn!(target: "plugin", plugin_digest, dropped, "plugin log lines dropped");
        }
        let line = cut(line, LINE_BYTES_MAX);
        match level {
            Level::Trace => {
                tracing::trace!(target: "plugin", plugin_digest, guest = true, line, "plugin log");
            }
            Level::Debug => {
                tracing::debug!(target: "plugin", plugin_digest, guest = true, line, "plugin log");
            }
            Level::Info => {
                tracing::info!(target: "plugin", plugin_digest, guest = true, line, "plugin log");
            }
            Level::Warn => {
                tracing::warn!(target: "plugin", plugin_digest, guest = true, line, "plugin log");
            }
            Level::Error => {
                tracing::error!(target: "plugin", plugin_digest, guest = true, line, "plugin log");
            }
        }
    }

    /// Lines that were not written because there were too many in a second.
    pub(crate) fn lines_dropped(&self) -> u64 {
        self.lines.lock().dropped_in_all
    }

    /// Adds to a counter, or counts the addition as dropped.
    pub(crate) fn add(&self, name: &str, delta: u64) {
        let mut counters = self.counters.lock();
        if let Some(counter) = counters.by_name.get_mut(name) {
            *counter = counter.saturating_add(delta);
        } else if counters.by_name.len() < COUNTERS_MAX && name.len() <= COUNTER_NAME_BYTES_MAX {
            counters.by_name.insert(name.to_owned(), delta);
        } else {
            counters.dropped += 1;
        }
    }

    /// The counters by name, and how many additions were dropped.
    pub(crate) fn counters(&self) -> (Vec<(String, u64)>, u64) {
        let counters = self.counters.lock();
        let all = counters
            .by_name
            .iter()
            .map(|(name, value)| (name.clone(), *value))
            .collect();
        (all, counters.dropped)
    }
}

impl LineBudget {
    /// Room for one line: how many were dropped before it, once per second.
    fn take(&mut self) -> Option<u64> {
        let now = Instant::now();
        let mut dropped = 0;
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            dropped = self.dropped;
            *self = Self {
                second: now,
                written: 0,
                dropped: 0,
                dropped_in_all: self.dropped_in_all,
            };
        }
        if self.written >= LINES_PER_SECOND_MAX {
            self.dropped += 1;
            self.dropped_in_all += 1;
            return None;
        }
        self.written += 1;
        Some(dropped)
    }
}

/// The beginning of `text`, `bytes_max` bytes at most.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{COUNTERS_MAX, GuestChannel, cut};

    #[test]
    fn counters_are_bounded_and_the_rest_is_counted() {
        let channel = GuestChannel::new(String::new());
        for n in 0..COUNTERS_MAX + 3 {
            channel.add(&format!("c{n:02}"), 1);
        }
        channel.add("c00", u64::MAX);
        channel.add(&"x".repeat(65), 1);
        let (counters, dropped) = channel.counters();
        assert_eq!(counters.len(), COUNTERS_MAX);
        assert_eq!(counters[0], ("c00".to_owned(), u64::MAX));
        assert_eq!(dropped, 4);
    }

    #[test]
    fn a_flood_of_lines_is_cut_at_a_hundred_a_second() {
        let channel = GuestChannel::new(String::new());
        let mut lines = channel.lines.lock();
        let passed = (0..1000).filter(|_| lines.take().is_some()).count();
        // A slow machine may cross a second on the way.
        assert!((100..=300).contains(&passed), "{passed}");
        assert!(lines.dropped >= 700 - 300);
        drop(lines);
        assert_eq!(
            channel.lines_dropped(),
            1000 - u64::try_from(passed).unwrap()
        );
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("", 3), "");
    }
}
