//! Nonces that were used: a request that was seen does not count again.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;

use super::failure::Failure;
use super::time_window::WINDOW;

/// Nonces that are kept: 100 requests a second for the whole window and more, some 15 MB.
pub(crate) const NONCES_MAX: usize = 200_000;
/// Bytes of a nonce.
const NONCE_BYTES_MAX: usize = 128;

/// The nonces of the last half hour: a request's time may be a window before or after the host's.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Access key and nonce.
    known: HashSet<(String, String)>,
    /// In the order they came, with the time after which each is forgotten.
    ends: VecDeque<(u64, (String, String))>,
}

impl Nonces {
    /// Takes the nonce of a request whose signature is right.
    pub(crate) fn take(&self, key: &str, nonce: &str, now_ms: u64) -> Result<(), Failure> {
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX {
            return Err(Failure::incomplete_signature(format!(
                "The nonce has to have 1 to {NONCE_BYTES_MAX} bytes."
            )));
        }
        let mut kept = self.kept.lock();
        while let Some((end_ms, _)) = kept.ends.front()
            && *end_ms < now_ms
        {
            if let Some((_, old)) = kept.ends.pop_front() {
                kept.known.remove(&old);
            }
        }
        let entry = (key.to_owned(), nonce.to_owned());
        if kept.known.contains(&entry) {
            return Err(Failure::nonce());
        }
        if kept.ends.len() >= NONCES_MAX {
            return Err(Failure::throttled());
        }
        let window_ms = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
        let end_ms = now_ms.saturating_add(window_ms.saturating_mul(2));
        kept.known.insert(entry.clone());
        kept.ends.push_back((end_ms, entry));
        Ok(())
    }
}
