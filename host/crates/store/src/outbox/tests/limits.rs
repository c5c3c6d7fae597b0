//! What is full refuses connects, never closing events, and recovers.

use super::*;

#[test]
fn a_full_share_refuses_only_its_rule_and_recovers() {
    let mut bench = Bench::new();
    bench.config.share_bytes_max = 6 * EVENT_BYTES_RESERVED;
    let (outbox, _) = bench.open();
    let tickets = [
        connect(&outbox, RULE, &channel(1)),
        connect(&outbox, RULE, &channel(2)),
    ];
    assert_eq!(
        outbox.reserve(Some(RULE)),
        Err(RefuseConnectError::ShareFull)
    );
    assert_eq!(outbox.reserve(Some(OTHER)), Ok(()));
    outbox.release(Some(OTHER));
    // What was reserved is never refused.
    leave(&outbox, tickets[0], &channel(1));
    lose(&outbox, tickets[1], &channel(2));
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    assert_eq!(events.len(), 5);
    settle_now(
        &outbox,
        events
            .iter()
            .map(|event| settlement(event, Outcome::Delivered))
            .collect(),
    );
    assert_eq!(outbox.stats().reserved_bytes, 0);
    assert_eq!(outbox.reserve(Some(RULE)), Ok(()));
    assert_eq!(outbox.reserve(Some(RULE)), Ok(()));
    assert_eq!(
        outbox.reserve(Some(RULE)),
        Err(RefuseConnectError::ShareFull)
    );
    outbox.release(Some(RULE));
    assert_eq!(outbox.reserve(Some(RULE)), Ok(()));
}

#[test]
fn a_rule_s_incarnations_have_one_share() {
    let mut bench = Bench::new();
    bench.config.share_bytes_max = 6 * EVENT_BYTES_RESERVED;
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    // The rule was edited: its events are OTHER's from now on.
    assert_eq!(outbox.reserve_after(OTHER, &[RULE]), Ok(()));
    assert_eq!(
        outbox.reserve_after(OTHER, &[RULE]),
        Err(RefuseConnectError::ShareFull)
    );
    assert_eq!(
        outbox.check_room(OTHER, &[RULE]),
        Err(RefuseConnectError::ShareFull)
    );
    // Another rule's share is its own.
    assert_eq!(outbox.check_room(IncarnationId(77), &[]), Ok(()));
    lose(&outbox, ticket, &channel(1));
    wait_committed(&outbox);
    assert_eq!(outbox.discard(RULE), 2);
    assert_eq!(outbox.reserve_after(OTHER, &[RULE]), Ok(()));
}

#[test]
fn a_full_outbox_refuses_every_rule() {
    let mut bench = Bench::new();
    bench.config.bytes_max = 5 * EVENT_BYTES_RESERVED;
    let (outbox, _) = bench.open();
    outbox.reserve(Some(RULE)).unwrap();
    assert_eq!(
        outbox.reserve(Some(OTHER)),
        Err(RefuseConnectError::OutboxFull)
    );
    assert_eq!(outbox.reserve(None), Ok(()));
    outbox.release(Some(RULE));
    assert_eq!(outbox.reserve(Some(OTHER)), Ok(()));
}

#[test]
fn what_is_pending_counts_after_a_restart_too() {
    let mut bench = Bench::new();
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    lose(&outbox, ticket, &channel(1));
    wait_committed(&outbox);
    let stats = outbox.stats();
    assert_eq!(
        stats.bytes, stats.reserved_bytes,
        "nothing is owed any more"
    );
    assert_eq!(stats.oldest_time_ms, Some(1_000_000));
    drop(outbox);
    bench.config.share_bytes_max = 3 * EVENT_BYTES_RESERVED;
    let (outbox, _) = bench.open();
    assert_eq!(outbox.stats().bytes, stats.bytes);
    assert_eq!(outbox.stats().oldest_time_ms, Some(1_000_000));
    assert_eq!(
        outbox.reserve(Some(RULE)),
        Err(RefuseConnectError::ShareFull)
    );
    assert_eq!(outbox.discard(RULE), 2);
    assert_eq!(outbox.stats().oldest_time_ms, None);
    assert_eq!(outbox.reserve(Some(RULE)), Ok(()));
}
