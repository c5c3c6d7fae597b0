use std::time::Duration;

use tokio::time::Instant;

use super::Generations;

const AGE: Duration = Duration::from_secs(100);

#[test]
fn the_number_of_entries_is_bounded_and_the_latest_stay() {
    let now = Instant::now();
    let mut map = Generations::new(100, AGE, now);
    for key in 0..10_000_u64 {
        map.insert(key, key, now);
        assert!(map.len() <= 100);
    }
    for key in 9_950..10_000 {
        assert_eq!(map.touch(key, now).copied(), Some(key));
    }
    assert_eq!(map.touch(9_000, now), None);
}

#[test]
fn what_is_touched_stays_while_others_go() {
    let now = Instant::now();
    let mut map = Generations::new(10, AGE, now);
    map.insert(0, "kept", now);
    for key in 1..1_000 {
        map.insert(key, "other", now);
        assert_eq!(map.touch(0, now).copied(), Some("kept"), "after {key}");
    }
    assert!(map.len() <= 10);
}

#[test]
fn an_untouched_entry_is_forgotten_by_age() {
    let start = Instant::now();
    let mut map = Generations::new(10, AGE, start);
    map.insert(1, (), start);
    // It lives for at least half of the age, whenever it came.
    assert!(map.touch(1, start + AGE / 2).is_some());
    assert!(map.touch(1, start + AGE - Duration::from_secs(1)).is_some());
    assert!(map.touch(1, start + AGE * 3).is_none());
    assert_eq!(map.len(), 0);
}

#[test]
fn a_removed_entry_is_gone_from_both_generations() {
    let start = Instant::now();
    let mut map = Generations::new(10, AGE, start);
    map.insert(1, "old", start);
    map.insert(2, "young", start + AGE / 2);
    map.insert(1, "young again", start + AGE / 2);
    assert_eq!(map.len(), 2);
    map.remove(1);
    assert_eq!(map.touch(1, start + AGE / 2), None);
    assert_eq!(map.len(), 1);
}
