//! The outbox against a model in memory, through random histories with restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Connect { client: u32, incarnation: u32 },
    Leave(prop::sample::Index),
    Lose(prop::sample::Index),
    Commit,
    Settle(prop::sample::Index, u8),
    Discard(u32),
    Clock(u64),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..30_u32, 1..4_u32).prop_map(|(client, incarnation)| Act::Connect { client, incarnation }),
        3 => any::<prop::sample::Index>().prop_map(Act::Leave),
        3 => any::<prop::sample::Index>().prop_map(Act::Lose),
        2 => Just(Act::Commit),
        6 => (any::<prop::sample::Index>(), 0..5_u8).prop_map(|(index, outcome)| Act::Settle(index, outcome)),
        1 => (1..4_u32).prop_map(Act::Discard),
        2 => (0..5_000_000_u64).prop_map(Act::Clock),
        1 => Just(Act::Reopen),
    ]
}

/// What must be true.
#[derive(Default)]
struct Model {
    /// Type, client and channel of everything pending, by incarnation and sequence.
    pending: BTreeMap<(u32, u64), (EventType, ChannelId)>,
    counts: BTreeMap<u32, IncarnationCounts>,
    open: Vec<(ChannelTicket, Arc<ChannelFacts>)>,
    channels: u32,
    last_sequence: u64,
}

impl Model {
    fn append(&mut self, incarnation: u32, event_type: EventType, channel: &ChannelFacts) {
        self.last_sequence += 1;
        self.pending.insert(
            (incarnation, self.last_sequence),
            (event_type, channel.channel_id),
        );
        self.counts.entry(incarnation).or_default().recorded += 1;
    }

    fn settle(&mut self, key: (u32, u64), outcome: &Outcome) {
        if self.pending.remove(&key).is_none() {
            return;
        }
        let counts = self.counts.entry(key.0).or_default();
        match outcome {
            Outcome::Delivered => counts.delivered += 1,
            Outcome::Skipped => counts.skipped += 1,
            Outcome::Expired => counts.expired += 1,
            Outcome::Discarded => counts.discarded += 1,
            Outcome::Buried(_) => counts.buried += 1,
        }
    }

    fn check(&self, outbox: &Outbox) {
        wait_committed(outbox);
        for incarnation in (1..4).map(IncarnationId) {
            let events = pending(outbox, incarnation);
            let stored: BTreeMap<_, _> = events
                .iter()
                .map(|event| {
                    let key = (incarnation.0, event.event.sequence.0);
                    (
                        key,
                        (event.event.event_type, event.event.channel.channel_id),
                    )
                })
                .collect();
            let wanted: BTreeMap<_, _> = self
                .pending
                .iter()
                .filter(|(key, _)| key.0 == incarnation.0)
                .map(|(key, event)| (*key, *event))
                .collect();
            assert_eq!(stored, wanted);
            let counts = outbox.counts(incarnation);
            let wanted = IncarnationCounts {
                pending: u64::try_from(wanted.len()).unwrap(),
                pending_bytes: events.iter().map(|event| u64::from(event.bytes)).sum(),
                ..self.counts.get(&incarnation.0).copied().unwrap_or_default()
            };
            assert_eq!(counts, wanted);
            let left = counts.delivered
                + counts.skipped
                + counts.buried
                + counts.expired
                + counts.discarded;
            assert_eq!(counts.recorded + counts.replayed, left + counts.pending);
            let slots: u64 = outbox
                .pending_slots(incarnation)
                .iter()
                .map(|(_, count)| count)
                .sum();
            assert_eq!(slots, counts.pending);
        }
        let owed = u64::try_from(self.open.len()).unwrap() * 2 * EVENT_BYTES_RESERVED;
        let stats = outbox.stats();
        assert_eq!(stats.reserved_bytes, stats.bytes + owed);
        assert_eq!(
            (stats.damaged_events, stats.late_events, stats.failed),
            (0, 0, false)
        );
    }
}

