//! A commit that was flushed is not taken for one that was not finished, whatever is damaged of it; and the other way round.

use std::fs;
use std::path::Path;

use super::bench::{
    Random, assert_told, contents, copy, copy_marked, last_root, missing, overwrite, start, written,
};
use crate::database::FlushMark;
use crate::repair::image::Image;
use crate::repair::{Remedy, StoreFile, check, damage_at_start, repair};
use crate::{MetaStore, OpenStoreError};

/// Turns every bit of some bytes, which no repair can guess.
fn turn_bytes(path: &Path, offset: u64, bytes: usize) {
    let mut found = fs::read(path).unwrap();
    let at = usize::try_from(offset).unwrap();
    for byte in found.iter_mut().skip(at).take(bytes) {
        *byte ^= 0xff;
    }
    fs::write(path, found).unwrap();
}

fn numbers(path: &Path) -> (u64, u64) {
    let header = Image::open(path, true).unwrap().unwrap().header;
    let number = |slot: Option<crate::repair::header::Slot>| slot.unwrap().transaction;
    (number(header.newest), number(header.other))
}

#[test]
fn each_flushed_commit_is_noted() {
    let written = written();
    for path in [&written.killed, &written.stopped] {
        assert_eq!(FlushMark::read(path), Some(numbers(path).0));
    }
    // One that is not whole says nothing.
    turn_bytes(&FlushMark::path_of(&written.killed), 3, 1);
    assert_eq!(FlushMark::read(&written.killed), None);
}

#[test]
fn a_killed_host_s_last_commit_is_never_left_out_for_damage() {
    let written = written();
    let truth = contents(&written.killed);
    let pages = fs::metadata(&written.killed).unwrap().len() / 4096;
    let (mut refused, mut left_out_without) = (0, 0);
    let root = last_root(&written.killed);
    for page in 1..pages {
        let path = copy(&written.killed, "damaged.redb");
        turn_bytes(&path, page * 4096 + 2, 2);
        let is_in_use = !check(&path, StoreFile::Outbox).unwrap().is_sound();
        let is_left_out = is_in_use && damage_at_start(&path, u64::MAX).is_none();
        let path = copy_marked(&written.killed, "damaged.redb");
        turn_bytes(&path, page * 4096 + 2, 2);
        assert_eq!(
            damage_at_start(&path, 0).is_some(),
            is_in_use,
            "page {page}"
        );
        refused += u64::from(is_in_use);
        left_out_without += u64::from(is_left_out);
        if is_left_out && left_out_without < 8 {
            let report = repair(&path, StoreFile::Outbox).unwrap();
            assert_eq!(report.remedy, Remedy::Salvaged);
            assert!(!FlushMark::path_of(&path).exists());
            let kept = contents(&path);
            let lost = missing(&truth, &kept);
            let has_root = page * 4096 != root;
            assert_told(&report, lost, has_root, &format!("page {page}"));
            start(&path);
        }
        drop(fs::remove_file(FlushMark::path_of(&path)));
    }
    assert!(
        left_out_without > 2 && refused > left_out_without,
        "{refused} pages are in use, {left_out_without} by the last commit alone"
    );
}

#[test]
fn a_lost_slot_of_the_last_commit_is_refused_and_its_commit_is_found() {
    let written = written();
    let truth = contents(&written.killed);
    let slot = 64 + 128 * u64::from(fs::read(&written.killed).unwrap()[9] & 1);
    for (offset, bytes) in [(8, 1), (104, 3), (0, 128), (112, 16)] {
        let path = copy_marked(&written.killed, "damaged.redb");
        turn_bytes(&path, slot + offset, bytes);
        assert!(damage_at_start(&path, u64::MAX).is_some(), "byte {offset}");
        assert!(!check(&path, StoreFile::Outbox).unwrap().is_sound());
        let report = repair(&path, StoreFile::Outbox).unwrap();
        assert_eq!(report.remedy, Remedy::Salvaged);
        assert_eq!(contents(&path), truth, "byte {offset}: {report:?}");
        assert_eq!(report.lost_events(), Some(0));
        start(&path);
    }
}

/// As in a copy of the file alone.
#[test]
fn without_the_mark_a_lost_slot_is_refused_or_told() {
    let written = written();
    let damaged = |sound: &Path| {
        let path = copy(sound, "damaged.redb");
        let slot = 64 + 128 * u64::from(fs::read(&path).unwrap()[9] & 1);
        turn_bytes(&path, slot + 104, 3);
        path
    };
    // A file that was closed was flushed. Its last commit changed nothing of ours, which nobody can know.
    let path = damaged(&written.stopped);
    assert!(damage_at_start(&path, u64::MAX).is_some());
    let report = repair(&path, StoreFile::Outbox).unwrap();
    assert_eq!(contents(&path), contents(&written.stopped), "{report:?}");
    assert_eq!((report.lost_events(), report.not_found_events()), (None, 0));

    // The last commit of one that was not may have been cut off by a power failure.
    let path = damaged(&written.killed);
    assert_eq!(damage_at_start(&path, u64::MAX), None);
    let check = check(&path, StoreFile::Outbox).unwrap();
    assert!(
        check.is_sound() && check.notes[0].contains("the flags name"),
        "{check:?}"
    );
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() + 100).unwrap();
    let report = repair(&path, StoreFile::Outbox).unwrap();
    assert_eq!(
        (report.remedy, report.lost_events()),
        (Remedy::Salvaged, None)
    );
    assert!(
        report.notes.iter().any(|note| note.contains(".flushed")),
        "{report:?}"
    );
    let truth = contents(&written.killed);
    assert_eq!(missing(&truth, &contents(&path)), 0, "{report:?}");
    start(&path);
}

