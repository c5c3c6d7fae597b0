//! Everything that is wrong in a file, and how many rows are not: both trees of the commit that a start would use.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::header::{Patch, Slot};
use super::image::Image;
use super::page::{Row, read_u32, read_u64};
use super::report::{DAMAGES_MAX, Damage, TableCheck, TallyMismatch};
use super::walk::{self, KeyRange, PageDamage, TableEntry, Visitor};
use crate::database::SCHEMA_NUMBER;
use crate::record::{EventKey, unseal};

/// How the key of a table's row and the seal of its record fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// (incarnation, slot, position).
    Event,
    /// A number alone.
    Number,
    /// An incarnation alone.
    Incarnation,
    /// The page's checksum is all there is.
    None,
}

impl Seal {
    /// That of a table of `outbox.redb`.
    pub(super) fn of(table: &str) -> Self {
        match table {
            "events" => Self::Event,
            "open_channels" | "dead_letters" => Self::Number,
            "slot_maps" => Self::Incarnation,
            _ => Self::None,
        }
    }

    /// The key as it was sealed; `None` if it has another form.
    pub(super) fn key(self, key: &[u8]) -> Option<EventKey> {
        match (self, key.len()) {
            (Self::Event, 13) => Some((read_u32(key, 0)?, *key.get(4)?, read_u64(key, 5)?)),
            (Self::Number, 8) => Some((0, 0, read_u64(key, 0)?)),
            (Self::Incarnation, 4) => Some((read_u32(key, 0)?, 0, 0)),
            _ => None,
        }
    }

    /// Whether the row is what was written. Always, if it is not sealed.
    pub(super) fn holds(self, (key, value): Row<'_>) -> bool {
        self == Self::None || self.key(key).is_some_and(|key| unseal(key, value).is_ok())
    }
}

/// What a survey found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) damages: Vec<Damage>,
    pub(super) more_damages: u64,
    /// What makes the file whole, if all damages are mendable.
    pub(super) patches: Vec<Patch>,
    pub(super) is_mendable: bool,
    /// It is of the commit before the last one, which was not finished.
    pub(super) leaves_out_last: bool,
    pub(super) tables: Vec<TableCheck>,
    pub(super) numbers: BTreeMap<String, u64>,
    /// Counts of each incarnation, as stored.
    tallies: BTreeMap<u32, Vec<u64>>,
    /// Pending events of each slot: as stored, and in the file.
    slots: BTreeMap<(u32, u8), u64>,
    pending: BTreeMap<(u32, u8), u64>,
}

impl Survey {
    /// Reads everything that the last commit reaches.
    pub(super) fn of(image: &Image) -> io::Result<Self> {
        let mut survey = match image.header.newest {
            Some(slot) => Self::of_slot(image, slot)?,
            None => Self::default(),
        };
        survey.header(image);
        Ok(survey)
    }

    /// Only the first page.
    pub(super) fn of_header(image: &Image) -> Self {
        let mut survey = Self {
            is_mendable: true,
            ..Self::default()
        };
        survey.header(image);
        survey
    }

    /// The same of one commit, without the header.
    pub(super) fn of_slot(image: &Image, slot: Slot) -> io::Result<Self> {
        let mut survey = Self {
            is_mendable: true,
            ..Self::default()
        };
        let commit = walk::tables(image, slot)?;
        for damage in &commit.damages {
            survey.page(None, damage);
        }
        for entry in &commit.user {
            let check = survey.table(image, entry, true)?;
            survey.tables.push(check);
        }
        for entry in &commit.system {
            survey.table(image, entry, false)?;
        }
        survey.tables.sort_by(|a, b| a.table.cmp(&b.table));
        Ok(survey)
    }

    fn header(&mut self, image: &Image) {
        for damage in &image.header.damages {
            self.is_mendable &= !damage.patches.is_empty();
            self.patches.extend(&damage.patches);
            self.add(Damage {
                offset: u64::try_from(damage.offset).ok(),
                table: None,
                detail: damage.detail.clone(),
                is_mendable: !damage.patches.is_empty(),
            });
        }
    }

