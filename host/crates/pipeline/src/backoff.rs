//! Growing pauses between tries, with full jitter so that couriers do not march in step.

use std::time::Duration;

/// The state of one series of tries.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    /// The pause before try n is random between half of and `first * 2^n`, at most `cap`.
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            tries: 0,
        }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(1 << self.tries.min(16))
            .min(self.cap);
        self.tries = self.tries.saturating_add(1);
        // A random channel id is the crate's one source of randomness; eight bits are plenty.
        let byte = domain::ChannelId::random().0.last().copied().unwrap_or(0);
        ceiling / 2 + ceiling.mul_f64(f64::from(byte) / 512.0)
    }

    /// Starts over after a success.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn pauses_grow_to_the_cap_and_start_over() {
        let (first, cap) = (Duration::from_millis(50), Duration::from_secs(2));
        let mut backoff = Backoff::new(first, cap);
        assert!(backoff.next() <= first);
        for _ in 0..40 {
            assert!(backoff.next() <= cap);
        }
        assert!(backoff.next() >= cap / 2);
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
