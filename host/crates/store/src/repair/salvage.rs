//! Copies what is provably ours out of a damaged `outbox.redb` into a new one, and makes the sums hold again.
//!
//! Rows come, in this order, from pages that the last commit reaches, from the commit before it, and
//! from free pages; the latter two only for ranges of keys whose page is damaged. Such a row may have
//! been settled: then it is sent again, which at least once allows, unless it is provably old. Where the last commit itself
//! is gone, what it added is looked for on free pages, and how much of it is lost cannot be known.

mod copied;
mod ending;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use self::copied::Copied;
use super::header::Slot;
use super::image::Image;
use super::page::{Row, read_u64};
use super::report::RepairReport;
use super::scan::{self, Found};
use super::sink::Sink;
use super::survey::Seal;
use super::walk::{self, Commit, KeyRange, PageDamage, TableEntry, Visitor};
use super::{CheckStoreError, RepairStoreError};
use crate::database::SCHEMA_NUMBER;
use crate::outbox::batch::row_bytes;
use crate::outbox::slot_sums::SlotSums;
use crate::outbox::tables::{DEAD_LETTER_NEXT, SEQUENCE};
use crate::record::{EventKey, event_time_ms};

/// Tables whose rows are copied one by one; the rest is small and kept in memory.
const SEALED: [&str; 4] = ["dead_letters", "events", "open_channels", "slot_maps"];

/// Builds `new` from the rows of `image`.
pub(super) fn salvage(
    image: &Image,
    new: &Path,
    report: &mut RepairReport,
) -> Result<(), RepairStoreError> {
    let result = build(image, new, report);
    if result.is_err() {
        // The reason is what is told.
        drop(super::swap::clear(new));
    }
    result
}

fn build(image: &Image, new: &Path, report: &mut RepairReport) -> Result<(), RepairStoreError> {
    let mut salvage = Salvage::new(Sink::create(new)?);
    let unreadable = |source: io::Error| CheckStoreError::Read {
        path: report.file.clone(),
        source,
    };
    let Roots { slots, doubt } = Roots::find(image).map_err(unreadable)?;
    let mut roots = slots.into_iter();
    let newest = match roots.next() {
        Some(slot) => Some(walk::tables(image, slot).map_err(unreadable)?),
        None => None,
    };
    salvage.keep(image, newest.as_ref()).map_err(unreadable)?;
    if let Some(doubt) = doubt {
        salvage.miss_later();
        report.is_loss_known = false;
        report.notes.push(doubt.to_owned());
    }
    salvage.end_pass()?;
    for slot in roots {
        if salvage.is_complete() {
            break;
        }
        let older = walk::tables(image, slot).map_err(unreadable)?;
        salvage.fill(image, &older).map_err(unreadable)?;
        salvage.end_pass()?;
    }
    if !salvage.is_complete() {
        salvage.search(image).map_err(unreadable)?;
        salvage.end_pass()?;
    }
    if salvage.is_empty() {
        return Err(RepairStoreError::NothingFound {
            path: report.file.clone(),
        });
    }
    salvage.finish(report)
}

/// The commits that rows can come from.
struct Roots {
    /// Newest first.
    slots: Vec<Slot>,
    /// What is not known because the first of them may not be the last commit of the file; `None` if it is.
    doubt: Option<&'static str>,
}

const LAST_IS_GONE: &str = "how many events are lost is not known: the page or the entry of the last commit is damaged, and what it \
    had was looked for on all other pages. One commit has 4,096 events at most, besides the closing events of connections that it \
    opened; clients whose queues it changed may be seen out of order once. Compare with what the consumers have, and keep the \
    damaged file";
const LAST_IS_UNSURE: &str = "how many events are lost is not known: of the entries of the last two commits one is damaged, and the \
    file that ends in .flushed is missing or does not name the other, so nothing tells whether it was the last. If there is a copy \
    with this file, repair that; else compare with what the consumers have, and keep the damaged file";
