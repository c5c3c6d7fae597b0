//! Outbox files with a history, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{
    ChannelFacts, ChannelId, ClientId, Clock, CloseReason, EventType, GroupId, IncarnationId,
    MqttVersion, QueueName, Slot, SystemClock,
};
use redb::{Database, ReadableDatabase, ReadableTable};
use tempfile::TempDir;

use crate::database::FlushMark;
use crate::outbox::tables::{DEAD_LETTERS, EVENTS, OPEN_CHANNELS, SLOT_MAPS};
use crate::record::EventKey;
use crate::repair::RepairReport;
use crate::repair::image::Image;
use crate::{Outbox, OutboxConfig, Outcome, Settlement};

pub(super) const RULE: IncarnationId = IncarnationId(1);
pub(super) const CHANNELS: u32 = 1200;
pub(super) const LEFT: u32 = 300;
pub(super) const SETTLED: usize = 400;

/// A file, as a killed host leaves it and as a stopped one does.
pub(super) struct Written {
    pub(super) folder: TempDir,
    pub(super) killed: PathBuf,
    pub(super) stopped: PathBuf,
}

pub(super) fn config(path: PathBuf) -> OutboxConfig {
    OutboxConfig {
        path,
        bytes_max: 1 << 30,
        share_bytes_max: 1 << 30,
        commit_interval: Duration::from_millis(1),
        uncommitted_events_max: 100_000,
        dead_letters_bytes_max: 1 << 20,
    }
}

pub(super) fn channel(number: u32) -> Arc<ChannelFacts> {
    Arc::new(ChannelFacts {
        client_id: ClientId::parse(&format!("GID_Test@@@d{number}")).unwrap(),
        group_id: Some(GroupId::parse("GID_Test").unwrap()),
        channel_id: ChannelId(u128::from(number).to_le_bytes()),
        client_address: "192.0.2.7:50312".parse().unwrap(),
        protocol: MqttVersion::V311,
        listener: "tcp",
        username: None,
        keep_alive_seconds: 60,
        clean_start: true,
        session_present: false,
    })
}

pub(super) fn open(path: &Path) -> Arc<Outbox> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Outbox::open(config(path.to_owned()), clock, Box::new(|_| ()))
        .unwrap()
        .0
}

/// An outbox with a history: channels that are open, some that closed, settled events, free pages.
pub(super) fn written() -> Written {
    let folder = tempfile::tempdir().unwrap();
    let stopped = folder.path().join("outbox.redb");
    let outbox = open(&stopped);
    for number in 0..CHANNELS {
        let channel = channel(number);
        outbox.reserve(Some(RULE)).unwrap();
        let ticket = outbox.append_opened(Some(RULE), &channel);
        if number < LEFT {
            for event_type in [EventType::Disconnect, EventType::TcpClean] {
                outbox.append_closing(ticket, &channel, event_type, CloseReason::ClientDisconnect);
            }
        }
        if number % 200 == 0 {
            assert!(outbox.committed().blocking_recv().unwrap());
        }
    }
    assert!(outbox.committed().blocking_recv().unwrap());
    let queue = QueueName {
        broker: "broker-a".into(),
        queue: 3,
    };
    outbox.put_slot_map(RULE, vec![(Slot(0), queue)]).unwrap();
    let keys: Vec<EventKey> = contents(&copy(&stopped, "look.redb"))
        .events
        .into_keys()
        .collect();
    let settlements = keys.into_iter().step_by(3).take(SETTLED);
    outbox.settle(
        settlements
            .map(|(incarnation, slot, position)| Settlement {
                incarnation: IncarnationId(incarnation),
                slot: Slot(slot),
                position: domain::Sequence(position),
                outcome: Outcome::Delivered,
            })
            .collect(),
    );
    // A durable commit after the settlements.
    let last = channel(CHANNELS);
    outbox.reserve(Some(RULE)).unwrap();
    outbox.append_opened(Some(RULE), &last);
    assert!(outbox.committed().blocking_recv().unwrap());
    // In this order, so that the mark is not ahead of the file.
    fs::copy(
        FlushMark::path_of(&stopped),
        folder.path().join("killed.redb.flushed"),
    )
    .unwrap();
    let killed = copy(&stopped, "killed.redb");
    outbox.close();
    Written {
        folder,
        killed,
        stopped,
    }
}

