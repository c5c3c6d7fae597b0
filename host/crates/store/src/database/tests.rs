//! A file that is not what was written is an error that names it, and never an empty store.

use std::fs;

use redb::ReadableTable;
use tempfile::TempDir;

use super::creation::creating;
use super::*;

const TABLE: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("things");

fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.redb");
    let file = open(&path, 1 << 20, 1).unwrap();
    let transaction = file.database.begin_write().unwrap();
    for number in 0..2000 {
        transaction
            .open_table(TABLE)
            .unwrap()
            .insert(number, [7; 100].as_slice())
            .unwrap();
    }
    transaction.commit().unwrap();
    drop(file);
    (folder, path)
}

#[test]
fn a_file_keeps_its_contents_and_schema() {
    let (_folder, path) = written();
    let file = open(&path, 1 << 20, 1).unwrap();
    assert!(!file.repaired);
    assert_eq!(read_number(&file.database, SCHEMA_NUMBER).unwrap(), Some(1));
    let table = file
        .database
        .begin_read()
        .unwrap()
        .open_table(TABLE)
        .unwrap();
    assert_eq!(table.iter().unwrap().count(), 2000);
}

#[test]
fn what_a_killed_first_start_left_does_not_stop_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.redb");
    for left in [Vec::new(), vec![0; 100_000], b"half".to_vec()] {
        fs::write(creating(&path), left).unwrap();
        drop(open(&path, 1 << 20, 1).unwrap());
        assert!(!creating(&path).exists());
        let file = open(&path, 1 << 20, 1).unwrap();
        assert_eq!(read_number(&file.database, SCHEMA_NUMBER).unwrap(), Some(1));
        drop(file);
        fs::remove_file(&path).unwrap();
    }
}

/// Whenever a first start ends, no half of a file has the name that the next start takes for a whole one.
#[test]
fn a_new_file_has_its_name_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.redb");
    fs::create_dir(creating(&path)).unwrap();
    fs::write(creating(&path).join("in the way"), "").unwrap();
    assert!(open(&path, 1 << 20, 1).is_err());
    assert!(!path.exists());
    fs::remove_dir_all(creating(&path)).unwrap();
    let other = build(&creating(&path), 1 << 20, 1).unwrap();
    let error = open(&path, 1 << 20, 1).err().unwrap();
    assert!(matches!(error, OpenStoreError::InUse { .. }), "{error}");
    assert!(!path.exists());
    drop(other);
    drop(open(&path, 1 << 20, 1).unwrap());
    assert!(path.exists());
}

#[test]
fn a_newer_schema_is_refused() {
    let (_folder, path) = written();
    let file = open(&path, 1 << 20, 1).unwrap();
    write_number(&file.database, SCHEMA_NUMBER, 2).unwrap();
    drop(file);
    let error = open(&path, 1 << 20, 1).err().unwrap();
    assert!(
        matches!(
            error,
            OpenStoreError::NewerSchema {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("some.redb has schema 2"),
        "{error}"
    );
}

#[test]
fn a_file_in_use_is_refused() {
    let (_folder, path) = written();
    let _first = open(&path, 1 << 20, 1).unwrap();
    let error = open(&path, 1 << 20, 1).err().unwrap();
    assert!(matches!(error, OpenStoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("some.redb is in use"), "{error}");
}

#[test]
fn a_file_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.redb");
    for contents in [b"garbage".to_vec(), vec![0xa5; 100_000], vec![0; 100_000]] {
        fs::write(&path, contents).unwrap();
        let error = open(&path, 1 << 20, 1).err().unwrap();
        assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error}");
        assert!(
            error.to_string().contains("some.redb is damaged"),
            "{error}"
        );
    }
}

#[test]
fn a_foreign_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.redb");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(TABLE)
        .unwrap()
        .insert(1, [1].as_slice())
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(&path, 1 << 20, 1).err().unwrap();
    assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_truncated_file_is_refused() {
    let (_folder, path) = written();
    let contents = fs::read(&path).unwrap();
    for divisor in [2, 3, 10, 100] {
        fs::write(&path, &contents[..contents.len() / divisor]).unwrap();
        assert!(open(&path, 1 << 20, 1).is_err(), "1/{divisor} of the file");
    }
}

/// Every damage is either found when the file opens, or changed nothing that is read.
#[test]
fn a_damaged_file_never_opens_as_another_one() {
    let (_folder, path) = written();
    let contents = fs::read(&path).unwrap();
    let mut refused = 0;
    let header = (0..320).map(|position| (position, 1_u8));
    let pages = (0..contents.len())
        .step_by(1009)
        .map(|position| (position, 0xff));
    for (position, mask) in header.chain(pages) {
        let mut damaged = contents.clone();
        damaged[position] ^= mask;
        fs::write(&path, &damaged).unwrap();
        match open(&path, 1 << 20, 1) {
            Err(_) => refused += 1,
            Ok(file) => {
                let table = file
                    .database
                    .begin_read()
                    .unwrap()
                    .open_table(TABLE)
                    .unwrap();
                let rows = table
                    .iter()
                    .unwrap()
                    .map(|row| row.unwrap().1.value().to_vec());
                assert_eq!(
                    rows.filter(|row| row == &[7; 100]).count(),
                    2000,
                    "byte {position}"
                );
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
