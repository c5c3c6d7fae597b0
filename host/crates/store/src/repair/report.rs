//! What a check or a repair found, for whoever asked. Says nothing about how it looks.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Damaged places that a report names one by one.
pub(super) const DAMAGES_MAX: usize = 100;

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// Where it begins, bytes from the begin of the file; `None` if it is not in one place.
    pub offset: Option<u64>,
    /// The table that the page belongs to, if it is known.
    pub table: Option<String>,
    /// What is wrong.
    pub detail: String,
    /// One bit is wrong and it is known which: nothing is lost.
    pub is_mendable: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(offset) = self.offset {
            write!(f, "at byte {offset}")?;
            match &self.table {
                Some(table) => write!(f, ", table {table}: ")?,
                None => f.write_str(": ")?,
            }
        }
        f.write_str(&self.detail)
    }
}

/// A table of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableCheck {
    /// Its name.
    pub table: String,
    /// Rows that are whole.
    pub rows: u64,
    /// Rows whose own checksum is wrong.
    pub damaged_rows: u64,
    /// Rows that should be there and were not found.
    pub missing_rows: u64,
}

/// An incarnation whose counts do not fit its pending events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TallyMismatch {
    /// The incarnation.
    pub incarnation: u32,
    /// Pending events after the counts: what entered less what left.
    pub counted: u64,
    /// Pending events in the file.
    pub found: u64,
}

/// What is in a file, and what is wrong with it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Version of its tables; `None` if it is not known.
    pub schema: Option<u64>,
    /// Whether the last process closed it. An open one is no damage.
    pub is_closed: bool,
    /// Tables in order of their names.
    pub tables: Vec<TableCheck>,
    /// The first 100 damages.
    pub damages: Vec<Damage>,
    /// How many there are beyond those.
    pub more_damages: u64,
    /// Counts that do not fit.
    pub tallies: Vec<TallyMismatch>,
    /// What is worth knowing and no damage.
    pub notes: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
            && self.tallies.is_empty()
            && self
                .tables
                .iter()
                .all(|table| table.damaged_rows == 0 && table.missing_rows == 0)
    }

    /// Whether each damage is one wrong bit that is known, so that a repair loses nothing.
    #[must_use]
    pub fn is_mendable(&self) -> bool {
        self.more_damages == 0 && self.damages.iter().all(|damage| damage.is_mendable)
    }
}

/// How a file was repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Remedy {
    /// Nothing was wrong, and nothing was changed.
    None,
    /// Every wrong bit was found and turned back. Nothing is lost.
    Mended,
    /// The rows that are whole were copied into a new file.
    Salvaged,
}

/// A table of a repaired file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableRepair {
    /// Its name.
    pub table: String,
    /// Rows in the new file.
    pub kept: u64,
    /// Of these, rows that came from the commit before the last one.
    pub from_older_commit: u64,
    /// Of these, rows that were found on pages that no commit reaches any more.
    pub from_free_pages: u64,
    /// Of the rows from elsewhere, those whose key the damaged page has: they are what it had. The others may
    /// have been removed before.
    pub restored: u64,
    /// Rows of damaged pages that were not found anywhere: at most, since not every key can be read.
    pub lost: u64,
}

/// Counts that were changed so that the sums hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TallyRepair {
    /// The incarnation.
    pub incarnation: u32,
    /// Events that are lost: counted as discarded.
    pub discarded: u64,
    /// Events that are pending beyond what the counts say: counted as recorded.
    pub recorded: u64,
}

/// What a repair did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairReport {
    /// The file.
    pub file: PathBuf,
    /// How.
    pub remedy: Remedy,
    /// Where the damaged file is now; `None` if nothing was changed.
    pub damaged_file: Option<PathBuf>,
    /// What was wrong: the first 100.
    pub damages: Vec<Damage>,
    /// How many there are beyond those.
    pub more_damages: u64,
    /// Tables in order of their names; none if rows did not have to be copied.
    pub tables: Vec<TableRepair>,
    /// Events that may be sent again, since they may have been settled before. Those that the last commit settled are not
    /// among them, if it is not known what it had.
    pub possibly_repeated: u64,
    /// Events of free pages that were left out, since they are provably settled.
    pub settled_before: u64,
    /// Counts that were changed.
    pub tallies: Vec<TallyRepair>,
    /// Whether it is known how many events are lost; see [`RepairReport::lost_events`].
    #[serde(skip)]
    pub is_loss_known: bool,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

impl RepairReport {
    /// Events that are lost, at most; see [`RepairReport::not_found_events`]. `None` when the last commit itself is gone, so
    /// that nobody knows what it had.
    #[must_use]
    pub fn lost_events(&self) -> Option<u64> {
        self.is_loss_known.then(|| self.not_found_events())
    }

    /// Events that are known of and were not found, at most, since not every key can be read: recorded ones, and the closing
    /// event of each connection whose record is gone, as nobody knows any more that it was open.
    #[must_use]
    pub fn not_found_events(&self) -> u64 {
        let lost_of = |name: &str| {
            let table = self.tables.iter().find(|table| table.table == name);
            table.map_or(0, |table| table.lost)
        };
        let discarded = self.tallies.iter().map(|tally| tally.discarded).sum();
        lost_of("events").max(discarded) + lost_of("open_channels")
    }
}