const ALL_ARE_GONE: &str = "how many events are lost is not known: the entries or the pages of both of the last two commits are \
    damaged, so what they had was looked for on all pages. Compare with what the consumers have, and keep the damaged file";

impl Roots {
    fn find(image: &Image) -> io::Result<Self> {
        let header = &image.header;
        let (mut whole, mut broken) = (Vec::new(), Vec::new());
        // The number of the newest whole commit.
        let mut last = None;
        let mut is_newest_whole = false;
        for (slot, is_newest) in [(header.newest, true), (header.other, false)] {
            let Some(slot) = slot else { continue };
            let commit = walk::tables(image, slot)?;
            if commit.is_user_lost || commit.user.is_empty() {
                broken.push(slot);
                continue;
            }
            is_newest_whole |= is_newest;
            last = last.max(scan::commit_of(image, &commit.user));
            whole.push(slot);
        }
        if is_newest_whole && header.is_last_known() {
            whole.extend(broken);
            return Ok(Self {
                slots: whole,
                doubt: None,
            });
        }
        // Their pages are there although no slot leads to them, or to a damaged one. The number of the commit decides.
        let found = scan::roots(image)?;
        let is_newer = |commit: u64| whole.is_empty() || last.is_some_and(|last| commit > last);
        let (newer, older): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(commit, _)| is_newer(*commit));
        let doubt = match (is_newest_whole, header.is_last_lost) {
            // There are never more than two commits: what is newer than the one before the last is the last.
            (true, true) if !newer.is_empty() => None,
            (true, false) => Some(LAST_IS_UNSURE),
            _ if whole.is_empty() => Some(ALL_ARE_GONE),
            _ => Some(LAST_IS_GONE),
        };
        let of = |found: Vec<(u64, Slot)>| found.into_iter().map(|(_, slot)| slot);
        let mut slots: Vec<Slot> = of(newer).take(OLDER_ROOTS_MAX).collect();
        slots.extend(
            whole
                .into_iter()
                .chain(of(older).take(OLDER_ROOTS_MAX))
                .chain(broken),
        );
        Ok(Self { slots, doubt })
    }
}

/// Commits without a slot that are looked through.
const OLDER_ROOTS_MAX: usize = 3;

/// Where rows come from now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Newest,
    Older,
    FreePages,
}

struct Salvage {
    sink: Sink,
    source: Source,
    tables: BTreeMap<&'static str, Copied>,
    /// Rows of the other tables, by table and key; the first that came.
    small: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Tables of `small` that are not complete.
    small_lost: BTreeSet<String>,
    /// Keys that this pass has put, unless it is the first: a row may come more than once.
    put: BTreeSet<(&'static str, EventKey)>,
    slots: BTreeMap<(u32, u8), SlotSums>,
    /// Events of each incarnation that are pending for certain.
    certain: BTreeMap<u32, u64>,
    dead_letter_bytes: u64,
    /// The largest position, time and number of a dead letter that was seen.
    position: u64,
    time_ms: u64,
    dead_letter: Option<u64>,
    settled_before: u64,
    /// The visitor cannot return it.
    failure: Option<RepairStoreError>,
}

impl Salvage {
    fn new(sink: Sink) -> Self {
        let tables = SEALED.into_iter().map(|name| (name, Copied::default()));
        Self {
            sink,
            source: Source::Newest,
            tables: tables.collect(),
            small: BTreeMap::new(),
            small_lost: BTreeSet::new(),
            put: BTreeSet::new(),
            slots: BTreeMap::new(),
            certain: BTreeMap::new(),
            dead_letter_bytes: 0,
            position: 0,
            time_ms: 0,
            dead_letter: None,
            settled_before: 0,
            failure: None,
        }
    }

    fn is_complete(&self) -> bool {
        self.small_lost.is_empty() && self.tables.values().all(Copied::is_complete)
    }

    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.tables.values().all(|table| table.total() == 0)
    }

