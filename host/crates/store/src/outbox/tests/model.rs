//! The outbox against a model in memory, through random histories with restarts and crashes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Connect { client: u32, incarnation: u32 },
    Refuse(u32),
    Leave(prop::sample::Index),
    Lose(prop::sample::Index),
    Commit,
    Settle(prop::sample::Index, u8),
    Discard(u32),
    Forget(u32, Option<u32>),
    Expire(u32),
    Delete(prop::sample::Index),
    Replay(prop::sample::Index, u32),
    Clock(u64),
    Reopen,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..30_u32, 1..4_u32).prop_map(|(client, incarnation)| Act::Connect { client, incarnation }),
        1 => (1..4_u32).prop_map(Act::Refuse),
        3 => index().prop_map(Act::Leave),
        3 => index().prop_map(Act::Lose),
        2 => Just(Act::Commit),
        8 => (index(), 0..6_u8).prop_map(|(index, outcome)| Act::Settle(index, outcome)),
        1 => (1..4_u32).prop_map(Act::Discard),
        1 => (1..4_u32, proptest::option::of(1..4_u32)).prop_map(|(from, into)| Act::Forget(from, into)),
        1 => (1..4_u32).prop_map(Act::Expire),
        1 => index().prop_map(Act::Delete),
        3 => (index(), 1..4_u32).prop_map(|(index, incarnation)| Act::Replay(index, incarnation)),
        2 => (0..5_000_000_u64).prop_map(Act::Clock),
        1 => Just(Act::Reopen),
        1 => Just(Act::Crash),
    ]
}

/// What must be known of a pending event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    event_type: EventType,
    channel: ChannelId,
    sequence: u64,
    entered_ms: u64,
}

/// What must be true.
#[derive(Default)]
struct Model {
    /// Everything pending, by incarnation and position.
    pending: BTreeMap<(u32, u64), Known>,
    counts: BTreeMap<u32, IncarnationCounts>,
    forgotten: IncarnationCounts,
    /// Dead letters by number.
    letters: BTreeMap<u64, Known>,
    letters_ever: u64,
    open: Vec<(ChannelTicket, Arc<ChannelFacts>)>,
    channels: u32,
    last_sequence: u64,
    /// The largest one that was stored.
    stored_sequence: u64,
    last_time_ms: u64,
    now_ms: u64,
}

fn total(counts: IncarnationCounts, other: IncarnationCounts) -> IncarnationCounts {
    IncarnationCounts {
        recorded: counts.recorded + other.recorded,
        replayed: counts.replayed + other.replayed,
        delivered: counts.delivered + other.delivered,
        skipped: counts.skipped + other.skipped,
        buried: counts.buried + other.buried,
        expired: counts.expired + other.expired,
        discarded: counts.discarded + other.discarded,
        ..counts
    }
}

impl Model {
    fn opens(&mut self) {
        self.last_sequence = self.stored_sequence.max(self.now_ms * 2048);
    }

    /// The next sequence or position, and its time.
    fn stamp(&mut self) -> (u64, u64) {
        self.last_sequence += 1;
        self.stored_sequence = self.last_sequence;
        self.last_time_ms = self.last_time_ms.max(self.now_ms);
        (self.last_sequence, self.last_time_ms)
    }

    fn append(&mut self, incarnation: u32, event_type: EventType, channel: &ChannelFacts) {
        let (sequence, entered_ms) = self.stamp();
        let known = Known {
            event_type,
            channel: channel.channel_id,
            sequence,
            entered_ms,
        };
        self.pending.insert((incarnation, sequence), known);
        self.counts.entry(incarnation).or_default().recorded += 1;
    }

