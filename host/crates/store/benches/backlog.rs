//! A large backlog: how fast it grows, how long a start takes with it after kill -9 and after a clean stop,
//! how fast it drains, and what is left of the file.
//!
//! `cargo bench --bench backlog -- EVENTS` (10,000,000 if none is given). Each phase is a process of its
//! own, so that its memory is its own and a kill is a kill.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a benchmark prints figures and fails by panicking"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventType, GroupId, IncarnationId, MqttVersion,
    Sequence, Slot, SystemClock,
};
use store::{Outbox, OutboxConfig, Outcome, PendingEvent, RecoveredOutbox, Settlement};
use tokio::time::Instant;

const RULE: IncarnationId = IncarnationId(1);
const EVENTS: u64 = 10_000_000;
const CLIENTS: u32 = 10_000;
/// Channels that stay open, so that a start has something to close.
const OPEN: u64 = 1000;
/// Events of a slot that a courier takes at once.
const TAKEN: usize = 128;

fn open(folder: &Path) -> (Arc<Outbox>, RecoveredOutbox) {
    let config = OutboxConfig {
        path: folder.join("outbox.redb"),
        bytes_max: 8 << 30,
        share_bytes_max: 8 << 30,
        commit_interval: Duration::from_millis(5),
        uncommitted_events_max: 65_536,
        dead_letters_bytes_max: 1 << 20,
    };
    Outbox::open(config, Arc::new(SystemClock), Box::new(|_| {})).unwrap()
}

fn facts(number: u32) -> Arc<ChannelFacts> {
    Arc::new(ChannelFacts {
        client_id: ClientId::parse(&format!("GID_Bench@@@device-{number:08}")).unwrap(),
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

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.unwrap_or("")
        .split_whitespace()
        .skip(1)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Appends `events`, then leaves `OPEN` channels open and kills the process.
fn fill(folder: &Path, events: u64) {
    let (outbox, _) = open(folder);
    let channels: Vec<_> = (0..CLIENTS).map(facts).collect();
    let mut count = 0;
    let mut started = Instant::now();
    for channel in channels.iter().cycle() {
        while outbox.reserve(Some(RULE)).is_err() {
            std::thread::yield_now();
        }
        let ticket = outbox.append_opened(Some(RULE), channel);
        count += 1;
        if count + OPEN < events {
            let reason = CloseReason::ConnectionLost;
            outbox.append_closing(ticket, channel, EventType::TcpClean, reason);
            count += 1;
        }
        if count % 1_000_000 == 0 {
            let rate = 1e6 / started.elapsed().as_secs_f64();
            let stats = outbox.stats();
            println!(
                "fill {:>3} M {rate:>9.0} events/s, file {:>5} MiB, {:.2} ms a commit on average, peak {}",
                count / 1_000_000,
                stats.file_bytes >> 20,
                stats.commit_seconds * 1e3 / stats.commits as f64,
                memory()
            );
            started = Instant::now();
        }
        if count >= events {
            break;
        }
    }
    assert!(outbox.committed().blocking_recv().unwrap());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .unwrap();
}

/// Opens, and closes again.
fn start(folder: &Path, what: &str) {
    let started = Instant::now();
    let (outbox, recovered) = open(folder);
    let opened = started.elapsed();
    let oldest = Instant::now();
    assert!(outbox.stats().oldest_time_ms.is_some());
    let oldest = oldest.elapsed();
    let closing = Instant::now();
    outbox.close();
    println!(
        "start {what}: {opened:.2?} for {recovered:?}; oldest event found in {oldest:.2?}; closed in {:.2?}; peak {}",
        closing.elapsed(),
        memory()
    );
}

fn delivered(event: &PendingEvent) -> Settlement {
    Settlement {
        incarnation: event.incarnation,
        slot: event.slot,
        position: event.position,
        outcome: Outcome::Delivered,
    }
}

/// Takes slot by slot and settles, as a courier with 256 queues would.
fn drain(folder: &Path) {
    let (outbox, _) = open(folder);
    let mut after = vec![Sequence(0); Slot::COUNT];
    let mut count = 0_u64;
    let (mut step, mut started) = (0, Instant::now());
    let mut longest = Duration::ZERO;
    loop {
        let before = count;
        for slot in Slot::all() {
            let after = &mut after[usize::from(slot.0)];
            let taking = Instant::now();
            let events = outbox.take(RULE, slot, *after, TAKEN).unwrap();
            longest = longest.max(taking.elapsed());
            if let Some(last) = events.last() {
                *after = last.position;
            }
            count += u64::try_from(events.len()).unwrap();
            outbox.settle(events.iter().map(|event| delivered(event)).collect());
        }
        while outbox.counts(RULE).delivered + 100_000 < count {
            std::thread::yield_now();
        }
        if count / 1_000_000 > step {
            let rate = (count / 1_000_000 - step) as f64 * 1e6 / started.elapsed().as_secs_f64();
            step = count / 1_000_000;
            println!("drain {step:>3} M {rate:>9.0} events/s, peak {}", memory());
            started = Instant::now();
        }
        if count == before {
            break;
        }
    }
    let ended = Instant::now();
    while outbox.counts(RULE).pending > 0 || outbox.stats().compactions == 0 {
        assert!(
            ended.elapsed() < Duration::from_secs(60),
            "{:?}",
            outbox.stats()
        );
        std::thread::yield_now();
    }
    println!(
        "drained; file of {} KiB {:.2?} later, peak {}",
        outbox.stats().file_bytes >> 10,
        ended.elapsed(),
        memory()
    );
    outbox.close();
}

fn main() {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    let (phase, rest) = arguments
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    match (phase, rest) {
        ("fill", [folder, events]) => fill(Path::new(folder), events.parse().unwrap()),
        ("start", [folder, what]) => start(Path::new(folder), what),
        ("drain", [folder]) => drain(Path::new(folder)),
        (events, _) => {
            let events = events.parse().unwrap_or(EVENTS).to_string();
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().to_str().unwrap();
            let phases: [&[&str]; 4] = [
                &["fill", folder, &events],
                &["start", folder, "after kill -9"],
                &["start", folder, "after a clean stop"],
                &["drain", folder],
            ];
            for phase in phases {
                let program = std::env::current_exe().unwrap();
                let status = Command::new(program).args(phase).status().unwrap();
                println!("{}: {status}", phase[0]);
            }
        }
    }
}
