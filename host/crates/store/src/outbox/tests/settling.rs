//! How events end, and what is kept beside them.

use std::sync::atomic::AtomicBool;

use domain::QueueName;

use super::*;

#[test]
fn a_settlement_counts_once_and_survives() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    for number in 0..5 {
        let ticket = connect(&outbox, RULE, &channel(number));
        lose(&outbox, ticket, &channel(number));
    }
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    let outcomes = [
        Outcome::Delivered,
        Outcome::Skipped,
        Outcome::Expired,
        Outcome::Discarded,
        Outcome::Buried(burial("no")),
    ];
    let settlements: Vec<_> = events
        .iter()
        .zip(outcomes)
        .map(|(event, outcome)| settlement(event, outcome))
        .collect();
    settle_now(&outbox, settlements.clone());
    settle_now(&outbox, settlements);
    assert_eq!(outbox.stats().unknown_settlements, 5);
    drop(outbox);
    let (outbox, recovered) = bench.open();
    assert_eq!(recovered.pending_events, 5);
    let counts = outbox.counts(RULE);
    assert_eq!((counts.recorded, counts.pending), (10, 5));
    assert_eq!(
        (
            counts.delivered,
            counts.skipped,
            counts.expired,
            counts.discarded,
            counts.buried
        ),
        (1, 1, 1, 1, 1)
    );
}

#[test]
fn a_buried_event_is_kept_with_its_reason() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    lose(&outbox, ticket, &channel(1));
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    settle_now(
        &outbox,
        vec![settlement(
            &events[0],
            Outcome::Buried(burial(&"ä".repeat(1000))),
        )],
    );
    drop(outbox);
    let (outbox, _) = bench.open();
    let letters = outbox.dead_letters(10).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].event, events[0].event);
    assert_eq!(letters[0].burial, burial(&"ä".repeat(512)));
    assert_eq!(
        (letters[0].incarnation, letters[0].slot, letters[0].at_ms),
        (RULE, events[0].slot, 1_000_000)
    );
    assert_eq!(outbox.stats().dead_letters, 1);
}

#[test]
fn the_oldest_dead_letters_make_room() {
    let mut bench = Bench::new();
    bench.config.dead_letters_bytes_max = 1000;
    let (outbox, _) = bench.open();
    for number in 0..20 {
        connect(&outbox, RULE, &channel(number));
    }
    wait_committed(&outbox);
    let bury = |event: &Arc<PendingEvent>| settlement(event, Outcome::Buried(burial("no")));
    settle_now(&outbox, pending(&outbox, RULE).iter().map(bury).collect());
    let stats = outbox.stats();
    assert!(
        stats.dead_letter_bytes <= 1000 && stats.dead_letters > 0,
        "{stats:?}"
    );
    assert_eq!(stats.dead_letters + stats.dead_letters_dropped, 20);
    let ids: Vec<_> = outbox
        .dead_letters(100)
        .unwrap()
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert_eq!(ids, (0..20).rev().take(ids.len()).collect::<Vec<_>>());
    assert_eq!(outbox.counts(RULE).buried, 20);
}

#[test]
fn a_forgotten_incarnation_leaves_nothing() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    for (incarnation, number) in [(RULE, 1), (RULE, 2), (OTHER, 3)] {
        let ticket = connect(&outbox, incarnation, &channel(number));
        lose(&outbox, ticket, &channel(number));
    }
    outbox
        .put_slot_map(
            RULE,
            vec![(
                Slot(1),
                QueueName {
                    broker: "a".into(),
                    queue: 1,
                },
            )],
        )
        .unwrap();
    assert_eq!(outbox.forget(RULE), 4);
    drop(outbox);
    let (outbox, _) = bench.open();
    assert_eq!(outbox.incarnations(), [OTHER]);
    assert_eq!(outbox.slot_map(RULE).unwrap(), None);
    assert_eq!(outbox.counts(RULE), IncarnationCounts::default());
    assert_eq!(outbox.counts(OTHER).pending, 2);
}

#[test]
fn a_slot_map_survives() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let map: Vec<_> = Slot::all()
        .map(|slot| {
            (
                slot,
                QueueName {
                    broker: format!("broker-{}", slot.0 % 2).into(),
                    queue: u32::from(slot.0 % 8),
                },
            )
        })
        .collect();
    assert_eq!(outbox.slot_map(RULE).unwrap(), None);
    outbox.put_slot_map(RULE, map.clone()).unwrap();
    drop(outbox);
    assert_eq!(bench.open().0.slot_map(RULE).unwrap(), Some(map));
}

#[test]
fn a_purge_does_not_wait_for_a_pause_of_the_load() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    for number in 0..10 {
        connect(&outbox, RULE, &channel(number));
    }
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let channel = channel(1);
            // Faster than commits: the queue is never empty.
            while !stopped.load(Ordering::Relaxed) {
                let ticket = outbox.append_opened(Some(OTHER), &channel);
                lose(&outbox, ticket, &channel);
            }
        });
        let removed = outbox.discard(RULE);
        stopped.store(true, Ordering::Relaxed);
        assert_eq!(removed, 10);
    });
}