    fn add(&mut self, damage: Damage) {
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        } else {
            self.more_damages += 1;
        }
    }

    fn page(&mut self, table: Option<&str>, damage: &PageDamage) {
        self.is_mendable &= damage.patch.is_some();
        self.patches.extend(damage.patch);
        let bytes = damage.page.bytes();
        let detail = match damage.patch {
            Some(patch) => format!("one bit of byte {} is wrong", patch.offset),
            None if damage.is_missing => {
                format!("a page of {bytes} bytes is behind the end of the file")
            }
            None => format!("a page of {bytes} bytes does not fit its checksum"),
        };
        self.add(Damage {
            offset: Some(Image::offset(damage.page)),
            table: table.map(ToOwned::to_owned),
            detail,
            is_mendable: damage.patch.is_some(),
        });
    }

    fn table(
        &mut self,
        image: &Image,
        entry: &TableEntry,
        is_ours: bool,
    ) -> io::Result<TableCheck> {
        let check = TableCheck {
            table: entry.name.clone(),
            ..TableCheck::default()
        };
        let Some(root) = entry.root else {
            return Ok(check);
        };
        let seal = if is_ours {
            Seal::of(&entry.name)
        } else {
            Seal::None
        };
        let mut rows = Rows {
            survey: self,
            check,
            seal,
            is_ours,
        };
        walk::walk(image, root, entry.widths, &mut rows)?;
        let mut check = rows.check;
        if is_ours {
            check.missing_rows = entry.rows.saturating_sub(check.rows + check.damaged_rows);
        }
        Ok(check)
    }

    /// Incarnations whose counts do not fit; none if rows are missing, since then they cannot.
    pub(super) fn mismatches(&self) -> Vec<TallyMismatch> {
        let of_events = self.pending.keys().map(|(incarnation, _)| *incarnation);
        let incarnations: BTreeSet<u32> = self.tallies.keys().copied().chain(of_events).collect();
        incarnations
            .into_iter()
            .map(|incarnation| TallyMismatch {
                incarnation,
                counted: self
                    .tallies
                    .get(&incarnation)
                    .map_or(0, |tally| pending(tally)),
                found: self
                    .pending
                    .range((incarnation, 0)..=(incarnation, u8::MAX))
                    .fold(0, |total, (_, events)| total + events),
            })
            .filter(|mismatch| mismatch.counted != mismatch.found)
            .collect()
    }

    /// Slots whose stored sum is not what the file has: (incarnation, slot), stored, found.
    pub(super) fn wrong_slots(&self) -> Vec<((u32, u8), u64, u64)> {
        if !self.tables.iter().any(|check| check.table == "slots") {
            return Vec::new();
        }
        let slots: BTreeSet<(u32, u8)> = self
            .slots
            .keys()
            .chain(self.pending.keys())
            .copied()
            .collect();
        let of = |sums: &BTreeMap<(u32, u8), u64>, slot: (u32, u8)| {
            sums.get(&slot).copied().unwrap_or(0)
        };
        slots
            .into_iter()
            .map(|slot| (slot, of(&self.slots, slot), of(&self.pending, slot)))
            .filter(|(_, stored, found)| stored != found)
            .collect()
    }

    /// Version of the tables; `None` if it is not known.
    pub(super) fn schema(&self) -> Option<u64> {
        self.numbers.get(SCHEMA_NUMBER).copied()
    }
}

/// Entered less left, of a row of the tallies.
fn pending(tally: &[u64]) -> u64 {
    let sum = |total: u64, count: &u64| total.saturating_add(*count);
    let entered = tally.iter().take(2).fold(0, sum);
    let left = tally.iter().skip(2).take(5).fold(0, sum);
    entered.saturating_sub(left)
}

struct Rows<'a> {
    survey: &'a mut Survey,
    check: TableCheck,
    seal: Seal,
    is_ours: bool,
}

impl Rows<'_> {
    fn note(&mut self, (key, value): Row<'_>) {
        match self.check.table.as_str() {
            "events" => {
                if let Some((incarnation, slot, _)) = self.seal.key(key) {
                    let slot = self.survey.pending.entry((incarnation, slot));
                    *slot.or_insert(0) += 1;
                }
            }
            "tallies" => {
                let (words, _) = value.as_chunks::<8>();
                let words = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
                if let Some(incarnation) = read_u32(key, 0) {
                    self.survey.tallies.insert(incarnation, words);
                }
            }
            "slots" => {
                if let (Some(incarnation), Some(slot), Some(events)) =
                    (read_u32(key, 0), key.get(4), read_u64(value, 0))
                {
                    self.survey.slots.insert((incarnation, *slot), events);
                }
            }
            "numbers" => {
                let name = String::from_utf8_lossy(key).into_owned();
                if let Some(number) = read_u64(value, 0) {
                    self.survey.numbers.insert(name, number);
                }
            }
            _ => {}
        }
    }
}

impl Visitor for Rows<'_> {
    fn row(&mut self, row: Row<'_>) {
        if !self.is_ours {
            return;
        }
        if self.seal.holds(row) {
            self.check.rows += 1;
            self.note(row);
        } else {
            self.check.damaged_rows += 1;
        }
    }

    fn doubtful_row(&mut self, row: Row<'_>) {
        if self.seal != Seal::None && self.seal.holds(row) {
            self.row(row);
        }
    }

    fn damage(&mut self, damage: PageDamage) {
        let table = self.check.table.clone();
        self.survey.page(Some(&table), &damage);
    }

    fn lost(&mut self, _range: KeyRange) {}
}
