//! Disk space that a backlog took comes back, and nothing else goes with it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::*;
use crate::database::{OpenedFile, check_schema};
use crate::fail_point::is_compacting;

fn backlog(outbox: &Outbox, events: u64) {
    let facts = channel(1);
    for _ in 0..events / 2 {
        let ticket = outbox.append_opened(Some(RULE), &facts);
        lose(outbox, ticket, &facts);
    }
    wait_committed(outbox);
}

#[test]
fn a_drained_backlog_gives_its_disk_space_back_at_the_next_start() {
    let bench = Bench::new();
    let file_bytes = || fs::metadata(&bench.config.path).unwrap().len();
    let (outbox, _) = bench.open();
    backlog(&outbox, 200_000);
    let full = file_bytes();
    assert_eq!(outbox.discard(RULE), 200_000);
    outbox.close();
    let closed = file_bytes();
    drop(bench.open());
    let opened = file_bytes();
    assert!(
        full > 24 << 20 && opened < 8 << 20,
        "{full} {closed} {opened}"
    );
}

#[test]
fn a_drained_backlog_gives_its_disk_space_back_while_the_outbox_runs() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    for _ in 0..4 {
        backlog(&outbox, 100_000);
    }
    let full = outbox.stats();
    assert!(full.file_bytes > 64 << 20, "{full:?}");
    assert_eq!(full.compactions, 0);
    let open = connect(&outbox, OTHER, &channel(2));
    assert_eq!(outbox.discard(RULE), 400_000);
    // The writer compacts after a commit; this one comes after that at the latest.
    for _ in 0..2 {
        outbox.discard(RULE);
    }
    let after = outbox.stats();
    assert!(
        after.compactions == 1 && after.file_bytes < 8 << 20,
        "{after:?}"
    );
    // It works as before.
    lose(&outbox, open, &channel(2));
    wait_committed(&outbox);
    assert_eq!(pending(&outbox, OTHER).len(), 2);
    drop(outbox);
    assert_eq!(bench.open().1.pending_events, 2);
}

/// Copies the file before some writes of a compaction: what a kill would leave there.
#[derive(Debug)]
struct CopiedFile {
    file: FileBackend,
    path: PathBuf,
    writes: AtomicU64,
    /// How many copies there are.
    copies: Arc<AtomicU64>,
}

impl CopiedFile {
    fn before_write(&self) {
        // Another test may compact at the same time; a copy more does no harm.
        if is_compacting() {
            let write = self.writes.fetch_add(1, Ordering::SeqCst);
            if write.is_power_of_two() || write % 40 == 39 {
                let copy = self.copies.fetch_add(1, Ordering::SeqCst);
                fs::copy(&self.path, self.path.with_extension(copy.to_string())).unwrap();
            }
        }
    }
}

impl StorageBackend for CopiedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.before_write();
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.before_write();
        self.file.write(offset, data)
    }
}

fn copying(copies: &Arc<AtomicU64>) -> OpenFile {
    let copies = Arc::clone(copies);
    Box::new(move |path| {
        let fail = |error: redb::DatabaseError| OpenStoreError::of(path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let backend = CopiedFile {
            file: FileBackend::new(file).map_err(fail)?,
            path: path.to_owned(),
            writes: AtomicU64::new(0),
            copies: Arc::clone(&copies),
        };
        let database = redb::Builder::new()
            .create_with_backend(backend)
            .map_err(fail)?;
        check_schema(&database, path, SCHEMA)?;
        Ok(OpenedFile {
            database,
            repaired: false,
        })
    })
}

#[test]
fn a_kill_during_a_compaction_loses_nothing() {
    let mut bench = Bench::new();
    let (outbox, _) = bench.open();
    backlog(&outbox, 100_000);
    for number in 0..300 {
        let ticket = connect(&outbox, OTHER, &channel(number));
        lose(&outbox, ticket, &channel(number));
    }
    wait_committed(&outbox);
    // What stays is at the end of the file.
    assert_eq!(outbox.discard(RULE), 100_000);
    // Closing would shorten the file.
    let left = bench.config.path.with_extension("left");
    fs::copy(&bench.config.path, &left).unwrap();
    let before = outbox.all_counts();
    drop(outbox);
    bench.config.path = left;
    let copies = Arc::new(AtomicU64::new(0));
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&bench.clock);
    let open = copying(&copies);
    let opened = Outbox::open_file(bench.config.clone(), clock, bench.listener(), open);
    drop(opened.unwrap());
    let count = copies.load(Ordering::SeqCst);
    assert!(count > 3, "{count}");
    let path = bench.config.path.clone();
    for copy in 0..count {
        bench.config.path = path.with_extension(copy.to_string());
        let (outbox, recovered) = bench.open();
        assert_eq!(recovered.pending_events, 600, "copy {copy} of {count}");
        assert_eq!(outbox.all_counts(), before, "copy {copy} of {count}");
        assert_eq!(pending(&outbox, OTHER).len(), 600);
    }
}
