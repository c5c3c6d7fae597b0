//! Figures that a test measures: printed as it runs, for whoever compares machines or versions.

#![expect(clippy::print_stderr, reason = "this is what a reader of the run sees")]

/// Prints one line of figures.
pub fn say(case: &str, figures: &str) {
    eprintln!("figures of {case}: {figures}");
}

/// The value below which `hundredths` of a hundred of the sorted values are; 0 without values.
#[must_use]
pub fn percentile(sorted: &[u64], hundredths: usize) -> u64 {
    let place = sorted.len() * hundredths / 100;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&values, 50), 101);
        assert_eq!(percentile(&values, 100), 200);
        assert_eq!(percentile(&[], 99), 0);
    }
}
