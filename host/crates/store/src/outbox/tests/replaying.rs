//! Dead letters: looking at them, deleting them, and their way back into the outbox.

use super::*;

/// An outbox with some buried connects, and their events in the order of their letters.
fn with_letters(bench: &Bench, numbers: std::ops::Range<u32>) -> (Arc<Outbox>, Vec<StatusEvent>) {
    let (outbox, _) = bench.open();
    for number in numbers {
        connect(&outbox, RULE, &channel(number));
    }
    wait_committed(&outbox);
    let bury = |event: &Arc<PendingEvent>| settlement(event, Outcome::Buried(burial("no")));
    settle_now(&outbox, pending(&outbox, RULE).iter().map(bury).collect());
    let mut events: Vec<_> = all_letters(&outbox)
        .into_iter()
        .map(|letter| letter.event)
        .collect();
    events.reverse();
    (outbox, events)
}

fn replay(id: u64, incarnation: IncarnationId) -> ReplayDeadLetter {
    ReplayDeadLetter {
        id,
        incarnation,
        predecessors: Arc::default(),
    }
}

#[test]
fn a_replayed_event_enters_once_as_the_newest_of_its_slot() {
    let bench = Bench::new();
    let (outbox, events) = with_letters(&bench, 0..3);
    let later = connect(&outbox, OTHER, &channel(1));
    wait_committed(&outbox);
    // Answers after the listener was told of what came before.
    outbox.discard(IncarnationId(u32::MAX));
    bench.heard.lock().clear();
    bench.set_clock(9_000_000);
    let all = vec![
        replay(0, OTHER),
        replay(1, OTHER),
        replay(1, OTHER),
        replay(9, OTHER),
    ];
    assert_eq!(outbox.replay_dead_letters(all.clone()).unwrap(), 2);
    assert_eq!(outbox.replay_dead_letters(all).unwrap(), 0, "they are gone");
    let replayed: Vec<_> = pending(&outbox, OTHER)
        .into_iter()
        .filter(|event| event.is_replay())
        .collect();
    assert_eq!(replayed.len(), 2);
    for event in &replayed {
        assert!(events[..2].contains(&event.event), "{event:?}");
        assert!(event.position > later.opened && event.event.sequence < later.opened);
        assert_eq!(event.slot, Slot::of(&event.event.channel.client_id));
        assert_eq!(event.entered_ms, 9_000_000);
    }
    let counts = outbox.counts(OTHER);
    assert_eq!(
        (counts.recorded, counts.replayed, counts.pending),
        (1, 2, 3)
    );
    assert_eq!(outbox.counts(RULE).buried, 3);
    let heard = bench.heard.lock().clone();
    assert_eq!(heard.len(), 2);
    assert!(heard.iter().all(|event| event.is_replay()));
    assert_eq!(all_letters(&outbox).len(), 1);
    drop(outbox);
    let (outbox, _) = bench.open();
    let stored = pending(&outbox, OTHER);
    let stored = stored.iter().filter(|event| event.is_replay());
    assert_eq!(
        stored
            .map(|event| (event.position, event.event.clone()))
            .collect::<Vec<_>>(),
        replayed
            .iter()
            .map(|event| (event.position, event.event.clone()))
            .collect::<Vec<_>>()
    );
    assert_eq!(outbox.stats().dead_letters, 1);
    // By position; it may be buried again and come back again.
    let first = &replayed[0];
    settle_now(
        &outbox,
        vec![settlement(first, Outcome::Buried(burial("again")))],
    );
    let letter = &all_letters(&outbox)[0];
    assert_eq!((letter.id, &letter.event), (3, &first.event));
    assert_eq!(
        outbox.replay_dead_letters(vec![replay(3, OTHER)]).unwrap(),
        1
    );
    assert_eq!(outbox.counts(OTHER).replayed, 3);
}

#[test]
fn the_letters_of_a_client_enter_in_the_order_of_its_sequences() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    leave(&outbox, ticket, &channel(1));
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    // Buried in another order than they happened.
    for index in [2, 0, 1] {
        let buried = Outcome::Buried(burial("no"));
        settle_now(&outbox, vec![settlement(&events[index], buried)]);
    }
    let ids = vec![replay(0, RULE), replay(1, RULE), replay(2, RULE)];
    assert_eq!(outbox.replay_dead_letters(ids).unwrap(), 3);
    let types: Vec<_> = pending(&outbox, RULE)
        .iter()
        .map(|event| event.event.event_type)
        .collect();
    assert_eq!(types, EventType::ALL);
}