    /// Copies what the newest commit reaches and notes what is missing there.
    fn keep(&mut self, image: &Image, commit: Option<&Commit>) -> io::Result<()> {
        let entries = commit
            .map(|commit| commit.user.as_slice())
            .unwrap_or_default();
        if commit.is_none_or(|commit| commit.is_user_lost) {
            let is_known = |name: &str| entries.iter().any(|entry| entry.name == name);
            for (name, table) in &mut self.tables {
                if !is_known(name) {
                    table.lost.push(KeyRange::default());
                }
            }
            for name in ["numbers", "tallies", "forgotten"] {
                if !is_known(name) {
                    self.small_lost.insert(name.to_owned());
                }
            }
        }
        for entry in entries {
            if let Some(table) = self.tables.get_mut(entry.name.as_str()) {
                table.expected = Some(entry.rows);
            }
            self.walk(image, entry)?;
        }
        Ok(())
    }

    /// What was kept is not of the last commit: what came after it is missing, too.
    fn miss_later(&mut self) {
        let last_letter = self.number(DEAD_LETTER_NEXT);
        let last_letter = last_letter.and_then(|next| next.checked_sub(1));
        let position = self.number(SEQUENCE);
        for (name, last) in [
            ("events", position),
            ("open_channels", position),
            ("dead_letters", last_letter),
        ] {
            let table = self.tables.entry(name).or_default();
            table.later_than = last;
            if last.is_none() {
                table.lost.push(KeyRange::default());
            }
        }
    }

    /// Fills what is missing with rows of an older commit.
    fn fill(&mut self, image: &Image, commit: &Commit) -> io::Result<()> {
        self.source = Source::Older;
        for entry in &commit.user {
            let is_missing = match self.tables.get(entry.name.as_str()) {
                Some(table) => !table.is_complete(),
                None => self.small_lost.contains(&entry.name),
            };
            if is_missing {
                // The walk says so if it is not whole there either.
                self.small_lost.remove(&entry.name);
                self.walk(image, entry)?;
            }
        }
        Ok(())
    }

    /// Fills what is still missing with rows of free pages.
    fn search(&mut self, image: &Image) -> io::Result<()> {
        self.source = Source::FreePages;
        scan::rows(image, |found: Found, row| self.sealed(found.table(), row))
    }

    fn walk(&mut self, image: &Image, entry: &TableEntry) -> io::Result<()> {
        let Some(root) = entry.root else {
            return Ok(());
        };
        // Sums of slots are made anew.
        if entry.name == "slots" {
            return Ok(());
        }
        let name = SEALED.into_iter().find(|name| *name == entry.name);
        let mut rows = Rows {
            salvage: self,
            entry,
            name,
        };
        walk::walk(image, root, entry.widths, &mut rows)
    }

