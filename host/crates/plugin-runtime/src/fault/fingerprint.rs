//! A name for an event that tells nothing of its client.

use domain::StatusEvent;
use sha2::{Digest as _, Sha256};

/// Sixteen hex digits over everything of `event` that names it: the same event has the same
/// fingerprint in every try, on every host, after every restart.
pub(crate) fn fingerprint(event: &StatusEvent) -> String {
    let mut hash = Sha256::new();
    hash.update(event.event_id.to_string());
    hash.update(event.event_type.as_str());
    hash.update(event.channel.channel_id.to_string());
    hash.update(event.channel.client_id.as_str());
    hash.update(event.sequence.0.to_le_bytes());
    hash.update(event.time_ms.to_le_bytes());
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