    fn settle(&mut self, key: (u32, u64), outcome: &Outcome) {
        let Some(known) = self.pending.remove(&key) else {
            return;
        };
        let counts = self.counts.entry(key.0).or_default();
        match outcome {
            Outcome::Delivered => counts.delivered += 1,
            Outcome::Skipped => counts.skipped += 1,
            Outcome::Expired => counts.expired += 1,
            Outcome::Discarded => counts.discarded += 1,
            Outcome::Buried(_) => {
                counts.buried += 1;
                self.letters.insert(self.letters_ever, known);
                self.letters_ever += 1;
            }
        }
    }

    /// Settles everything of an incarnation that entered before; returns how many events that were.
    fn settle_all(&mut self, incarnation: u32, before_ms: u64, outcome: &Outcome) -> u64 {
        let keys: Vec<_> = self
            .pending
            .iter()
            .filter(|(key, known)| key.0 == incarnation && known.entered_ms < before_ms)
            .map(|(key, _)| *key)
            .collect();
        keys.iter().for_each(|key| self.settle(*key, outcome));
        u64::try_from(keys.len()).unwrap()
    }

    fn forget(&mut self, incarnation: u32, into: Option<u32>) -> u64 {
        let discarded = self.settle_all(incarnation, u64::MAX, &Outcome::Discarded);
        if into != Some(incarnation) {
            let counts = self.counts.remove(&incarnation).unwrap_or_default();
            match into {
                Some(into) => {
                    let sum = self.counts.entry(into).or_default();
                    *sum = total(*sum, counts);
                }
                None => self.forgotten = total(self.forgotten, counts),
            }
        }
        discarded
    }

    fn letter(&self, index: &prop::sample::Index) -> Option<u64> {
        let count = self.letters.len();
        (count > 0).then(|| *self.letters.keys().nth(index.index(count)).unwrap())
    }

    fn replay(&mut self, letter: u64, incarnation: u32) {
        let known = self.letters.remove(&letter).unwrap();
        let (position, entered_ms) = self.stamp();
        let known = Known {
            entered_ms,
            ..known
        };
        self.pending.insert((incarnation, position), known);
        self.counts.entry(incarnation).or_default().replayed += 1;
    }

    /// A start closed what was open, in the order of the keys.
    fn restarted(&mut self, recovered: RecoveredOutbox) {
        self.opens();
        let mut open = std::mem::take(&mut self.open);
        assert_eq!(
            recovered.closed_channels,
            u64::try_from(open.len()).unwrap()
        );
        open.sort_by_key(|(ticket, _)| ticket.opened);
        for (ticket, facts) in open {
            self.append(ticket.incarnation.unwrap().0, EventType::TcpClean, &facts);
        }
        assert_eq!(
            recovered.pending_events,
            u64::try_from(self.pending.len()).unwrap()
        );
    }

    fn check(&self, outbox: &Outbox) {
        wait_committed(outbox);
        for incarnation in 1..4 {
            self.check_incarnation(outbox, incarnation);
        }
        assert_eq!(outbox.forgotten_counts(), self.forgotten);
        let stats = outbox.stats();
        let owed = u64::try_from(self.open.len()).unwrap() * 2 * EVENT_BYTES_RESERVED;
        assert_eq!(stats.reserved_bytes, stats.bytes + owed);
        assert_eq!(
            (stats.damaged_events, stats.late_events, stats.failed),
            (0, 0, false)
        );
        let oldest = self.pending.values().map(|known| known.entered_ms).min();
        assert_eq!(stats.oldest_time_ms, oldest);
        let letters: Vec<_> = all_letters(outbox).iter().rev().map(|it| it.id).collect();
        assert_eq!(letters, self.letters.keys().copied().collect::<Vec<_>>());
        assert_eq!(stats.dead_letters, u64::try_from(letters.len()).unwrap());
        assert_eq!(stats.dead_letters == 0, stats.dead_letter_bytes == 0);
        for (ticket, _) in &self.open {
            assert!(outbox.is_channel_open(ticket.opened).unwrap());
        }
    }

