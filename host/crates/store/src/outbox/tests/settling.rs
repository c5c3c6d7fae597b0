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
fn an_event_that_a_job_ended_on_its_way_counts_as_delivered() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    for number in 0..2 {
        let ticket = connect(&outbox, RULE, &channel(number));
        lose(&outbox, ticket, &channel(number));
    }
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    assert_eq!(outbox.discard(RULE), 4);
    let first = settlement(&events[0], Outcome::Delivered);
    settle_now(&outbox, vec![first.clone()]);
    // RocketMQ has nothing of this one; and no event is delivered twice.
    settle_now(
        &outbox,
        vec![settlement(&events[1], Outcome::Skipped), first],
    );
    assert_eq!(outbox.stats().unknown_settlements, 2);
    drop(outbox);
    let (outbox, _) = bench.open();
    let counts = outbox.counts(RULE);
    assert_eq!(
        (counts.recorded, counts.delivered, counts.discarded),
        (4, 1, 3)
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
            Outcome::Buried(burial(&"ä".repeat(2000))),
        )],
    );
    drop(outbox);
    let (outbox, _) = bench.open();
    let letters = outbox
        .dead_letters(&DeadLetterFilter::default(), 10)
        .unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].event, events[0].event);
    assert_eq!(letters[0].burial, burial(&"ä".repeat(1536)));
    assert_eq!(
        (letters[0].incarnation, letters[0].slot, letters[0].at_ms),
        (RULE, events[0].slot, 1_000_000)
    );
    assert_eq!(outbox.stats().dead_letters, 1);
}

#[test]
fn full_dead_letters_say_so_and_drop_nothing() {
    let mut bench = Bench::new();
    bench.config.dead_letters_bytes_max = 1000;
    let (outbox, _) = bench.open();
    for number in 0..20 {
        connect(&outbox, RULE, &channel(number));
    }
    wait_committed(&outbox);
    assert!(outbox.dead_letters_room());
    let bury = |event: &Arc<PendingEvent>| settlement(event, Outcome::Buried(burial("no")));
    settle_now(&outbox, pending(&outbox, RULE).iter().map(bury).collect());
    let stats = outbox.stats();
    assert_eq!(
        (stats.dead_letters, stats.dead_letter_bytes_max),
        (20, 1000)
    );
    assert!(stats.dead_letter_bytes > 1000, "{stats:?}");
    assert!(!outbox.dead_letters_room());
    let ids: Vec<_> = all_letters(&outbox)
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert_eq!(ids, (0..20).rev().collect::<Vec<_>>());
    assert_eq!(
        outbox
            .delete_dead_letters(&(5..20).collect::<Vec<_>>())
            .unwrap(),
        15
    );
    assert!(outbox.dead_letters_room());
    drop(outbox);
    let (outbox, _) = bench.open();
    let bytes = outbox.stats().dead_letter_bytes;
    assert!(outbox.dead_letters_room() && bytes > 0 && bytes < 1000);
}

#[test]
fn a_forgotten_incarnation_leaves_only_its_counts() {
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
    assert_eq!(outbox.forget(RULE, None), 4);
    let forgotten = IncarnationCounts {
        recorded: 4,
        discarded: 4,
        ..IncarnationCounts::default()
    };
    assert_eq!(outbox.forgotten_counts(), forgotten);
    assert_eq!(outbox.all_counts().forgotten, forgotten);
    drop(outbox);
    let (outbox, _) = bench.open();
    assert_eq!(outbox.incarnations(), [OTHER]);
    assert_eq!(outbox.slot_map(RULE).unwrap(), None);
    assert_eq!(outbox.counts(RULE), IncarnationCounts::default());
    assert_eq!(outbox.forgotten_counts(), forgotten);
    assert_eq!(outbox.counts(OTHER).pending, 2);
    assert_eq!(outbox.forget(OTHER, Some(RULE)), 2);
    assert_eq!(outbox.forgotten_counts(), forgotten);
    let folded = outbox.counts(RULE);
    assert_eq!((folded.recorded, folded.discarded), (2, 2));
    // Nothing happens twice.
    assert_eq!(outbox.forget(OTHER, Some(RULE)), 0);
    assert_eq!(outbox.counts(RULE), folded);
}

#[test]
fn an_incarnation_is_owed_until_its_last_channel_closed_and_its_last_event_ended() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    assert!(!outbox.is_owed(RULE));
    outbox.reserve(Some(RULE)).unwrap();
    assert!(outbox.is_owed(RULE), "a channel is about to open");
    let ticket = outbox.append_opened(Some(RULE), &channel(1));
    wait_committed(&outbox);
    assert_eq!(outbox.discard(RULE), 1);
    assert!(outbox.is_owed(RULE), "nothing is pending, but it is open");
    lose(&outbox, ticket, &channel(1));
    wait_committed(&outbox);
    assert!(outbox.is_owed(RULE), "its closing is pending");
    settle_now(
        &outbox,
        vec![settlement(&pending(&outbox, RULE)[0], Outcome::Delivered)],
    );
    assert!(!outbox.is_owed(RULE));
}

#[test]
fn what_entered_too_long_ago_expires() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    for (now_ms, number) in [(1000, 1), (2000, 2), (3000, 1), (4000, 2)] {
        bench.set_clock(now_ms);
        connect(&outbox, RULE, &channel(number));
        connect(&outbox, OTHER, &channel(number));
    }
    wait_committed(&outbox);
    assert_eq!(outbox.expire(RULE, 1000), 0);
    assert_eq!(outbox.expire(RULE, 2001), 2);
    let counts = outbox.counts(RULE);
    assert_eq!((counts.expired, counts.pending), (2, 2));
    assert_eq!(outbox.counts(OTHER).pending, 4);
    assert_eq!(outbox.expire(RULE, u64::MAX), 2);
    assert_eq!(outbox.stats().oldest_time_ms, Some(1000), "of the other");
    assert_eq!(outbox.discard(OTHER), 4);
    assert_eq!(outbox.stats().oldest_time_ms, None);
}

#[test]
fn the_first_position_of_a_slot_is_that_of_its_oldest_event() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let slot = Slot::of(&channel(1).client_id);
    assert_eq!(outbox.first_pending(RULE, slot).unwrap(), None);
    let ticket = connect(&outbox, RULE, &channel(1));
    leave(&outbox, ticket, &channel(1));
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    let first = || outbox.first_pending(RULE, slot).unwrap();
    assert_eq!(first(), Some(ticket.opened));
    // Not the first: by key, not by watermark.
    settle_now(&outbox, vec![settlement(&events[1], Outcome::Delivered)]);
    assert_eq!(first(), Some(ticket.opened));
    settle_now(&outbox, vec![settlement(&events[0], Outcome::Delivered)]);
    assert_eq!(first(), Some(events[2].position));
}

#[test]
fn a_channel_is_open_from_its_connect_to_its_tcpclean() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    let is_open = || outbox.is_channel_open(ticket.opened).unwrap();
    assert!(is_open(), "not committed yet, most likely");
    wait_committed(&outbox);
    assert!(is_open());
    outbox.append_closing(
        ticket,
        &channel(1),
        EventType::Disconnect,
        CloseReason::ClientDisconnect,
    );
    assert!(is_open());
    lose(&outbox, ticket, &channel(1));
    assert!(!is_open());
    wait_committed(&outbox);
    assert!(!is_open());
    assert!(!outbox.is_channel_open(Sequence(1)).unwrap());
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
