//! Waiting for something that another process does.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks `probe` until it gives a value.
///
/// # Errors
///
/// When `probe` fails, or gives nothing before the deadline; then the error names `what` was awaited.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if start.elapsed() >= deadline {
            bail!("{what}: not within {} s", deadline.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lets time pass that is a part of the story, such as an outage's length. Not for waiting until something has happened.
pub fn let_pass(time: Duration) {
    std::thread::sleep(time);
}

/// Milliseconds since the UNIX epoch.
#[must_use]
pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}
