//! The end of a salvage: counts that fit the rows, and numbers that never go back.

use std::collections::BTreeMap;

use domain::{IncarnationId, Slot};

use super::Salvage;
use super::copied::Copied;
use crate::database::SCHEMA_NUMBER;
use crate::outbox::tables::{
    COMMIT, DEAD_LETTER_BYTES, DEAD_LETTER_COUNT, DEAD_LETTER_NEXT, SCHEMA, SEQUENCE, TIME_MS,
    TallyRow,
};
use crate::outbox::tally::Tally;
use crate::repair::RepairStoreError;
use crate::repair::page::read_u64;
use crate::repair::report::{RepairReport, TableRepair, TallyRepair};
use crate::repair::sink::Ending;

impl Salvage {
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        read_u64(self.small.get("numbers")?.get(name.as_bytes())?, 0)
    }

    /// Writes the rest, closes the file and completes the report.
    pub(super) fn finish(self, report: &mut RepairReport) -> Result<(), RepairStoreError> {
        let mut tallies = self.stored_tallies("tallies");
        for (incarnation, _) in self.slots.keys() {
            tallies.entry(*incarnation).or_default();
        }
        for (incarnation, tally) in &mut tallies {
            let before = *tally;
            // What may have been settled counts as recorded again, what is gone as discarded.
            let certain = self.certain.get(incarnation).copied().unwrap_or(0);
            tally.discarded += tally.pending().saturating_sub(certain);
            tally.reconcile(self.pending(*incarnation));
            if *tally != before {
                report.tallies.push(TallyRepair {
                    incarnation: *incarnation,
                    discarded: tally.discarded - before.discarded,
                    recorded: tally.recorded - before.recorded,
                });
            }
        }
        report.settled_before = self.settled_before;
        report.tables = self
            .tables
            .iter()
            .map(|(name, table)| table.report(name))
            .collect();
        let of_events = |table: &&TableRepair| table.table == "events";
        report.possibly_repeated = report.tables.iter().find(of_events).map_or(0, |table| {
            table.from_older_commit + table.from_free_pages - table.restored
        });
        if !self.small_lost.is_empty() {
            let names: Vec<&str> = self.small_lost.iter().map(String::as_str).collect();
            report.notes.push(format!(
                "not whole in any commit, so filled with what was found: {}",
                names.join(", ")
            ));
        }
        let end = self.ending(&tallies);
        self.sink.finish(&end)
    }

    fn pending(&self, incarnation: u32) -> u64 {
        let of_incarnation = self.slots.range((incarnation, 0)..=(incarnation, u8::MAX));
        of_incarnation.map(|(_, sums)| sums.events).sum()
    }

    fn stored_tallies(&self, table: &str) -> BTreeMap<u32, Tally> {
        let rows = self.small.get(table).into_iter().flatten();
        rows.filter_map(|(key, value)| {
            let key = key
                .first_chunk::<4>()
                .map_or(0, |key| u32::from_le_bytes(*key));
            Some((key, Tally::from_row(tally_row(value)?)))
        })
        .collect()
    }

    fn ending(&self, tallies: &BTreeMap<u32, Tally>) -> Ending {
        let schema = self.number(SCHEMA_NUMBER).unwrap_or(SCHEMA);
        let number = |name: &str| self.number(name).unwrap_or(0);
        let mut numbers = vec![
            (SCHEMA_NUMBER.to_owned(), schema),
            (COMMIT.to_owned(), number(COMMIT)),
            (SEQUENCE.to_owned(), number(SEQUENCE).max(self.position)),
            (TIME_MS.to_owned(), number(TIME_MS).max(self.time_ms)),
        ];
        let mut slots = Vec::new();
        // Older tables get theirs when they are opened.
        if schema >= SCHEMA {
            let next = number(DEAD_LETTER_NEXT).max(self.dead_letter.map_or(0, |last| last + 1));
            let count = self.tables.get("dead_letters").map_or(0, Copied::total);
            numbers.push((DEAD_LETTER_NEXT.to_owned(), next));
            numbers.push((DEAD_LETTER_COUNT.to_owned(), count));
            numbers.push((DEAD_LETTER_BYTES.to_owned(), self.dead_letter_bytes));
            slots.extend(self.slots.iter().map(|((incarnation, slot), sums)| {
                let row = sums.row(IncarnationId(*incarnation), Slot(*slot));
                ((*incarnation, *slot), row)
            }));
        }
        Ending {
            is_current: schema >= SCHEMA,
            tallies: tallies
                .iter()
                .map(|(incarnation, tally)| (*incarnation, tally.row()))
                .collect(),
            forgotten: self
                .stored_tallies("forgotten")
                .values()
                .next()
                .map(Tally::row),
            slots,
            numbers,
        }
    }
}

fn tally_row(value: &[u8]) -> Option<TallyRow> {
    let number = |index: usize| read_u64(value, index * 8);
    Some((
        number(0)?,
        number(1)?,
        number(2)?,
        number(3)?,
        number(4)?,
        number(5)?,
        number(6)?,
    ))
}
