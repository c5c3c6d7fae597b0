//! A damaged file is told from a sound one, nothing is lost that is not provably damaged, and no damage ends a repair in a panic.

mod bench;
mod flushed;
mod format;
mod meta;

use std::fs;

use redb::Database;

use self::bench::{
    CHANNELS, LEFT, RULE, Random, SETTLED, assert_told, contents, copy, copy_marked, last_root,
    missing, open, overwrite, start, turn_bit, written,
};
use super::*;
use crate::database::{NUMBERS, SCHEMA_NUMBER};
use crate::outbox::tables::TALLIES;

#[test]
fn a_sound_file_is_left_as_it_is() {
    let written = written();
    for path in [&written.killed, &written.stopped] {
        let before = fs::read(path).unwrap();
        let report = check(path, StoreFile::Outbox).unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(report.schema, Some(OUTBOX_SCHEMA));
        assert_eq!(report.is_closed, path == &written.stopped);
        let events = report
            .tables
            .iter()
            .find(|table| table.table == "events")
            .unwrap();
        let pending = u64::from(CHANNELS + 1 + 2 * LEFT) - u64::try_from(SETTLED).unwrap();
        assert_eq!(events.rows, pending);
        let repaired = repair(path, StoreFile::Outbox).unwrap();
        assert_eq!(
            (repaired.remedy, repaired.damaged_file),
            (Remedy::None, None)
        );
        assert_eq!(fs::read(path).unwrap(), before);
        assert_eq!(damage_at_start(path, u64::MAX), None);
    }
}

#[test]
fn any_single_wrong_bit_is_found_and_turned_back() {
    let written = written();
    let mut random = Random(5);
    let mut mended = 0;
    for sound in [&written.killed, &written.stopped] {
        let truth = contents(sound);
        let bytes = fs::metadata(sound).unwrap().len();
        for round in 0..100 {
            // Half of them in the first pages, where headers and roots are.
            let limit = if round % 2 == 0 {
                bytes
            } else {
                bytes.min(64 << 10)
            };
            let (byte, bit) = (random.below(limit), u8::try_from(random.below(8)).unwrap());
            let path = copy(sound, "flipped.redb");
            turn_bit(&path, byte, bit);
            let context = format!("byte {byte} bit {bit} of {}", sound.display());
            let report = check(&path, StoreFile::Outbox).unwrap();
            assert!(report.is_mendable(), "{context}: {report:?}");
            let repaired = repair(&path, StoreFile::Outbox).unwrap();
            if report.is_sound() {
                assert_eq!(repaired.remedy, Remedy::None, "{context}");
                assert_eq!(damage_at_start(&path, u64::MAX), None, "{context}");
            } else {
                mended += 1;
                assert_eq!(repaired.remedy, Remedy::Mended, "{context}: {repaired:?}");
                fs::remove_file(repaired.damaged_file.unwrap()).unwrap();
            }
            assert_eq!(contents(&path), truth, "{context}");
        }
    }
    assert!(mended > 20, "only {mended} of 200 bits were in use");
}

/// The engine by itself would go back to an older commit for some of these bits.
#[test]
fn a_bit_of_the_header_is_refused_at_the_start_or_changes_nothing() {
    let written = written();
    for sound in [&written.killed, &written.stopped] {
        let truth = contents(sound);
        let god_byte = (0..8).map(|bit| (9, bit));
        let others = (0..320 * 8_u16).step_by(11);
        let others = others.map(|bit| (u64::from(bit / 8), u8::try_from(bit % 8).unwrap()));
        for (byte, bit) in god_byte.chain(others) {
            let path = copy(sound, "flipped.redb");
            turn_bit(&path, byte, bit);
            let context = format!("byte {byte} bit {bit} of {}", sound.display());
            if damage_at_start(&path, u64::MAX).is_some() {
                let report = repair(&path, StoreFile::Outbox).unwrap();
                assert_eq!(report.remedy, Remedy::Mended, "{context}");
            }
            assert_eq!(contents(&path), truth, "{context}");
        }
    }
}

#[test]
fn a_start_tells_a_wrong_bit_from_a_torn_commit() {
    let written = written();
    let mut random = Random(7);
    let bytes = fs::metadata(&written.killed).unwrap().len();
    for _ in 0..50 {
        let path = copy(&written.killed, "flipped.redb");
        turn_bit(&path, random.below(bytes), 3);
        let is_sound = check(&path, StoreFile::Outbox).unwrap().is_sound();
        assert_eq!(damage_at_start(&path, u64::MAX).is_none(), is_sound);
    }
}

/// At most; they are of about the same size.
const EVENTS_OF_A_PAGE: u64 = 40;
/// The first byte of a branch.
const BRANCH: u8 = 2;

