//! Measures calls that are compared with each other by turns.
//!
//! On a shared machine the neighbours make everything slower or faster for seconds at a time. Measured one
//! after the other, two calls would be compared in different weather; so each is called some times in every
//! round, and a ratio is the median of the rounds' ratios.

use tokio::time::Instant;

/// How often each call of a comparison has its turn.
pub(crate) const ROUNDS: usize = 50;

/// A call and how often it is measured in a round.
pub(crate) struct Measured<'a> {
    per_round: usize,
    call: Box<dyn FnMut() + 'a>,
    each: Vec<f64>,
    rounds: Vec<f64>,
}

impl<'a> Measured<'a> {
    pub(crate) fn new(per_round: usize, call: impl FnMut() + 'a) -> Self {
        Self {
            per_round,
            call: Box::new(call),
            each: Vec::new(),
            rounds: Vec::new(),
        }
    }

    fn round(&mut self) {
        // Not the first ones: code and data come into the caches.
        (0..self.per_round.div_ceil(20)).for_each(|_| (self.call)());
        let measured = (0..self.per_round).map(|_| {
            let started = Instant::now();
            (self.call)();
            started.elapsed().as_secs_f64() * 1e9
        });
        let mut round: Vec<f64> = measured.collect();
        self.each.extend_from_slice(&round);
        self.rounds.push(quantile(&mut round, 50));
    }
}

/// Nanoseconds.
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) least: f64,
    rounds: Vec<f64>,
}

impl Spread {
    /// Of calls that are measured by turns.
    pub(crate) fn by_turns<const N: usize>(calls: [Measured<'_>; N]) -> [Self; N] {
        Self::in_rounds(ROUNDS, calls)
    }

    /// Of one call.
    pub(crate) fn of(count: usize, call: impl FnMut()) -> Self {
        let [spread] = Self::in_rounds(1, [Measured::new(count, call)]);
        spread
    }

    fn in_rounds<const N: usize>(rounds: usize, mut calls: [Measured<'_>; N]) -> [Self; N] {
        for _ in 0..rounds {
            calls.iter_mut().for_each(Measured::round);
        }
        calls.map(|mut measured| Self {
            p50: quantile(&mut measured.each, 50),
            p90: quantile(&mut measured.each, 90),
            p99: quantile(&mut measured.each, 99),
            least: quantile(&mut measured.each, 0),
            rounds: measured.rounds,
        })
    }

    /// How many times as long as `other` it takes, in the median round.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        let both = self.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<f64> = both.map(|(one, other)| one / other).collect();
        quantile(&mut ratios, 50)
    }
}

fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(f64::NAN)
}
