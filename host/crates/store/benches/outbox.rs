//! What the tables of the outbox cost, and what the outbox as a whole does: figures for the docs of `outbox/tables.rs`.
//!
//! Prints a table; single runs vary by a third, so rounds are interleaved and the median is shown. The
//! first part drives the engine alone, since it compares keys that the outbox does not have.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark prints figures and fails by panicking"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventType, GroupId, IncarnationId, MqttVersion,
    SystemClock,
};
use redb::{Builder, Database, Durability, TableDefinition};
use store::{Outbox, OutboxConfig, Outcome, PendingEvent, Settlement};
use tokio::time::Instant;

const EVENTS: TableDefinition<'static, (u32, u8, u64), &'static [u8]> =
    TableDefinition::new("events");
const BY_NUMBER: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("by_number");
const BY_CLIENT: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("by_client");

/// Bytes of a typical event, and of the row of its channel.
const RECORD: [u8; 150] = [7; 150];
/// Three events a channel: so many channels come and go in one commit.
const CHANNELS_PER_COMMIT: u64 = 341;
const EVENTS_PER_COMMIT: u64 = CHANNELS_PER_COMMIT * 3;
const OPEN_CHANNELS: u64 = 100_000;
const COMMITS: u64 = 60;
const ROUNDS: usize = 5;

/// How open channels are kept.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    /// Not at all.
    None,
    /// By a number that grows; the oldest close first.
    ByNumber,
    /// By a number that grows; they close in any order.
    ByNumberShuffled,
    /// By client id; they close in any order.
    ByClient,
}

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    slots: u64,
    rows: Rows,
    /// Events leave as fast as they enter.
    settles: bool,
}

const CASES: [Case; 9] = [
    Case {
        name: "append, 1 lane, no rows",
        slots: 1,
        rows: Rows::None,
        settles: false,
    },
    Case {
        name: "append, 16 slots, no rows",
        slots: 16,
        rows: Rows::None,
        settles: false,
    },
    Case {
        name: "append, 256 slots, no rows",
        slots: 256,
        rows: Rows::None,
        settles: false,
    },
    Case {
        name: "steady, 1 lane, no rows",
        slots: 1,
        rows: Rows::None,
        settles: true,
    },
    Case {
        name: "steady, 16 slots, no rows",
        slots: 16,
        rows: Rows::None,
        settles: true,
    },
    Case {
        name: "steady, 256 slots, no rows",
        slots: 256,
        rows: Rows::None,
        settles: true,
    },
    Case {
        name: "steady, 256 slots, rows by number",
        slots: 256,
        rows: Rows::ByNumber,
        settles: true,
    },
    Case {
        name: "steady, 256 slots, rows by number, any order",
        slots: 256,
        rows: Rows::ByNumberShuffled,
        settles: true,
    },
    Case {
        name: "steady, 256 slots, rows by client id",
        slots: 256,
        rows: Rows::ByClient,
        settles: true,
    },
];