/// Whatever is not on the damaged page is there afterwards, and what is lost is counted.
#[test]
fn a_page_that_lost_many_bytes_costs_its_own_rows_only() {
    let written = written();
    let truth = contents(&written.killed);
    let whole = fs::read(&written.killed).unwrap();
    let pages = u64::try_from(whole.len()).unwrap() / 4096;
    let root = last_root(&written.killed);
    let mut random = Random(11);
    let mut salvaged = 0;
    for _ in 0..400 {
        if salvaged == 20 {
            break;
        }
        let path = copy(&written.killed, "trashed.redb");
        let page = random.below(pages);
        let trash: Vec<u8> = (0..200)
            .map(|_| u8::try_from(random.below(256)).unwrap())
            .collect();
        overwrite(&path, page * 4096 + random.below(3800), &trash);
        let before = fs::read(&path).unwrap();
        let report = repair(&path, StoreFile::Outbox).unwrap();
        let context = format!("page {page}: {report:?}");
        if report.remedy == Remedy::None {
            assert_eq!(contents(&path), truth, "{context}");
            continue;
        }
        salvaged += 1;
        assert_eq!(
            fs::read(report.damaged_file.as_ref().unwrap()).unwrap(),
            before
        );
        let found = contents(&path);
        let lost = missing(&truth, &found);
        assert!(lost <= EVENTS_OF_A_PAGE, "{lost} lost: {context}");
        let has_root = page * 4096 != root;
        assert_told(&report, lost, has_root, &context);
        let channels = report.tables.iter().find(|it| it.table == "open_channels");
        let channels = channels.map_or(0, |table| table.lost);
        // An upper bound: a key that cannot be read may be one that was found elsewhere. On a branch, so is each key of
        // the children whose entries are gone.
        let is_branch = whole[usize::try_from(page * 4096).unwrap()] == BRANCH;
        assert!(
            is_branch
                || report.lost_events().unwrap_or(channels) - channels <= EVENTS_OF_A_PAGE
                    && channels <= 64,
            "more than a page has: {context}"
        );
        assert!(
            missing(&found, &truth) <= report.possibly_repeated,
            "{context}"
        );
        assert_eq!(found.slot_maps, truth.slot_maps, "{context}");
        let (pending, closed) = start(&path);
        let kept = u64::try_from(found.events.len()).unwrap();
        assert_eq!(pending, kept + closed, "{context}");
        assert_eq!(closed, u64::try_from(found.open_channels.len()).unwrap());
        fs::remove_file(report.damaged_file.unwrap()).unwrap();
    }
    assert_eq!(salvaged, 20, "too few pages were in use");
}

#[test]
fn a_file_without_its_header_is_rebuilt_from_its_pages() {
    let written = written();
    for path in [&written.killed, &written.stopped] {
        let truth = contents(path);
        overwrite(path, 0, &[0; 4096]);
        assert!(!check(path, StoreFile::Outbox).unwrap().is_sound());
        let report = repair(path, StoreFile::Outbox).unwrap();
        assert_eq!(report.remedy, Remedy::Salvaged);
        let found = contents(path);
        assert!(
            truth
                .events
                .keys()
                .all(|key| found.events.contains_key(key))
        );
        assert_eq!(found.open_channels.len(), truth.open_channels.len());
        start(path);
    }
}

/// The children of a broken branch prove themselves by the checksums that are left.
#[test]
fn a_broken_root_of_the_events_costs_one_child_at_most() {
    let written = written();
    let truth = contents(&written.killed);
    let image = Image::open(&written.killed, true).unwrap().unwrap();
    let tables = walk::tables(&image, image.header.newest.unwrap()).unwrap();
    let events = tables
        .user
        .iter()
        .find(|entry| entry.name == "events")
        .unwrap();
    let root = Image::offset(events.root.unwrap().page);
    drop(image);
    // The checksums of the children are at the begin of a branch: this is the first.
    let found = fs::read(&written.killed).unwrap();
    let at = usize::try_from(root).unwrap();
    assert_eq!(found[at], BRANCH, "the root is no branch");
    overwrite(&written.killed, root + 4, &[0x55; 4]);
    overwrite(&written.killed, root + 8, &[0xaa; 16]);
    let report = repair(&written.killed, StoreFile::Outbox).unwrap();
    assert_eq!(report.remedy, Remedy::Salvaged);
    let kept = contents(&written.killed);
    let lost = missing(&truth, &kept);
    assert!(lost <= 30, "{lost} events, one leaf has fewer: {report:?}");
    start(&written.killed);
}

#[test]
fn a_file_that_was_cut_keeps_what_is_left() {
    let written = written();
    let truth = contents(&written.killed);
    let whole = fs::read(&written.killed).unwrap();
    let root = last_root(&written.killed);
    let before_root = usize::try_from(root).unwrap();
    let parts = [(99, 100), (3, 4), (1, 2), (1, 5)];
    let parts = parts.map(|(part, of)| whole.len() * part / of);
    for left in parts.into_iter().chain([before_root]) {
        let path = written.folder.path().join("cut.redb");
        fs::write(&path, &whole[..left]).unwrap();
        let report = repair(&path, StoreFile::Outbox).unwrap();
        let found = contents(&path);
        let has_root = root + 4096 <= u64::try_from(left).unwrap();
        let lost = missing(&truth, &found);
        assert_told(&report, lost, has_root, &format!("{left} bytes"));
        assert_eq!(report.lost_events().is_some(), has_root, "{report:?}");
        assert!(has_root || !report.notes.is_empty());
        start(&path);
    }
}

