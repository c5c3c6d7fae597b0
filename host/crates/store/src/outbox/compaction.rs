//! Giving disk space back that a backlog took: at start, and while the outbox runs.
//!
//! The engine reuses free pages but does not shrink its file. Compacting needs the file for
//! itself: meanwhile events queue in memory as they do behind a slow commit, readers wait.

use std::fs;
use std::path::Path;
use std::time::Duration;

use domain::ErrorChain;
use redb::Database;
use tokio::time::Instant;

use super::OutboxConfig;
use super::intake::{GROUP_EVENTS_MIN, Phase};
use super::writer::Writer;
use crate::fail_point;

/// A file smaller than this is not compacted at start.
const START_BYTES_MIN: u64 = 8 << 20;

/// A file smaller than this is not compacted while the outbox runs.
const RUNNING_BYTES_MIN: u64 = 64 << 20;

/// While so much is in it, the outbox does not stop for it: compacting moves all of that.
const RUNNING_LIVE_BYTES_MAX: u64 = 16 << 20;

/// A file this many times larger than what it holds is compacted.
const RATIO: u64 = 8;

/// After an attempt the file must become so many times larger before the next one, unless…
const REGROWTH: u64 = 2;

/// … what is in it has become so many times less.
const SHRINKAGE: u64 = 4;

/// What the last attempt left; nothing yet if all is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastCompaction {
    file_bytes: u64,
    /// Of that, what is pending or a dead letter.
    live_bytes: u64,
}

/// Size of the file, bytes; 0 if it cannot be seen.
pub(crate) fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Compacts the file that is about to be used.
pub(crate) fn at_start(database: &mut Database, config: &OutboxConfig, live_bytes: u64) {
    let bytes = file_bytes(&config.path);
    if bytes >= START_BYTES_MIN && bytes / RATIO >= live_bytes {
        compact(database, &config.path, bytes);
    }
}

/// A failure costs space only. Returns whether something was given back.
fn compact(database: &mut Database, path: &Path, bytes_before: u64) -> bool {
    let started = Instant::now();
    let result = fail_point::compacting(|| database.compact());
    let bytes_after = file_bytes(path);
    match result {
        Ok(_) => {
            let took_ms = millis(started.elapsed());
            tracing::info!(bytes_before, bytes_after, took_ms, "outbox file compacted");
            bytes_after < bytes_before
        }
        Err(error) => {
            tracing::warn!(error = %ErrorChain(&error), "outbox file could not be compacted");
            false
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Writer {
    /// Compacts the file if that is worth it and little is queued. Called after a commit.
    pub(crate) fn compact_if_due(&mut self) {
        let path = &self.shared.config.path;
        let bytes = file_bytes(path);
        if bytes < RUNNING_BYTES_MIN {
            return;
        }
        let live_bytes = self.shared.ledger.lock().live_bytes();
        let last = self.last_compaction;
        let has_grown = bytes >= last.file_bytes.saturating_mul(REGROWTH);
        let has_drained = live_bytes.saturating_mul(SHRINKAGE) < last.live_bytes;
        if !has_grown && !has_drained {
            return;
        }
        let is_worth = live_bytes <= RUNNING_LIVE_BYTES_MAX && bytes / RATIO >= live_bytes;
        if !is_worth || self.has_unsaved() || !self.is_quiet() {
            return;
        }
        let done = self
            .shared
            .disk
            .alone(|database| compact(database, path, bytes));
        self.last_compaction = LastCompaction {
            file_bytes: file_bytes(path),
            live_bytes,
        };
        if done.unwrap_or(false) {
            self.shared.meters.compacted();
        }
    }

    fn is_quiet(&self) -> bool {
        let intake = self.shared.intake.lock();
        intake.phase == Phase::Open
            && intake.jobs.is_empty()
            && intake.queue.len() < GROUP_EVENTS_MIN
    }
}
