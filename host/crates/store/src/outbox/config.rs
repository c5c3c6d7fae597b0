//! What the outbox is told when it opens, and what it tells then.

use std::path::PathBuf;
use std::time::Duration;

/// Where the outbox is and what its limits are.
#[derive(Clone, Debug)]
pub struct OutboxConfig {
    /// The file.
    pub path: PathBuf,
    /// Pending events and reservations together; above it, CONNECTs are refused.
    pub bytes_max: u64,
    /// The same of one incarnation.
    pub share_bytes_max: u64,
    /// The longest time that an event waits for company, when there is much.
    pub commit_interval: Duration,
    /// Events that wait for their commit; above it, CONNECTs are refused.
    pub uncommitted_events_max: usize,
    /// Dead letters; above it, [`Outbox::dead_letters_room`](super::Outbox::dead_letters_room) says no and burials wait.
    pub dead_letters_bytes_max: u64,
}

/// What was found when the outbox opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredOutbox {
    /// Events that are not settled, those of `closed_channels` included.
    pub pending_events: u64,
    /// Channels that the last process left open: each got a synthetic `tcpclean`.
    pub closed_channels: u64,
    /// The last process did not close the file.
    pub repaired: bool,
}
