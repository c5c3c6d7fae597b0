//! What the outbox promises, on real files.

mod failure;
mod model;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{ChannelId, ClientId, GroupId, MqttVersion, RuleId, Synthetic};
use tempfile::TempDir;

use super::intake::EVENT_BYTES_RESERVED;
use super::*;

const RULE: IncarnationId = IncarnationId(1);
const OTHER: IncarnationId = IncarnationId(2);

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub(super) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A folder with an outbox that can be closed and opened again.
pub(super) struct Bench {
    _folder: TempDir,
    pub(super) config: OutboxConfig,
    pub(super) clock: Arc<TestClock>,
    pub(super) heard: Arc<Mutex<Vec<Arc<PendingEvent>>>>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = OutboxConfig {
            path: folder.path().join("outbox.redb"),
            bytes_max: 1 << 30,
            share_bytes_max: 1 << 30,
            commit_interval: Duration::from_millis(5),
            uncommitted_events_max: 100_000,
            dead_letters_bytes_max: 1 << 20,
        };
        let clock = Arc::new(TestClock(AtomicU64::new(1_000_000)));
        Self {
            _folder: folder,
            config,
            clock,
            heard: Arc::default(),
        }
    }

    pub(super) fn listener(&self) -> CommitListener {
        let heard = Arc::clone(&self.heard);
        Box::new(move |events| heard.lock().extend_from_slice(events))
    }

    pub(super) fn open(&self) -> (Arc<Outbox>, RecoveredOutbox) {
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        Outbox::open(self.config.clone(), clock, self.listener()).unwrap()
    }

    fn set_clock(&self, now_ms: u64) {
        self.clock.0.store(now_ms, Ordering::Relaxed);
    }
}

pub(super) fn channel(number: u32) -> Arc<ChannelFacts> {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Arc::new(ChannelFacts {
        client_id: ClientId::parse(&format!("GID_Test@@@d{number}")).unwrap(),
        group_id: Some(GroupId::parse("GID_Test").unwrap()),
        channel_id: ChannelId(id),
        client_address: "192.0.2.7:50312".parse().unwrap(),
        protocol: MqttVersion::V311,
        listener: "tcp",
        username: None,
        keep_alive_seconds: 60,
        clean_start: true,
        session_present: false,
    })
}

pub(super) fn connect(
    outbox: &Outbox,
    incarnation: IncarnationId,
    channel: &Arc<ChannelFacts>,
) -> ChannelTicket {
    outbox.reserve(Some(incarnation)).unwrap();
    outbox.append_opened(Some(incarnation), channel)
}

pub(super) fn leave(outbox: &Outbox, ticket: ChannelTicket, channel: &Arc<ChannelFacts>) {
    outbox.append_closing(
        ticket,
        channel,
        EventType::Disconnect,
        CloseReason::ClientDisconnect,
    );
    outbox.append_closing(
        ticket,
        channel,
        EventType::TcpClean,
        CloseReason::ClientDisconnect,
    );
}

pub(super) fn lose(outbox: &Outbox, ticket: ChannelTicket, channel: &Arc<ChannelFacts>) {
    outbox.append_closing(
        ticket,
        channel,
        EventType::TcpClean,
        CloseReason::ConnectionLost,
    );
}

pub(super) fn wait_committed(outbox: &Outbox) {
    assert!(outbox.committed().blocking_recv().unwrap());
}

/// Everything pending of an incarnation, slot by slot.
pub(super) fn pending(outbox: &Outbox, incarnation: IncarnationId) -> Vec<Arc<PendingEvent>> {
    Slot::all()
        .flat_map(|slot| {
            outbox
                .take(incarnation, slot, Sequence(0), usize::MAX)
                .unwrap()
        })
        .collect()
}

pub(super) fn settlement(event: &PendingEvent, outcome: Outcome) -> Settlement {
    Settlement {
        incarnation: event.incarnation,
        slot: event.slot,
        sequence: event.event.sequence,
        outcome,
    }
}

/// Settles and waits until the writer has done it.
pub(super) fn settle_now(outbox: &Outbox, settlements: Vec<Settlement>) {
    outbox.settle(settlements);
    // A purge comes after all settlements; this incarnation has nothing.
    outbox.discard(IncarnationId(u32::MAX));
}

pub(super) fn burial(detail: &str) -> Burial {
    Burial {
        reason: DeadLetterReason::Fault,
        detail: detail.to_owned(),
        rule_id: RuleId::parse("rule-1").unwrap(),
        revision: 3,
        plugin_digest: None,
    }
}