#[test]
fn flags_that_name_an_older_commit_are_found() {
    let written = written();
    let truth = contents(&written.killed);
    for mask in 1..=255 {
        let path = copy_marked(&written.killed, "damaged.redb");
        let flags = fs::read(&path).unwrap()[9];
        overwrite(&path, 9, &[flags ^ mask]);
        if damage_at_start(&path, u64::MAX).is_some() {
            let report = repair(&path, StoreFile::Outbox).unwrap();
            assert_eq!(report.remedy, Remedy::Mended, "{mask}: {report:?}");
        } else {
            assert!(check(&path, StoreFile::Outbox).unwrap().is_sound());
        }
        assert_eq!(contents(&path), truth, "{mask}");
    }
}

/// As a kill between the write of the first page and the flush leaves it: nobody was told of that commit.
#[test]
fn a_commit_that_was_not_flushed_is_left_out_and_is_no_damage() {
    let written = written();
    let (newest, older) = numbers(&written.killed);
    let pages = fs::metadata(&written.killed).unwrap().len() / 4096;
    let mut left_out = 0;
    for page in 1..pages {
        let path = copy_marked(&written.killed, "torn.redb");
        turn_bytes(&path, page * 4096, 4096);
        let is_in_use = damage_at_start(&path, u64::MAX).is_some();
        FlushMark::open(&path).unwrap().set(older);
        if is_in_use && damage_at_start(&path, u64::MAX).is_none() {
            let report = check(&path, StoreFile::Outbox).unwrap();
            assert!(report.is_sound(), "{newest} page {page}: {report:?}");
            assert!(report.notes[0].contains("was not finished"), "{report:?}");
            let repaired = repair(&path, StoreFile::Outbox).unwrap();
            assert_eq!(repaired.remedy, Remedy::None);
            // The engine takes no file that ends within a page, whichever commit it starts from.
            let file = fs::File::options().write(true).open(&path).unwrap();
            let bytes = file.metadata().unwrap().len();
            file.set_len(bytes + 100).unwrap();
            assert!(damage_at_start(&path, u64::MAX).is_some(), "page {page}");
            assert!(!check(&path, StoreFile::Outbox).unwrap().is_sound());
            if left_out == 0 {
                let repaired = repair(&path, StoreFile::Outbox).unwrap();
                assert_eq!(repaired.remedy, Remedy::Salvaged);
            } else {
                file.set_len(bytes).unwrap();
            }
            start(&path);
            left_out += 1;
        }
        if left_out == 3 {
            return;
        }
    }
    panic!("only {left_out} pages were of the last commit alone");
}

/// A file that lost a block or its end starts whole, or is refused and repaired, and the repair names what is lost.
#[test]
fn a_zeroed_block_and_a_cut_end_cost_what_is_told() {
    let written = written();
    let truth = contents(&written.killed);
    let bytes = fs::metadata(&written.killed).unwrap().len();
    let root = last_root(&written.killed);
    let mut random = Random(23);
    let mut repaired = [0, 0];
    for round in 0..120 {
        let path = copy_marked(&written.killed, "damaged.redb");
        let (context, has_root) = if round % 2 == 0 {
            let begin = random.below(bytes / 512) * 512;
            overwrite(&path, begin, &[0; 512]);
            (format!("zeros at {begin}"), begin / 4096 * 4096 != root)
        } else {
            let left = bytes - random.below(bytes / 2);
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_len(left).unwrap();
            (format!("cut at {left}"), root + 4096 <= left)
        };
        let report = if damage_at_start(&path, u64::MAX).is_some()
            || !check(&path, StoreFile::Outbox).unwrap().is_sound()
        {
            let report = repair(&path, StoreFile::Outbox).unwrap();
            repaired[round % 2] += 1;
            Some(report)
        } else {
            None
        };
        let lost = missing(&truth, &contents(&path));
        match report {
            Some(report) => assert_told(&report, lost, has_root, &context),
            None => assert_eq!(lost, 0, "{context}"),
        }
    }
    assert!(repaired.iter().all(|rounds| *rounds > 5), "{repaired:?}");
}

#[test]
fn a_killed_host_s_last_change_of_meta_is_never_left_out_for_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.redb");
    let store = MetaStore::open(&path).unwrap();
    for number in 0..50 {
        store
            .put_setting(&format!("key-{number}"), "value")
            .unwrap();
    }
    fs::copy(
        FlushMark::path_of(&path),
        folder.path().join("killed.redb.flushed"),
    )
    .unwrap();
    let killed = copy(&path, "killed.redb");
    drop(store);
    let bytes = fs::metadata(&killed).unwrap().len();
    let mut random = Random(17);
    let mut refused = 0;
    for _ in 0..300 {
        let path = copy_marked(&killed, "damaged.redb");
        turn_bytes(&path, random.below(bytes), 2);
        match MetaStore::open(&path) {
            Ok(store) => assert_eq!(store.setting("key-49").unwrap().as_deref(), Some("value")),
            Err(error) => {
                assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 3, "{refused}");
}