/// Its pages are there: all that is missing is the way to them.
#[test]
fn what_the_last_commit_added_is_found_without_its_root() {
    let written = written();
    let truth = contents(&written.killed);
    let root = last_root(&written.killed);
    for damage in [&[0_u8; 4096][..], &[0; 512], &[0xff; 1]] {
        let path = copy_marked(&written.killed, "rootless.redb");
        overwrite(&path, root, damage);
        assert!(damage_at_start(&path, u64::MAX).is_some());
        let report = repair(&path, StoreFile::Outbox).unwrap();
        let found = contents(&path);
        assert_eq!(missing(&truth, &found), 0, "{report:?}");
        let channels: Vec<_> = found.open_channels.keys().collect();
        assert!(truth.open_channels.keys().eq(channels), "{report:?}");
        assert_eq!(report.lost_events(), None);
        assert!(
            report
                .notes
                .iter()
                .any(|note| note.contains("is not known")),
            "{report:?}"
        );
        start(&path);
    }
}

#[test]
fn what_is_not_ours_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    for foreign in [
        vec![0; 100_000],
        b"not ours".repeat(3000),
        vec![0xa5; 4096],
        vec![7; 10],
        Vec::new(),
    ] {
        fs::write(&path, &foreign).unwrap();
        assert!(!check(&path, StoreFile::Outbox).unwrap().is_sound());
        let error = repair(&path, StoreFile::Outbox).unwrap_err();
        assert!(
            matches!(error, RepairStoreError::NothingFound { .. }),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), foreign);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let missing = check(&folder.path().join("none"), StoreFile::Outbox).unwrap_err();
    assert!(
        missing.to_string().contains("none cannot be read"),
        "{missing}"
    );
}

#[test]
fn a_newer_schema_is_refused() {
    let written = written();
    set_number(&written.stopped, SCHEMA_NUMBER, OUTBOX_SCHEMA + 1);
    let report = check(&written.stopped, StoreFile::Outbox).unwrap();
    assert!(
        report.notes.iter().any(|note| note.contains("newer")),
        "{report:?}"
    );
    let error = repair(&written.stopped, StoreFile::Outbox).unwrap_err();
    assert!(
        matches!(error, RepairStoreError::NewerSchema { .. }),
        "{error}"
    );
}

fn set_number(path: &Path, name: &str, number: u64) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(NUMBERS)
        .unwrap()
        .insert(name, number)
        .unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_file_in_use_is_refused() {
    let written = written();
    let outbox = open(&written.stopped);
    let error = check(&written.stopped, StoreFile::Outbox).unwrap_err();
    assert!(matches!(error, CheckStoreError::InUse { .. }), "{error}");
    let error = repair(&written.stopped, StoreFile::Outbox).unwrap_err();
    assert!(
        error.to_string().contains("is in use by another process"),
        "{error}"
    );
    outbox.close();
    assert!(
        check(&written.stopped, StoreFile::Outbox)
            .unwrap()
            .is_sound()
    );
}

#[test]
fn counts_that_do_not_fit_are_told_and_made_to_fit() {
    let written = written();
    let path = &written.stopped;
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(TALLIES)
        .unwrap()
        .insert(RULE.0, (5000, 0, 400, 0, 0, 0, 0))
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let report = check(path, StoreFile::Outbox).unwrap();
    assert_eq!(report.tallies[0].counted, 4600);
    assert!(!report.is_sound());
    let repaired = repair(path, StoreFile::Outbox).unwrap();
    assert_eq!(
        repaired.tallies[0].discarded,
        4600 - report.tallies[0].found
    );
    assert!(check(path, StoreFile::Outbox).unwrap().is_sound());
    start(path);
}

#[test]
fn an_unfinished_repair_is_told_and_done_again() {
    let written = written();
    let path = &written.killed;
    let bytes = fs::read(path).unwrap();
    let in_use = (4096..bytes.len()).find(|byte| {
        let flipped = copy(path, "flipped.redb");
        turn_bit(&flipped, u64::try_from(*byte).unwrap(), 0);
        !check(&flipped, StoreFile::Outbox).unwrap().is_sound()
    });
    turn_bit(path, u64::try_from(in_use.unwrap()).unwrap(), 0);
    fs::write(swap::new_file(path), b"half").unwrap();
    let report = check(path, StoreFile::Outbox).unwrap();
    assert!(report.notes[0].contains("did not end"), "{report:?}");
    assert_eq!(
        repair(path, StoreFile::Outbox).unwrap().remedy,
        Remedy::Mended
    );
    assert!(!swap::new_file(path).exists());
}
