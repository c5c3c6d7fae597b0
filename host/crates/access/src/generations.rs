//! A bounded map that forgets what was touched longest ago, half of it at a time.
//!
//! Entries live in a young and an old generation; whoever is touched is young. When the young one is
//! full, or has been young for too long, the old one is dropped and the young one becomes old. That
//! bounds memory and age without a list of who came last.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// At most `entries_max` entries, each forgotten between half of and the whole `age_max` after it was
/// last touched, or earlier when there are too many.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half_max: usize,
    half_age: Duration,
    young_since: Instant,
}

impl<K: Eq + Hash + Copy, V> Generations<K, V> {
    pub(crate) fn new(entries_max: usize, age_max: Duration, now: Instant) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half_max: (entries_max / 2).max(1),
            half_age: age_max / 2,
            young_since: now,
        }
    }

    /// The entry of `key`, which is young from now on.
    pub(crate) fn touch(&mut self, key: K, now: Instant) -> Option<&mut V> {
        self.advance(now);
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key)?;
            self.make_room(now);
            self.young.insert(key, value);
        }
        self.young.get_mut(&key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V, now: Instant) {
        self.advance(now);
        self.old.remove(&key);
        if !self.young.contains_key(&key) {
            self.make_room(now);
        }
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: K) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    fn advance(&mut self, now: Instant) {
        if now.saturating_duration_since(self.young_since) >= self.half_age {
            // After a long silence both are too old.
            if now.saturating_duration_since(self.young_since) >= self.half_age.saturating_mul(2) {
                self.young.clear();
            }
            self.grow_old(now);
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.young.len() >= self.half_max {
            self.grow_old(now);
        }
    }

    fn grow_old(&mut self, now: Instant) {
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        self.young_since = now;
    }
}

#[cfg(test)]
mod tests;