/// Spreads numbers without a pattern (splitmix64).
fn mix(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn client_id(channel: u64) -> String {
    format!("GID_Bench@@@device-{:016x}", mix(channel))
}

struct Engine {
    case: Case,
    database: Database,
    sequence: u64,
    channels: u64,
    /// Channels that are open, in the order in which they will close.
    open: Vec<u64>,
    pending: VecDeque<(u32, u8, u64)>,
}

impl Engine {
    fn new(case: Case, folder: &std::path::Path) -> Self {
        let database = Builder::new()
            .set_cache_size(64 << 20)
            .create(folder.join("bench.redb"))
            .unwrap();
        let mut engine = Self {
            case,
            database,
            sequence: 0,
            channels: 0,
            open: Vec::new(),
            pending: VecDeque::new(),
        };
        let transaction = engine.database.begin_write().unwrap();
        {
            let mut by_number = transaction.open_table(BY_NUMBER).unwrap();
            let mut by_client = transaction.open_table(BY_CLIENT).unwrap();
            transaction.open_table(EVENTS).unwrap();
            for channel in 0..OPEN_CHANNELS {
                match case.rows {
                    Rows::None => {}
                    Rows::ByNumber | Rows::ByNumberShuffled => {
                        by_number.insert(channel, RECORD.as_slice()).unwrap();
                    }
                    Rows::ByClient => {
                        by_client
                            .insert(client_id(channel).as_str(), RECORD.as_slice())
                            .unwrap();
                    }
                }
            }
        }
        transaction.commit().unwrap();
        engine.channels = OPEN_CHANNELS;
        engine.open = (0..OPEN_CHANNELS).collect();
        for _ in 0..4 {
            engine.commit();
        }
        engine
    }

    /// The channels that close in this commit, each replaced by a new one.
    fn turn_over(&mut self) -> Vec<(u64, u64)> {
        (0..CHANNELS_PER_COMMIT)
            .map(|_| {
                let opened = self.channels;
                self.channels += 1;
                let place = match self.case.rows {
                    Rows::ByNumber => opened % OPEN_CHANNELS,
                    Rows::None | Rows::ByNumberShuffled | Rows::ByClient => {
                        mix(opened) % OPEN_CHANNELS
                    }
                };
                let slot = self.open.get_mut(place as usize).unwrap();
                (std::mem::replace(slot, opened), opened)
            })
            .collect()
    }

    fn commit(&mut self) {
        let mut keys: Vec<_> = (0..EVENTS_PER_COMMIT)
            .map(|n| {
                (
                    1,
                    (mix(self.sequence + n) % self.case.slots) as u8,
                    self.sequence + n,
                )
            })
            .collect();
        self.sequence += EVENTS_PER_COMMIT;
        let turned = self.turn_over();
        let settled: Vec<_> = if self.case.settles
            && self.pending.len() >= 4 * EVENTS_PER_COMMIT as usize
        {
            let mut settled: Vec<_> = self.pending.drain(..EVENTS_PER_COMMIT as usize).collect();
            settled.sort_unstable();
            settled
        } else {
            Vec::new()
        };
        self.pending.extend(&keys);
        keys.sort_unstable();
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_durability(Durability::Immediate).unwrap();
        {
            let mut table = transaction.open_table(EVENTS).unwrap();
            for key in keys {
                table.insert(key, RECORD.as_slice()).unwrap();
            }
            for key in settled {
                table.remove(key).unwrap().unwrap();
            }
        }
        self.turn_rows(&transaction, turned);
        transaction.commit().unwrap();
    }

    fn turn_rows(&self, transaction: &redb::WriteTransaction, turned: Vec<(u64, u64)>) {
        match self.case.rows {
            Rows::None => {}
            Rows::ByNumber | Rows::ByNumberShuffled => {
                let mut table = transaction.open_table(BY_NUMBER).unwrap();
                let mut closed: Vec<_> = turned.iter().map(|(closed, _)| *closed).collect();
                closed.sort_unstable();
                for channel in closed {
                    table.remove(channel).unwrap();
                }
                for (_, opened) in turned {
                    table.insert(opened, RECORD.as_slice()).unwrap();
                }
            }
            Rows::ByClient => {
                let mut table = transaction.open_table(BY_CLIENT).unwrap();
                let mut closed: Vec<_> = turned
                    .iter()
                    .map(|(closed, _)| client_id(*closed))
                    .collect();
                let mut opened: Vec<_> = turned
                    .iter()
                    .map(|(_, opened)| client_id(*opened))
                    .collect();
                closed.sort_unstable();
                opened.sort_unstable();
                for channel in closed {
                    table.remove(channel.as_str()).unwrap();
                }
                for channel in opened {
                    table.insert(channel.as_str(), RECORD.as_slice()).unwrap();
                }
            }
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

fn engine_alone() {
    println!(
        "engine alone: commits of {EVENTS_PER_COMMIT} events and {CHANNELS_PER_COMMIT} channels, {OPEN_CHANNELS} open"
    );
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); CASES.len()];
    for _ in 0..ROUNDS {
        for (case, rates) in CASES.iter().zip(&mut rates) {
            let folder = tempfile::tempdir().unwrap();
            let mut engine = Engine::new(*case, folder.path());
            let started = Instant::now();
            for _ in 0..COMMITS {
                engine.commit();
            }
            rates.push((COMMITS * EVENTS_PER_COMMIT) as f64 / started.elapsed().as_secs_f64());
        }
    }
    let best = median(rates.first().cloned().unwrap());
    for (case, rates) in CASES.iter().zip(rates) {
        let rate = median(rates);
        println!(
            "{:<48} {:>9.0} events/s  {:.2} of the first",
            case.name,
            rate,
            rate / best
        );
    }
}

fn facts(number: u64) -> Arc<ChannelFacts> {
    Arc::new(ChannelFacts {
        client_id: ClientId::parse(&client_id(number)).unwrap(),
        group_id: Some(GroupId::parse("GID_Bench").unwrap()),
        channel_id: ChannelId::random(),
        client_address: "192.0.2.7:50312".parse().unwrap(),
        protocol: MqttVersion::V5,
        listener: "tcp",
        username: None,
        keep_alive_seconds: 60,
        clean_start: true,
        session_present: false,
    })
}

type Heard = crossbeam_channel::Receiver<Vec<Arc<PendingEvent>>>;

fn open_outbox(folder: &std::path::Path) -> (Arc<Outbox>, Heard) {
    let config = OutboxConfig {
        path: folder.join("outbox.redb"),
        bytes_max: 4 << 30,
        share_bytes_max: 4 << 30,
        commit_interval: Duration::from_millis(5),
        uncommitted_events_max: 131_072,
        dead_letters_bytes_max: 1 << 20,
    };
    let (sender, heard) = crossbeam_channel::bounded(100_000);
    let listener =
        Box::new(move |events: &[Arc<PendingEvent>]| sender.send(events.to_vec()).unwrap());
    (
        Outbox::open(config, Arc::new(SystemClock), listener)
            .unwrap()
            .0,
        heard,
    )
}

fn settle(outbox: &Outbox, heard: &Heard) {
    for events in heard {
        let delivered = events.iter().map(|event| Settlement {
            incarnation: event.incarnation,
            slot: event.slot,
            position: event.position,
            outcome: Outcome::Delivered,
        });
        outbox.settle(delivered.collect());
    }
}

/// As many channels as go through, each open for `open` others.
fn outbox_throughput(name: &str, open: usize) {
    const RULE: IncarnationId = IncarnationId(1);
    let folder = tempfile::tempdir().unwrap();
    let (outbox, heard) = open_outbox(folder.path());
    let refused = AtomicU64::new(0);
    let channels: Vec<_> = (0..200_000).map(facts).collect();
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| settle(&outbox, &heard));
        let mut tickets = VecDeque::new();
        for channel in &channels {
            while outbox.reserve(Some(RULE)).is_err() {
                refused.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
            }
            tickets.push_back((outbox.append_opened(Some(RULE), channel), channel));
            if tickets.len() > open {
                let (ticket, channel) = tickets.pop_front().unwrap();
                for event_type in [EventType::Disconnect, EventType::TcpClean] {
                    outbox.append_closing(
                        ticket,
                        channel,
                        event_type,
                        CloseReason::ClientDisconnect,
                    );
                }
            }
        }
        for (ticket, channel) in tickets {
            for event_type in [EventType::Disconnect, EventType::TcpClean] {
                outbox.append_closing(ticket, channel, event_type, CloseReason::ClientDisconnect);
            }
        }
        assert!(outbox.committed().blocking_recv().unwrap());
        let rate = outbox.counts(RULE).recorded as f64 / started.elapsed().as_secs_f64();
        let stats = outbox.stats();
        println!(
            "{name:<48} {rate:>9.0} events/s, {:.0} a commit, {:.1} ms a commit",
            outbox.counts(RULE).recorded as f64 / stats.commits as f64,
            stats.commit_seconds * 1000.0 / stats.commits as f64,
        );
        outbox.close();
    });
}

