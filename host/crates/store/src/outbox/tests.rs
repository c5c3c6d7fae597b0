//! What the outbox promises, on real files.

mod compacting;
mod failure;
mod files;
mod limits;
mod model;
mod replaying;
mod settling;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{ChannelId, ClientId, GroupId, MqttVersion, RuleId, StatusEvent, Synthetic};
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

    pub(super) fn set_clock(&self, now_ms: u64) {
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
        position: event.position,
        outcome,
    }
}

/// Settles and waits until the writer has done it.
pub(super) fn settle_now(outbox: &Outbox, settlements: Vec<Settlement>) {
    outbox.settle(settlements);
    // A purge comes after all settlements; this incarnation has nothing.
    outbox.discard(IncarnationId(u32::MAX));
}

pub(super) fn all_letters(outbox: &Outbox) -> Vec<DeadLetter> {
    outbox
        .dead_letters(&DeadLetterFilter::default(), usize::MAX)
        .unwrap()
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
        assert!(
            event.event.sequence > tickets[2].opened,
            "after everything before"
        );
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
