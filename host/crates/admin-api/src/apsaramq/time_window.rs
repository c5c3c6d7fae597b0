//! How far a request's time may be from the host's.

use std::time::{Duration, UNIX_EPOCH};

use super::failure::Failure;

/// As the cloud's: a quarter of an hour, before or after.
pub(crate) const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Checks a time such as `2026-11-28T12:00:00Z`.
pub(crate) fn check(text: &str, now_ms: u64) -> Result<(), Failure> {
    let Ok(time) = humantime::parse_rfc3339(text) else {
        return Err(Failure::incomplete_signature(format!(
            "The time {text:?} is not of the form 2026-11-28T12:00:00Z, in UTC."
        )));
    };
    let now = UNIX_EPOCH + Duration::from_millis(now_ms);
    let distance = time
        .duration_since(now)
        .unwrap_or_else(|error| error.duration());
    if distance > WINDOW {
        return Err(Failure::timestamp(format!(
            "The time {text} is {} s from the host's; at most {} are allowed. Check the clocks, or send the request anew.",
            distance.as_secs(),
            WINDOW.as_secs()
        )));
    }
    Ok(())
}