    fn check_incarnation(&self, outbox: &Outbox, number: u32) {
        let incarnation = IncarnationId(number);
        let events = pending(outbox, incarnation);
        let known = |event: &PendingEvent| Known {
            event_type: event.event.event_type,
            channel: event.event.channel.channel_id,
            sequence: event.event.sequence.0,
            entered_ms: event.entered_ms,
        };
        let stored: BTreeMap<_, _> = events
            .iter()
            .map(|event| ((number, event.position.0), known(event)))
            .collect();
        let of_it = self.pending.range((number, 0)..=(number, u64::MAX));
        let wanted: BTreeMap<_, _> = of_it.map(|(key, known)| (*key, known.clone())).collect();
        assert_eq!(stored, wanted);
        let counts = outbox.counts(incarnation);
        let wanted = IncarnationCounts {
            pending: u64::try_from(wanted.len()).unwrap(),
            pending_bytes: events.iter().map(|event| u64::from(event.bytes)).sum(),
            ..self.counts.get(&number).copied().unwrap_or_default()
        };
        assert_eq!(counts, wanted);
        let left =
            counts.delivered + counts.skipped + counts.buried + counts.expired + counts.discarded;
        assert_eq!(counts.recorded + counts.replayed, left + counts.pending);
        let slots: BTreeMap<_, _> = outbox.pending_slots(incarnation).into_iter().collect();
        assert_eq!(slots.values().sum::<u64>(), counts.pending);
        for slot in Slot::all() {
            let first = outbox.first_pending(incarnation, slot).unwrap();
            let of_slot = events.iter().filter(|event| event.slot == slot);
            assert_eq!(first, of_slot.map(|event| event.position).min());
            assert_eq!(first.is_some(), slots.contains_key(&slot));
        }
        let is_open = |(ticket, _): &(ChannelTicket, _)| ticket.incarnation == Some(incarnation);
        assert_eq!(
            outbox.is_owed(incarnation),
            counts.pending > 0 || self.open.iter().any(is_open)
        );
    }
}