#[test]
fn a_replay_does_not_expire_for_its_first_time() {
    let bench = Bench::new();
    let (outbox, _) = with_letters(&bench, 0..1);
    bench.set_clock(50_000_000);
    outbox.replay_dead_letters(vec![replay(0, RULE)]).unwrap();
    assert_eq!(outbox.expire(RULE, 50_000_000), 0);
    assert_eq!(outbox.stats().oldest_time_ms, Some(50_000_000));
    assert_eq!(outbox.expire(RULE, 50_000_001), 1);
}

#[test]
fn a_replay_needs_room_and_leaves_its_letter_without() {
    let mut bench = Bench::new();
    let (outbox, _) = with_letters(&bench, 0..3);
    drop(outbox);
    bench.config.share_bytes_max = EVENT_BYTES_RESERVED;
    let (outbox, _) = bench.open();
    outbox.discard(RULE);
    let ids = vec![replay(0, RULE), replay(1, RULE)];
    let error = outbox.replay_dead_letters(ids).unwrap_err();
    let full = EditDeadLettersError::NoRoom(RefuseConnectError::ShareFull);
    assert_eq!(error.to_string(), full.to_string());
    assert_eq!(outbox.stats().reserved_bytes, 0);
    assert_eq!(outbox.stats().dead_letters, 3);
    assert_eq!(
        outbox.replay_dead_letters(vec![replay(0, RULE)]).unwrap(),
        1
    );
    assert_eq!(outbox.stats().dead_letters, 2);
}

#[test]
fn more_letters_than_one_commit_takes_are_deleted_and_enter_again() {
    let mut bench = Bench::new();
    bench.config.dead_letters_bytes_max = 1 << 30;
    let (outbox, _) = with_letters(&bench, 0..4500);
    assert_eq!(
        outbox
            .delete_dead_letters(&(0..2100).collect::<Vec<_>>())
            .unwrap(),
        2100
    );
    let ids = (2000..4500).map(|id| replay(id, RULE)).collect();
    assert_eq!(outbox.replay_dead_letters(ids).unwrap(), 2400);
    assert_eq!(outbox.counts(RULE).pending, 2400);
    let stats = outbox.stats();
    assert_eq!((stats.dead_letters, stats.dead_letter_bytes), (0, 0));
}

#[test]
fn dead_letters_are_found_by_what_they_are() {
    let bench = Bench::new();
    let (outbox, _) = with_letters(&bench, 0..5);
    let ids = |filter: &DeadLetterFilter, limit| -> Vec<u64> {
        let letters = outbox.dead_letters(filter, limit).unwrap();
        letters.iter().map(|letter| letter.id).collect()
    };
    let all = DeadLetterFilter::default();
    assert_eq!(ids(&all, 2), [4, 3]);
    let before = DeadLetterFilter {
        before: Some(3),
        ..all.clone()
    };
    assert_eq!(ids(&before, 2), [2, 1]);
    let letters = all_letters(&outbox);
    let of_client = DeadLetterFilter {
        client_id: Some(letters[1].event.channel.client_id.clone()),
        rule_id: Some(RuleId::parse("rule-1").unwrap()),
        reason: Some(DeadLetterReason::Fault),
        ..all
    };
    assert_eq!(ids(&of_client, 10), [letters[1].id]);
    let of_other_rule = DeadLetterFilter {
        rule_id: Some(RuleId::parse("rule-2").unwrap()),
        ..all.clone()
    };
    assert!(ids(&of_other_rule, 10).is_empty());
    let rejected = DeadLetterFilter {
        reason: Some(DeadLetterReason::Rejected),
        ..all
    };
    assert!(ids(&rejected, 10).is_empty());
    assert_eq!(
        outbox.dead_letter(2).unwrap().unwrap().event,
        letters[2].event
    );
    assert!(outbox.dead_letter(5).unwrap().is_none());
}

#[test]
fn numbers_of_dead_letters_are_never_given_again() {
    let bench = Bench::new();
    let (outbox, _) = with_letters(&bench, 0..2);
    assert_eq!(outbox.delete_dead_letters(&[0, 1, 7]).unwrap(), 2);
    drop(outbox);
    let (outbox, _) = with_letters(&bench, 2..3);
    assert!(all_letters(&outbox).iter().all(|letter| letter.id >= 2));
}

#[test]
fn a_closed_outbox_edits_nothing() {
    let bench = Bench::new();
    let (outbox, _) = with_letters(&bench, 0..1);
    outbox.close();
    assert!(outbox.delete_dead_letters(&[0]).is_err());
    assert!(outbox.replay_dead_letters(vec![replay(0, RULE)]).is_err());
    assert_eq!(all_letters(&bench.open().0).len(), 1);
}