#[expect(clippy::too_many_lines, reason = "one arm per act")]
fn run(acts: Vec<Act>) {
    let bench = Bench::new();
    let (mut outbox, _) = bench.open();
    let mut model = Model::default();
    for act in acts {
        match act {
            Act::Connect {
                client,
                incarnation,
            } => {
                let facts = ChannelFacts {
                    channel_id: channel(model.channels).channel_id,
                    ..(*channel(client)).clone()
                };
                model.channels += 1;
                let facts = Arc::new(facts);
                let ticket = connect(&outbox, IncarnationId(incarnation), &facts);
                model.append(incarnation, EventType::Connect, &facts);
                assert_eq!(ticket.opened.0, model.last_sequence);
                model.open.push((ticket, facts));
            }
            Act::Leave(_) | Act::Lose(_) if model.open.is_empty() => {}
            Act::Leave(index) => {
                let (ticket, facts) = model.open.swap_remove(index.index(model.open.len()));
                leave(&outbox, ticket, &facts);
                model.append(ticket.incarnation.unwrap().0, EventType::Disconnect, &facts);
                model.append(ticket.incarnation.unwrap().0, EventType::TcpClean, &facts);
            }
            Act::Lose(index) => {
                let (ticket, facts) = model.open.swap_remove(index.index(model.open.len()));
                lose(&outbox, ticket, &facts);
                model.append(ticket.incarnation.unwrap().0, EventType::TcpClean, &facts);
            }
            Act::Commit => wait_committed(&outbox),
            Act::Settle(index, outcome) => {
                let outcomes = [
                    Outcome::Delivered,
                    Outcome::Skipped,
                    Outcome::Expired,
                    Outcome::Discarded,
                    Outcome::Buried(burial("x")),
                ];
                let outcome = outcomes[usize::from(outcome)].clone();
                wait_committed(&outbox);
                let events: Vec<_> = (1..4)
                    .flat_map(|number| pending(&outbox, IncarnationId(number)))
                    .collect();
                if !events.is_empty() {
                    let event = &events[index.index(events.len())];
                    settle_now(&outbox, vec![settlement(event, outcome.clone())]);
                    model.settle((event.incarnation.0, event.event.sequence.0), &outcome);
                }
            }
            Act::Discard(incarnation) => {
                let keys: BTreeSet<_> = model
                    .pending
                    .keys()
                    .filter(|key| key.0 == incarnation)
                    .copied()
                    .collect();
                assert_eq!(
                    outbox.discard(IncarnationId(incarnation)),
                    u64::try_from(keys.len()).unwrap()
                );
                keys.into_iter()
                    .for_each(|key| model.settle(key, &Outcome::Discarded));
            }
            Act::Clock(now_ms) => bench.set_clock(now_ms),
            Act::Reopen => {
                model.check(&outbox);
                outbox.close();
                let (opened, recovered) = bench.open();
                outbox = opened;
                assert_eq!(
                    recovered.closed_channels,
                    u64::try_from(model.open.len()).unwrap()
                );
                // The rows are read in the order of their keys.
                let mut open = std::mem::take(&mut model.open);
                open.sort_by_key(|(ticket, _)| ticket.opened);
                for (ticket, facts) in open {
                    model.append(ticket.incarnation.unwrap().0, EventType::TcpClean, &facts);
                }
                assert_eq!(
                    recovered.pending_events,
                    u64::try_from(model.pending.len()).unwrap()
                );
                assert!(!recovered.repaired);
            }
        }
    }
    model.check(&outbox);
    outbox.close();
    let heard = bench.heard.lock();
    assert!(heard.windows(2).all(|pair| {
        let (before, after) = (&pair[0].event, &pair[1].event);
        before.sequence < after.sequence && before.time_ms <= after.time_ms
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_is_its_model(acts in prop::collection::vec(act(), 1..80)) {
        run(acts);
    }
}