    /// What was put is written, so that the next pass can ask for it.
    fn end_pass(&mut self) -> Result<(), RepairStoreError> {
        self.put.clear();
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.sink.flush(),
        }
    }

    fn sealed(&mut self, name: &'static str, row: Row<'_>) {
        if self.failure.is_none()
            && let Err(failure) = self.take(name, row)
        {
            self.failure = Some(failure);
        }
    }

    fn take(&mut self, name: &'static str, row: Row<'_>) -> Result<(), RepairStoreError> {
        let seal = Seal::of(name);
        let Some(key) = seal.key(row.0).filter(|_| seal.holds(row)) else {
            return Ok(());
        };
        self.observe(name, key, row.1);
        if self.source != Source::Newest {
            let table = self.tables.get(name);
            let is_missing = table.is_some_and(|table| table.misses(seal, key));
            let is_later = table.is_some_and(|table| table.is_later(key));
            if !is_missing || self.put.contains(&(name, key)) || self.sink.has(name, row.0)? {
                return Ok(());
            }
            // What came later may be of an incarnation that is newer than the tallies.
            if !is_later && self.is_settled(name, key) {
                self.settled_before += 1;
                return Ok(());
            }
            self.put.insert((name, key));
        }
        self.sink.put(name, row)?;
        self.account(name, key, row.1);
        Ok(())
    }

    /// Whether its incarnation was forgotten, which settles everything.
    fn is_settled(&self, name: &str, (incarnation, ..): EventKey) -> bool {
        let tallies = self.small.get("tallies");
        name == "events"
            && !self.small_lost.contains("tallies")
            && tallies.is_some_and(|rows| !rows.contains_key(incarnation.to_le_bytes().as_slice()))
    }

    fn observe(&mut self, name: &str, (_, _, number): EventKey, value: &[u8]) {
        match name {
            "events" => {
                self.position = self.position.max(number);
                self.time_ms = self.time_ms.max(event_time_ms(value));
            }
            "open_channels" => self.position = self.position.max(number),
            "dead_letters" => self.dead_letter = self.dead_letter.max(Some(number)),
            _ => {}
        }
    }

    fn account(&mut self, name: &'static str, key: EventKey, value: &[u8]) {
        let (incarnation, slot, _) = key;
        let bytes = u64::from(row_bytes(value));
        match name {
            "events" => self
                .slots
                .entry((incarnation, slot))
                .or_default()
                .add(SlotSums::of(bytes)),
            "dead_letters" => {
                let bytes = u64::try_from(value.len()).unwrap_or(0) + 8;
                self.dead_letter_bytes += bytes;
            }
            _ => {}
        }
        let source = self.source;
        let table = self.tables.entry(name).or_default();
        let is_restored = source != Source::Newest && table.unreadable.contains(&key);
        table.restored += u64::from(is_restored);
        match source {
            Source::Newest => table.kept += 1,
            Source::Older => table.from_older_commit += 1,
            Source::FreePages => table.from_free_pages += 1,
        }
        if name == "events" && (is_restored || source == Source::Newest) {
            *self.certain.entry(incarnation).or_insert(0) += 1;
        }
    }

    fn small_row(&mut self, table: &str, (key, value): Row<'_>) {
        let rows = self.small.entry(table.to_owned()).or_default();
        if table == "numbers" && key != SCHEMA_NUMBER.as_bytes() {
            // Numbers never go back.
            let number = |value: &[u8]| read_u64(value, 0).unwrap_or(0);
            let largest = rows
                .get(key)
                .map_or(0, |known| number(known))
                .max(number(value));
            rows.insert(key.to_vec(), largest.to_le_bytes().to_vec());
        } else {
            rows.entry(key.to_vec()).or_insert_with(|| value.to_vec());
        }
    }
}

/// Rows of one table.
struct Rows<'a> {
    salvage: &'a mut Salvage,
    entry: &'a TableEntry,
    /// If it is sealed.
    name: Option<&'static str>,
}

impl Visitor for Rows<'_> {
    fn row(&mut self, row: Row<'_>) {
        match self.name {
            Some(name) => self.salvage.sealed(name, row),
            None => self.salvage.small_row(&self.entry.name, row),
        }
    }

    fn doubtful_row(&mut self, row: Row<'_>) {
        let Some(name) = self.name else {
            return;
        };
        let seal = Seal::of(name);
        if self.salvage.source == Source::Newest
            && !seal.holds(row)
            && let Some(key) = seal.key(row.0)
        {
            let table = self.salvage.tables.entry(name).or_default();
            table.unreadable.insert(key);
        }
        self.salvage.sealed(name, row);
    }

    fn damage(&mut self, _damage: PageDamage) {}

    fn lost(&mut self, range: KeyRange) {
        match self.name {
            Some(name) if self.salvage.source == Source::Newest => {
                self.salvage
                    .tables
                    .entry(name)
                    .or_default()
                    .lost
                    .push(range);
            }
            Some(_) => {}
            None => {
                self.salvage.small_lost.insert(self.entry.name.clone());
            }
        }
    }
}