/// An outbox and its model, side by side.
struct Pair {
    bench: Bench,
    outbox: Arc<Outbox>,
    model: Model,
    files: u32,
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::new();
        let (outbox, _) = bench.open();
        let mut model = Model {
            now_ms: 1_000_000,
            ..Model::default()
        };
        model.opens();
        Self {
            bench,
            outbox,
            model,
            files: 0,
        }
    }

    fn connect(&mut self, client: u32, incarnation: u32) {
        let facts = ChannelFacts {
            channel_id: channel(self.model.channels).channel_id,
            ..(*channel(client)).clone()
        };
        self.model.channels += 1;
        let facts = Arc::new(facts);
        let ticket = connect(&self.outbox, IncarnationId(incarnation), &facts);
        self.model.append(incarnation, EventType::Connect, &facts);
        assert_eq!(ticket.opened.0, self.model.last_sequence);
        self.model.open.push((ticket, facts));
    }

    fn close(&mut self, index: &prop::sample::Index, is_leaving: bool) {
        if self.model.open.is_empty() {
            return;
        }
        let index = index.index(self.model.open.len());
        let (ticket, facts) = self.model.open.swap_remove(index);
        let incarnation = ticket.incarnation.unwrap().0;
        if is_leaving {
            leave(&self.outbox, ticket, &facts);
            self.model
                .append(incarnation, EventType::Disconnect, &facts);
        } else {
            lose(&self.outbox, ticket, &facts);
        }
        self.model.append(incarnation, EventType::TcpClean, &facts);
    }

    fn settle(&mut self, index: &prop::sample::Index, outcome: u8) {
        let outcome = [
            Outcome::Delivered,
            Outcome::Skipped,
            Outcome::Expired,
            Outcome::Discarded,
            Outcome::Buried(burial("x")),
            Outcome::Buried(burial("y")),
        ][usize::from(outcome)]
        .clone();
        wait_committed(&self.outbox);
        let events: Vec<_> = (1..4)
            .flat_map(|number| pending(&self.outbox, IncarnationId(number)))
            .collect();
        if !events.is_empty() {
            let event = &events[index.index(events.len())];
            settle_now(&self.outbox, vec![settlement(event, outcome.clone())]);
            let key = (event.incarnation.0, event.position.0);
            self.model.settle(key, &outcome);
        }
    }

    fn reopen(&mut self) {
        self.model.check(&self.outbox);
        self.outbox.close();
        let (outbox, recovered) = self.bench.open();
        assert!(!recovered.repaired);
        self.outbox = outbox;
        self.model.restarted(recovered);
    }

    /// What kill -9 leaves is what the file has while it is open.
    fn crash(&mut self) {
        wait_committed(&self.outbox);
        // The disk has confirmed the settlements, too.
        self.outbox.discard(IncarnationId(u32::MAX));
        self.files += 1;
        let left = self
            .bench
            .config
            .path
            .with_extension(self.files.to_string());
        std::fs::copy(&self.bench.config.path, &left).unwrap();
        self.outbox.close();
        self.bench.config.path = left;
        let (outbox, recovered) = self.bench.open();
        assert!(recovered.repaired);
        self.outbox = outbox;
        self.model.restarted(recovered);
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Connect {
                client,
                incarnation,
            } => self.connect(client, incarnation),
            Act::Refuse(incarnation) => {
                let incarnation = Some(IncarnationId(incarnation));
                self.outbox.reserve(incarnation).unwrap();
                self.outbox.release(incarnation);
            }
            Act::Leave(index) => self.close(&index, true),
            Act::Lose(index) => self.close(&index, false),
            Act::Commit => wait_committed(&self.outbox),
            Act::Settle(index, outcome) => self.settle(&index, outcome),
            Act::Discard(number) => assert_eq!(
                self.outbox.discard(IncarnationId(number)),
                self.model.settle_all(number, u64::MAX, &Outcome::Discarded)
            ),
            Act::Forget(number, into) => assert_eq!(
                self.outbox
                    .forget(IncarnationId(number), into.map(IncarnationId)),
                self.model.forget(number, into)
            ),
            Act::Expire(number) => {
                let before_ms = self.model.last_time_ms;
                assert_eq!(
                    self.outbox.expire(IncarnationId(number), before_ms),
                    self.model.settle_all(number, before_ms, &Outcome::Expired)
                );
            }
            Act::Delete(index) => {
                let letter = self.model.letter(&index);
                let ids: Vec<_> = letter.into_iter().chain([u64::MAX]).collect();
                let deleted = self.outbox.delete_dead_letters(&ids).unwrap();
                assert_eq!(deleted, u64::from(letter.is_some()));
                letter.map(|letter| self.model.letters.remove(&letter));
            }
            Act::Replay(index, number) => {
                if let Some(id) = self.model.letter(&index) {
                    let incarnation = IncarnationId(number);
                    let replays = vec![ReplayDeadLetter {
                        id,
                        incarnation,
                        predecessors: Arc::default(),
                    }];
                    assert_eq!(self.outbox.replay_dead_letters(replays).unwrap(), 1);
                    self.model.replay(id, number);
                }
            }
            Act::Clock(now_ms) => {
                self.bench.set_clock(now_ms);
                self.model.now_ms = now_ms;
            }
            Act::Reopen => self.reopen(),
            Act::Crash => self.crash(),
        }
    }
}

fn run(acts: &[Act]) {
    let mut pair = Pair::new();
    acts.iter().for_each(|act| pair.act(act));
    pair.model.check(&pair.outbox);
    pair.outbox.close();
    let heard = pair.bench.heard.lock();
    assert!(heard.windows(2).all(|pair| {
        let (before, after) = (&pair[0], &pair[1]);
        before.position < after.position && before.entered_ms <= after.entered_ms
    }));
    let positions: BTreeSet<_> = heard.iter().map(|event| event.position).collect();
    assert_eq!(positions.len(), heard.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_is_its_model(acts in prop::collection::vec(act(), 1..80)) {
        run(&acts);
    }
}
