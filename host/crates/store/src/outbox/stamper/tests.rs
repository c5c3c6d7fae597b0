//! What holds for sequences and times when the clock, or the file, goes back.

use super::*;

/// A moment in 2026, UNIX milliseconds.
const NOW_MS: u64 = 1_795_000_000_000;

#[test]
fn a_restored_older_file_is_outrun_by_the_clock() {
    let mut first = Stamper::after(7, NOW_MS, NOW_MS);
    // Two million events a second, for ten seconds.
    let last = (0..20_000_000_u64)
        .map(|count| first.next(NOW_MS + count / 2000).0)
        .last()
        .unwrap();
    let mut restored = Stamper::after(7, NOW_MS, NOW_MS + 10_000);
    let (next, time_ms) = restored.next(NOW_MS + 10_000);
    assert!(
        next > last && time_ms == NOW_MS + 10_000,
        "{next:?} {last:?}"
    );
}

#[test]
fn a_clock_set_back_is_outrun_by_the_file() {
    let stored = NOW_MS * SEQUENCES_PER_MS;
    let mut stamper = Stamper::after(stored, NOW_MS, NOW_MS - 3_600_000);
    assert_eq!(
        stamper.next(NOW_MS - 3_600_000),
        (Sequence(stored + 1), NOW_MS)
    );
    assert_eq!(stamper.clock_steps(), 1);
}

#[test]
fn sequences_stay_exact_as_doubles_until_2109() {
    // 2109-01-01.
    let mut stamper = Stamper::after(0, 0, 4_386_355_200_000);
    assert!(stamper.next(0).0.0 < SEQUENCE_MAX);
    // A clock that is plainly wrong does not use the numbers up.
    for now_ms in [1 << 43, u64::MAX] {
        assert_eq!(Stamper::after(41, 0, now_ms).next(0).0, Sequence(42));
    }
}

#[test]
fn each_step_of_the_clock_counts_once() {
    let mut stamper = Stamper::after(0, 0, NOW_MS);
    let mut times = Vec::new();
    for now_ms in [
        NOW_MS,
        // Less than a second is no step.
        NOW_MS - 900,
        NOW_MS - 5000,
        NOW_MS - 4000,
        NOW_MS + 1,
        NOW_MS - 2000,
        NOW_MS + 2,
    ] {
        times.push(stamper.next(now_ms).1);
    }
    assert!(times.is_sorted());
    assert_eq!(times.last(), Some(&(NOW_MS + 2)));
    assert_eq!(stamper.clock_steps(), 2);
}
