//! Tells of refused authentications in the log, a few at a time: who guesses passwords must not fill a
//! disk with it. All are counted in the metrics; the next line says how many were left out.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lines in one window.
const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct RefusalLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl RefusalLog {
    /// Whether a line may be written now: `Some` of how many were not since the last one.
    pub(crate) fn line(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock();
        let is_over = window
            .since
            .is_none_or(|since| now.duration_since(since) >= WINDOW);
        if is_over {
            window.since = Some(now);
            window.lines = 0;
        }
        if window.lines >= LINES_MAX {
            window.left_out = window.left_out.saturating_add(1);
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_and_a_number() {
        let log = RefusalLog::default();
        let now = Instant::now();
        let written = (0..1_000).filter(|_| log.line(now).is_some()).count();
        assert_eq!(written, 10);
        let later = now + WINDOW;
        assert_eq!(log.line(later), Some(990));
        assert_eq!(log.line(later), Some(0));
    }
}
