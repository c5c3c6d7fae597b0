//! Remembers right passwords, so that a client that comes again costs no argon2.
//!
//! What is kept is an HMAC with a key that lives as long as the process, over user, password and the
//! hash that the password had to match: nobody finds an entry without the password, and a changed
//! password finds none.

use std::fmt;
use std::io;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::PasswordHash;
use crate::generations::Generations;

const KEY_BYTES: usize = 32;
/// About 50 bytes each. At the limit those used longest ago are forgotten and hashed again.
const ENTRIES_MAX: usize = 65_536;
/// A password that nobody used for so long is forgotten, at the latest.
const AGE_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// That someone knew a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Proof([u8; 32]);

/// The proofs that were seen.
pub(crate) struct SuccessCache {
    key: Zeroizing<[u8; KEY_BYTES]>,
    seen: Mutex<Generations<Proof, ()>>,
}

impl SuccessCache {
    pub(crate) fn new(now: Instant) -> io::Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(key.as_mut_slice()).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            key,
            seen: Mutex::new(Generations::new(ENTRIES_MAX, AGE_MAX, now)),
        })
    }

    /// What whoever presents `password` for `user` claims to know.
    pub(crate) fn proof(&self, user: &str, password: &[u8], hash: &PasswordHash) -> Proof {
        let key = Zeroizing::new(block(&self.key));
        let mut mac = Hmac::<Sha256>::new((&*key).into());
        let [salt, output] = hash.identity();
        for part in [user.as_bytes(), password, salt, output] {
            // Lengths first, so that no two lists of parts read alike.
            mac.update(&part.len().to_le_bytes());
            mac.update(part);
        }
        Proof(mac.finalize().into_bytes().into())
    }

    pub(crate) fn has(&self, proof: Proof, now: Instant) -> bool {
        self.seen.lock().touch(proof, now).is_some()
    }

    pub(crate) fn insert(&self, proof: Proof, now: Instant) {
        self.seen.lock().insert(proof, (), now);
    }
}

/// The key as HMAC pads it.
fn block(key: &[u8; KEY_BYTES]) -> [u8; 64] {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    block
}

impl fmt::Debug for SuccessCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SuccessCache(***)")
    }
}
