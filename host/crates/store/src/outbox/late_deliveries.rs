//! Events that a job ended while they were on their way to RocketMQ, which stored them all the same.
//!
//! A job ends whatever is too old or not wanted, in flight or not. If RocketMQ's answer comes later, the event counts
//! as what it is: delivered. Nobody's order or message depends on it, so this is kept in memory only: after a crash such
//! an event stays counted as expired or discarded.

use std::collections::{HashMap, VecDeque};

use super::commit::SettledAs;
use crate::record::EventKey;

/// What is remembered; far more than can be in flight. The oldest make room.
const KEYS_MAX: usize = 65_536;

/// The events that jobs ended last.
#[derive(Debug, Default)]
pub(crate) struct LateDeliveries {
    ended: HashMap<EventKey, SettledAs>,
    order: VecDeque<EventKey>,
}

impl LateDeliveries {
    /// How a job ended the event, if it did lately.
    pub(crate) fn ended(&self, key: EventKey) -> Option<SettledAs> {
        self.ended.get(&key).copied()
    }

    /// A job ended the event.
    pub(crate) fn remember(&mut self, key: EventKey, how: SettledAs) {
        if self.ended.insert(key, how).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > KEYS_MAX {
            let oldest = self.order.pop_front();
            oldest.map(|oldest| self.ended.remove(&oldest));
        }
    }

    /// It counts as delivered now, and will not again.
    pub(crate) fn forget(&mut self, key: EventKey) {
        self.ended.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::{KEYS_MAX, LateDeliveries};
    use crate::outbox::commit::SettledAs;

    #[test]
    fn the_oldest_make_room() {
        let mut late = LateDeliveries::default();
        let keys = 0..=u64::try_from(KEYS_MAX).unwrap();
        for position in keys {
            late.remember((1, 2, position), SettledAs::Expired);
        }
        assert_eq!(late.ended((1, 2, 0)), None);
        assert_eq!(late.ended((1, 2, 1)), Some(SettledAs::Expired));
        assert_eq!(late.ended.len(), late.order.len());
        late.forget((1, 2, 1));
        assert_eq!(late.ended((1, 2, 1)), None);
    }
}
