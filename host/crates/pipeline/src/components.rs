//! Components that were uploaded for an apply and belong to no plugin yet.
//!
//! They are kept in memory for a while: an apply names them by digest, so that all of it is stored in
//! one transaction. When there are too many, the oldest one goes; the apply then says that it is gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::PluginDigest;
use parking_lot::Mutex;
use tokio::time::Instant;

/// All components together, bytes; one alone may be larger.
const BYTES_MAX: usize = 64 << 20;
/// How long one is kept.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The uploaded components, oldest first.
#[derive(Debug, Default)]
pub(crate) struct StagedComponents {
    waiting: Mutex<VecDeque<Staged>>,
}

#[derive(Debug)]
struct Staged {
    digest: PluginDigest,
    bytes: Arc<[u8]>,
    at: Instant,
}

impl StagedComponents {
    pub(crate) fn put(&self, digest: PluginDigest, bytes: Vec<u8>, now: Instant) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|it| it.digest != digest && is_fresh(it, now));
        let mut held: usize = waiting.iter().map(|it| it.bytes.len()).sum();
        while held + bytes.len() > BYTES_MAX
            && let Some(oldest) = waiting.pop_front()
        {
            held -= oldest.bytes.len();
        }
        waiting.push_back(Staged {
            digest,
            bytes: bytes.into(),
            at: now,
        });
    }

    pub(crate) fn find(&self, digest: PluginDigest, now: Instant) -> Option<Arc<[u8]>> {
        let mut waiting = self.waiting.lock();
        waiting.retain(|it| is_fresh(it, now));
        let found = waiting.iter().find(|it| it.digest == digest);
        found.map(|it| Arc::clone(&it.bytes))
    }

    pub(crate) fn forget(&self, digest: PluginDigest) {
        self.waiting.lock().retain(|it| it.digest != digest);
    }
}

fn is_fresh(staged: &Staged, now: Instant) -> bool {
    now.saturating_duration_since(staged.at) < AGE_MAX
}

#[cfg(test)]
mod tests {
    use domain::PluginDigest;
    use tokio::time::Instant;

    use super::{AGE_MAX, BYTES_MAX, StagedComponents};

    #[test]
    fn the_oldest_component_makes_room_and_old_ones_go() {
        let staged = StagedComponents::default();
        let now = Instant::now();
        let digest = |n| PluginDigest([n; 32]);
        staged.put(digest(1), vec![0; BYTES_MAX / 2], now);
        staged.put(digest(2), vec![0; BYTES_MAX / 2], now);
        assert!(staged.find(digest(1), now).is_some());
        staged.put(digest(3), vec![0; 1], now);
        assert!(staged.find(digest(1), now).is_none());
        assert!(staged.find(digest(2), now).is_some());
        // One alone may be larger than all together.
        staged.put(digest(4), vec![0; BYTES_MAX + 1], now);
        assert!(staged.find(digest(3), now).is_none());
        assert!(staged.find(digest(4), now).is_some());
        assert!(staged.find(digest(4), now + AGE_MAX).is_none());
    }
}
