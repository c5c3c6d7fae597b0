//! What the machine itself takes from a thread: it tells a slow p99 of the plugin from one of the machine.
//!
//! Below a guest system something may take its processors away, some thousand times a second and for microseconds; no
//! counter of the guest shows it. A loop that does nothing but read the clock does.

use std::time::Duration;

use tokio::time::Instant;

const LOOK: Duration = Duration::from_millis(500);
/// Many times as long as two readings of the clock lie apart.
const GAP: Duration = Duration::from_micros(1);

/// The times a second at which this thread stood still for more than a microsecond.
pub(crate) fn gaps_per_second() -> f64 {
    let started = Instant::now();
    let mut last = started;
    let mut gaps = 0_u32;
    while last.duration_since(started) < LOOK {
        let now = Instant::now();
        gaps += u32::from(now.duration_since(last) > GAP);
        last = now;
    }
    f64::from(gaps) / LOOK.as_secs_f64()
}