/// One channel at a time: what a CONNECT waits for its commit.
fn outbox_latency() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, heard) = open_outbox(folder.path());
    std::thread::scope(|scope| {
        scope.spawn(|| settle(&outbox, &heard));
        let waits = (0..500).map(|number| {
            let channel = facts(number);
            outbox.reserve(Some(IncarnationId(1))).unwrap();
            let started = Instant::now();
            outbox.append_opened(Some(IncarnationId(1)), &channel);
            assert!(outbox.committed().blocking_recv().unwrap());
            started.elapsed().as_secs_f64() * 1000.0
        });
        println!(
            "{:<48} {:>9.2} ms to durable (median)",
            "outbox, one at a time",
            median(waits.collect())
        );
        outbox.close();
    });
}

/// What a socket thread spends under the intake lock and around it.
fn append_cost() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, heard) = open_outbox(folder.path());
    let channel = facts(1);
    std::thread::scope(|scope| {
        scope.spawn(|| settle(&outbox, &heard));
        let started = Instant::now();
        for _ in 0..30_000 {
            outbox.append_opened(Some(IncarnationId(1)), &channel);
        }
        println!(
            "{:<48} {:>9.2} µs a call",
            "outbox, append",
            started.elapsed().as_secs_f64() * 1e6 / 30_000.0
        );
        outbox.close();
    });
}

fn main() {
    engine_alone();
    println!("outbox: records encoded, stamped, committed, settled");
    outbox_throughput("outbox, channels close at once", 0);
    outbox_throughput("outbox, 50,000 channels open", 50_000);
    outbox_latency();
    append_cost();
}