pub(super) fn copy(path: &Path, name: &str) -> PathBuf {
    let copy = path.with_file_name(name);
    fs::copy(path, &copy).unwrap();
    copy
}

/// The same with the mark of what was flushed.
pub(super) fn copy_marked(path: &Path, name: &str) -> PathBuf {
    let copy = copy(path, name);
    fs::copy(FlushMark::path_of(path), FlushMark::path_of(&copy)).unwrap();
    copy
}

/// Everything that is copied row by row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) events: BTreeMap<EventKey, Vec<u8>>,
    pub(super) open_channels: BTreeMap<u64, Vec<u8>>,
    pub(super) dead_letters: BTreeMap<u64, Vec<u8>>,
    pub(super) slot_maps: BTreeMap<u32, Vec<u8>>,
}

/// Where the page is that leads to everything in the last commit, bytes.
pub(super) fn last_root(path: &Path) -> u64 {
    let image = Image::open(path, true).unwrap().unwrap();
    Image::offset(image.header.newest.unwrap().user.unwrap().page)
}

/// A repair tells at least what is lost. Only without the root of the last commit it may say that it is not known.
pub(super) fn assert_told(report: &RepairReport, lost: u64, has_root: bool, context: &str) {
    let told = report.lost_events();
    assert!(
        told.map_or(!has_root, |told| lost <= told),
        "{context}: {lost} lost, {told:?} told: {report:?}"
    );
}

/// How many events of `truth` are not in `found`.
pub(super) fn missing(truth: &Contents, found: &Contents) -> u64 {
    let is_missing = |key: &&EventKey| !found.events.contains_key(key);
    let missing = truth.events.keys().filter(is_missing).count();
    u64::try_from(missing).unwrap()
}

/// Reads a copy, since the engine writes into what it opens.
pub(super) fn contents(path: &Path) -> Contents {
    let read = copy(path, "contents.redb");
    let database = Database::open(&read).unwrap();
    let transaction = database.begin_read().unwrap();
    macro_rules! rows {
        ($table:expr) => {
            transaction
                .open_table($table)
                .unwrap()
                .iter()
                .unwrap()
                .map(|row| {
                    let (key, value) = row.unwrap();
                    (key.value(), value.value().to_vec())
                })
                .collect()
        };
    }
    Contents {
        events: rows!(EVENTS),
        open_channels: rows!(OPEN_CHANNELS),
        dead_letters: rows!(DEAD_LETTERS),
        slot_maps: rows!(SLOT_MAPS),
    }
}

/// Numbers that look random and are the same each time.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 20) % limit
    }
}

pub(super) fn turn_bit(path: &Path, byte: u64, bit: u8) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut found = [0];
    file.read_exact_at(&mut found, byte).unwrap();
    file.write_all_at(&[found[0] ^ (1 << bit)], byte).unwrap();
}

pub(super) fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// Opens the repaired file as a host does; returns what it has pending and how many channels it closed.
pub(super) fn start(path: &Path) -> (u64, u64) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (outbox, recovered) =
        Outbox::open(config(path.to_owned()), clock, Box::new(|_| ())).unwrap();
    let counts = outbox.counts(RULE);
    let ended =
        counts.delivered + counts.skipped + counts.buried + counts.expired + counts.discarded;
    assert_eq!(
        counts.recorded + counts.replayed,
        ended + counts.pending,
        "{counts:?}"
    );
    outbox.close();
    (recovered.pending_events, recovered.closed_channels)
}
