//! The outbox on a disk that fails, and with records that are damaged.

use std::fs::OpenOptions;
use std::io;
use std::sync::atomic::AtomicBool;

use redb::backends::FileBackend;
use redb::{Database, ReadableTable, StorageBackend};

use super::*;
use crate::database::{NUMBERS, OpenedFile, check_schema};
use crate::outbox::tables::{EVENTS, OPEN_CHANNELS, SCHEMA};
use crate::record::event_key;

/// A disk that can be full.
#[derive(Debug, Default)]
struct Switch {
    writes_fail: AtomicBool,
    syncs_fail: AtomicBool,
}

impl Switch {
    #[expect(clippy::fn_params_excessive_bools, reason = "two switches")]
    fn set(&self, writes_fail: bool, syncs_fail: bool) {
        self.writes_fail.store(writes_fail, Ordering::SeqCst);
        self.syncs_fail.store(syncs_fail, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct FailingFile {
    file: FileBackend,
    switch: Arc<Switch>,
}

fn check(fails: &AtomicBool) -> io::Result<()> {
    if fails.load(Ordering::SeqCst) {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    } else {
        Ok(())
    }
}

impl StorageBackend for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        check(&self.switch.writes_fail)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        check(&self.switch.syncs_fail)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        check(&self.switch.writes_fail)?;
        self.file.write(offset, data)
    }
}

fn open_on(bench: &Bench, switch: &Arc<Switch>) -> Arc<Outbox> {
    let switch = Arc::clone(switch);
    let open: OpenFile = Box::new(move |path| {
        let fail = |error: redb::DatabaseError| OpenStoreError::of(path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .unwrap();
        let file = FileBackend::new(file).map_err(fail)?;
        let backend = FailingFile {
            file,
            switch: Arc::clone(&switch),
        };
        let database = redb::Builder::new()
            .create_with_backend(backend)
            .map_err(fail)?;
        check_schema(&database, path, SCHEMA)?;
        Ok(OpenedFile {
            database,
            repaired: false,
        })
    });
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&bench.clock);
    Outbox::open_file(bench.config.clone(), clock, bench.listener(), open)
        .unwrap()
        .0
}

/// Waits until the store works again, by asking for what needs it.
fn wait_works(outbox: &Outbox) {
    // Answers after the commit that is being repeated.
    outbox.discard(IncarnationId(u32::MAX));
    assert!(!outbox.stats().failed);
}

#[test]
fn a_disk_that_fails_refuses_connects_and_loses_nothing() {
    let bench = Bench::new();
    let switch = Arc::new(Switch::default());
    let outbox = open_on(&bench, &switch);
    let first = connect(&outbox, RULE, &channel(1));
    wait_committed(&outbox);
    switch.set(true, true);
    let second = connect(&outbox, RULE, &channel(2));
    assert!(
        !outbox.committed().blocking_recv().unwrap(),
        "the disk is full"
    );
    assert_eq!(
        outbox.reserve(Some(RULE)),
        Err(RefuseConnectError::StoreFailed)
    );
    assert_eq!(outbox.reserve(None), Ok(()));
    leave(&outbox, first, &channel(1));
    lose(&outbox, second, &channel(2));
    assert!(
        !outbox.committed().blocking_recv().unwrap(),
        "at once while it is known"
    );
    let stats = outbox.stats();
    assert!(
        stats.failed && stats.commit_failures > 0 && stats.uncommitted == 4,
        "{stats:?}"
    );
    switch.set(false, false);
    wait_works(&outbox);
    assert_eq!(outbox.reserve(Some(RULE)), Ok(()));
    outbox.release(Some(RULE));
    wait_committed(&outbox);
    assert_eq!(pending(&outbox, RULE).len(), 5);
    assert_eq!(outbox.counts(RULE).recorded, 5);
    outbox.close();
    assert_eq!(bench.heard.lock().len(), 5, "each is heard once");
    assert_eq!(
        bench.open().1,
        RecoveredOutbox {
            pending_events: 5,
            closed_channels: 0,
            repaired: false
        }
    );
}

/// The engine cannot know whether a commit whose flush failed is in the file.
#[test]
fn a_commit_that_may_have_happened_is_not_counted_twice() {
    let bench = Bench::new();
    let switch = Arc::new(Switch::default());
    let outbox = open_on(&bench, &switch);
    for number in 0..4 {
        connect(&outbox, RULE, &channel(number));
    }
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    // Not durable for a second: a failure takes it back from the file, but not from the ledger.
    settle_now(&outbox, vec![settlement(&events[0], Outcome::Delivered)]);
    outbox.settle(vec![settlement(&events[1], Outcome::Skipped)]);
    switch.set(false, true);
    outbox.settle(vec![settlement(&events[2], Outcome::Buried(burial("no")))]);
    let ticket = connect(&outbox, RULE, &channel(9));
    assert!(!outbox.committed().blocking_recv().unwrap());
    switch.set(false, false);
    wait_works(&outbox);
    lose(&outbox, ticket, &channel(9));
    wait_committed(&outbox);
    let counts = outbox.counts(RULE);
    assert_eq!(
        (
            counts.recorded,
            counts.delivered,
            counts.skipped,
            counts.buried,
            counts.pending
        ),
        (6, 1, 1, 1, 3)
    );
    assert_eq!(pending(&outbox, RULE).len(), 3);
    drop(outbox);
    let (outbox, recovered) = bench.open();
    assert_eq!(
        (recovered.pending_events, recovered.closed_channels),
        (7, 4)
    );
    assert_eq!(
        outbox.counts(RULE),
        IncarnationCounts {
            recorded: 10,
            pending: 7,
            ..outbox.counts(RULE)
        }
    );
    assert_eq!(
        outbox
            .dead_letters(&DeadLetterFilter::default(), 10)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn an_outbox_that_cannot_write_still_closes() {
    let bench = Bench::new();
    let switch = Arc::new(Switch::default());
    let outbox = open_on(&bench, &switch);
    connect(&outbox, RULE, &channel(1));
    wait_committed(&outbox);
    switch.set(true, true);
    connect(&outbox, RULE, &channel(2));
    outbox.close();
    assert!(outbox.stats().failed, "an event was lost, and it is known");
    assert!(!outbox.committed().blocking_recv().unwrap());
    assert_eq!(
        outbox.reserve(Some(RULE)),
        Err(RefuseConnectError::ShuttingDown)
    );
    assert_eq!(outbox.discard(RULE), 0);
    assert!(matches!(
        outbox.take(RULE, Slot(0), Sequence(0), 1),
        Err(ReadStoreError::NotOpen)
    ));
    switch.set(false, false);
    assert_eq!(
        bench.open().1.pending_events,
        2,
        "the first and its tcpclean"
    );
}

#[test]
fn what_comes_after_the_end_is_counted_as_lost() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    outbox.close();
    lose(&outbox, ticket, &channel(1));
    assert_eq!(outbox.stats().late_events, 1);
    assert_eq!(outbox.stats().uncommitted, 0);
}

fn edit(bench: &Bench, edit: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::create(&bench.config.path).unwrap();
    let transaction = database.begin_write().unwrap();
    edit(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn a_damaged_event_is_discarded_and_counted() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    leave(&outbox, ticket, &channel(1));
    wait_committed(&outbox);
    let events = pending(&outbox, RULE);
    drop(outbox);
    edit(&bench, |transaction| {
        let mut table = transaction.open_table(EVENTS).unwrap();
        let key = event_key(RULE, events[1].slot, events[1].position);
        let mut record = table.get(&key).unwrap().unwrap().value().to_vec();
        record[40] ^= 1;
        table.insert(&key, record.as_slice()).unwrap();
    });
    let (outbox, recovered) = bench.open();
    assert_eq!(recovered.pending_events, 3);
    let taken = outbox.take(RULE, events[0].slot, Sequence(0), 2).unwrap();
    let sequences: Vec<_> = taken.iter().map(|event| event.event.sequence).collect();
    assert_eq!(
        sequences,
        [events[0].event.sequence, events[2].event.sequence]
    );
    outbox.discard(OTHER);
    let counts = outbox.counts(RULE);
    assert_eq!(
        (counts.recorded, counts.discarded, counts.pending),
        (3, 1, 2)
    );
    assert_eq!(outbox.stats().damaged_events, 1);
}

#[test]
fn a_damaged_open_channel_is_removed_and_counted() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    let ticket = connect(&outbox, RULE, &channel(1));
    connect(&outbox, RULE, &channel(2));
    drop(outbox);
    edit(&bench, |transaction| {
        transaction
            .open_table(OPEN_CHANNELS)
            .unwrap()
            .insert(ticket.opened.0, [1; 50].as_slice())
            .unwrap();
    });
    let (outbox, recovered) = bench.open();
    assert_eq!(
        (recovered.closed_channels, recovered.pending_events),
        (1, 3)
    );
    assert_eq!(outbox.stats().damaged_events, 1);
    drop(outbox);
    assert_eq!(bench.open().1.closed_channels, 0);
}

#[test]
fn an_outbox_of_a_newer_version_is_refused() {
    let bench = Bench::new();
    drop(bench.open());
    edit(&bench, |transaction| {
        transaction
            .open_table(NUMBERS)
            .unwrap()
            .insert("schema", SCHEMA + 1)
            .unwrap();
    });
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&bench.clock);
    let error = Outbox::open(bench.config.clone(), clock, bench.listener()).unwrap_err();
    assert!(
        matches!(error, OpenStoreError::NewerSchema { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("outbox.redb"), "{error}");
}

#[test]
fn an_outbox_in_use_is_refused() {
    let bench = Bench::new();
    let (_outbox, _) = bench.open();
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&bench.clock);
    let error = Outbox::open(bench.config.clone(), clock, bench.listener()).unwrap_err();
    assert!(matches!(error, OpenStoreError::InUse { .. }), "{error}");
}
