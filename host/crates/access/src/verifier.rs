//! Hashes passwords away from the socket threads: so many at once, so many waiting, no more.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::RefuseAccessError;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::PasswordHash;
use crate::success_cache::SuccessCache;

/// Runs argon2 on the blocking threads of one runtime.
#[derive(Debug)]
pub(crate) struct PasswordVerifier {
    runtime: Handle,
    cache: SuccessCache,
    at_once: Arc<Semaphore>,
    /// A place for everyone who runs or waits.
    places: Arc<Semaphore>,
    places_max: usize,
    hashed: AtomicU64,
    remembered: AtomicU64,
}

impl PasswordVerifier {
    pub(crate) fn new(
        runtime: Handle,
        cache: SuccessCache,
        at_once: NonZeroUsize,
        waiting_max: usize,
    ) -> Self {
        let at_once = at_once.get().min(Semaphore::MAX_PERMITS);
        let places_max = at_once
            .saturating_add(waiting_max)
            .min(Semaphore::MAX_PERMITS);
        Self {
            runtime,
            cache,
            at_once: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            hashed: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
        }
    }

    /// Whether `password` is the one of `hash`.
    pub(crate) async fn verify(
        &self,
        user: &str,
        password: &[u8],
        hash: Arc<PasswordHash>,
    ) -> Result<bool, RefuseAccessError> {
        let proof = self.cache.proof(user, password, &hash);
        if self.is_remembered(proof) {
            return Ok(true);
        }
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| RefuseAccessError::Throttled)?;
        let turn = Arc::clone(&self.at_once)
            .acquire_owned()
            .await
            .map_err(|_| RefuseAccessError::Unavailable)?;
        // Someone before in the queue may have proved the same.
        if self.is_remembered(proof) {
            return Ok(true);
        }
        let password = Zeroizing::new(password.to_vec());
        let verdict = self.runtime.spawn_blocking(move || {
            let verdict = hash.is_of(&password);
            // Not before: a client that goes away meanwhile must not make room for one more.
            drop((turn, place));
            verdict
        });
        self.hashed.fetch_add(1, Ordering::Relaxed);
        // Otherwise there is no memory, or the host is going down.
        let Ok(Ok(is_right)) = verdict.await else {
            return Err(RefuseAccessError::Unavailable);
        };
        if is_right {
            self.cache.insert(proof, Instant::now());
        }
        Ok(is_right)
    }

    /// Passwords that are hashed or wait for it.
    pub(crate) fn pending(&self) -> usize {
        self.places_max
            .saturating_sub(self.places.available_permits())
    }

    /// Passwords that were hashed.
    pub(crate) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Passwords that were remembered as right.
    pub(crate) fn remembered(&self) -> u64 {
        self.remembered.load(Ordering::Relaxed)
    }

    fn is_remembered(&self, proof: crate::success_cache::Proof) -> bool {
        let is_remembered = self.cache.has(proof, Instant::now());
        if is_remembered {
            self.remembered.fetch_add(1, Ordering::Relaxed);
        }
        is_remembered
    }
}

#[cfg(test)]
mod tests;