#[test]
fn events_are_taken_and_heard_in_order_after_their_commit() {
    let bench = Bench::new();
    let (outbox, recovered) = bench.open();
    assert_eq!(
        recovered,
        RecoveredOutbox {
            pending_events: 0,
            closed_channels: 0,
            repaired: false
        }
    );
    let channel = channel(1);
    let ticket = connect(&outbox, RULE, &channel);
    leave(&outbox, ticket, &channel);
    wait_committed(&outbox);
    let taken = pending(&outbox, RULE);
    let types: Vec<_> = taken.iter().map(|event| event.event.event_type).collect();
    assert_eq!(types, EventType::ALL);
    assert!(
        taken
            .windows(2)
            .all(|pair| pair[0].event.sequence < pair[1].event.sequence)
    );
    assert!(taken.iter().all(|event| event.event.channel == channel));
    assert!(
        taken
            .iter()
            .all(|event| event.event.connected_at_ms == ticket.opened_at_ms)
    );
    let first = taken[0].event.sequence;
    assert_eq!(
        outbox.take(RULE, taken[0].slot, first, 10).unwrap().len(),
        2
    );
    assert_eq!(
        outbox.take(RULE, taken[0].slot, first, 1).unwrap()[0].event,
        taken[1].event
    );
    assert_eq!(outbox.pending_slots(RULE), [(taken[0].slot, 3)]);
    outbox.close();
    let heard: Vec<_> = bench
        .heard
        .lock()
        .iter()
        .map(|event| event.event.clone())
        .collect();
    assert_eq!(
        heard,
        taken
            .iter()
            .map(|event| event.event.clone())
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_channel_left_open_gets_its_tcpclean_at_the_next_start() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let tickets: Vec<_> = (0..3)
        .map(|number| connect(&outbox, RULE, &channel(number)))
        .collect();
    lose(&outbox, tickets[1], &channel(1));
    wait_committed(&outbox);
    drop(outbox);
    bench.set_clock(2_000_000);
    let (outbox, recovered) = bench.open();
    assert_eq!(
        (recovered.closed_channels, recovered.pending_events),
        (2, 6)
    );
    let synthetic: Vec<_> = pending(&outbox, RULE)
        .into_iter()
        .filter(|event| event.event.synthetic.is_some())
        .collect();
    assert_eq!(synthetic.len(), 2);
    for event in &synthetic {
        assert_eq!(event.event.synthetic, Some(Synthetic::HostRestart));
        assert_eq!(event.event.event_type, EventType::TcpClean);
        assert_eq!(event.event.reason, Some(CloseReason::HostRestart));
        assert_eq!(
            (event.event.time_ms, event.event.connected_at_ms),
            (2_000_000, 1_000_000)
        );
        assert!(event.event.sequence.0 > 4, "after everything before");
    }
    let channels: HashSet<_> = synthetic
        .iter()
        .map(|event| event.event.channel.channel_id)
        .collect();
    assert_eq!(
        channels,
        HashSet::from([channel(0).channel_id, channel(2).channel_id])
    );
    assert_eq!(outbox.counts(RULE).recorded, 6);
    drop(outbox);
    assert_eq!(bench.open().1.closed_channels, 0, "each is closed once");
}

#[test]
fn more_channels_than_one_transaction_closes_are_all_closed() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    for number in 0..10_500 {
        connect(&outbox, RULE, &channel(number));
    }
    drop(outbox);
    let (outbox, recovered) = bench.open();
    assert_eq!(
        (recovered.closed_channels, recovered.pending_events),
        (10_500, 21_000)
    );
    assert_eq!(outbox.counts(RULE).recorded, 21_000);
}

#[test]
fn neither_sequence_nor_time_goes_back_with_the_clock() {
    let bench = Bench::new();
    let mut last = (Sequence(0), 0);
    for now_ms in [5_000_000, 4_000_000, 6_000_000, 0] {
        bench.set_clock(now_ms);
        let (outbox, _) = bench.open();
        for number in 0..3 {
            let channel = channel(number);
            let incarnation = (number != 1).then_some(RULE);
            outbox.reserve(incarnation).unwrap();
            let ticket = outbox.append_opened(incarnation, &channel);
            assert!(
                ticket.opened > last.0 && ticket.opened_at_ms >= last.1,
                "{ticket:?} {last:?}"
            );
            last = (ticket.opened, ticket.opened_at_ms);
            bench.set_clock(now_ms / 2);
        }
        drop(outbox);
    }
    let (outbox, _) = bench.open();
    let mut events = pending(&outbox, RULE);
    events.sort_by_key(|event| event.event.sequence);
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].event.time_ms <= pair[1].event.time_ms)
    );
    assert_eq!(events.last().unwrap().event.time_ms, 6_000_000);
}

#[test]
fn a_channel_without_a_rule_is_stamped_counted_and_not_stored() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    outbox.reserve(None).unwrap();
    let ticket = outbox.append_opened(None, &channel(1));
    lose(&outbox, ticket, &channel(1));
    outbox.release(None);
    let stats = outbox.stats();
    assert_eq!(
        (
            stats.unmatched_events,
            stats.uncommitted,
            stats.bytes,
            stats.reserved_bytes
        ),
        (2, 0, 0, 0)
    );
    assert!(outbox.incarnations().is_empty());
}

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
