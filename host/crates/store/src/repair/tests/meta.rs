//! `meta.redb` is mended, and never salvaged: its records have no checksums of their own.

use std::fs;

use super::bench::{Random, copy, overwrite, turn_bit};
use crate::MetaStore;
use crate::repair::{Remedy, RepairStoreError, StoreFile, check, repair};

#[test]
fn a_wrong_bit_is_turned_back_and_worse_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("meta.redb");
    let store = MetaStore::open(&sound).unwrap();
    for number in 0..300 {
        let value = "x".repeat(50);
        store.put_setting(&format!("key-{number}"), &value).unwrap();
    }
    drop(store);
    assert!(check(&sound, StoreFile::Meta).unwrap().is_sound());
    let bytes = fs::metadata(&sound).unwrap().len();
    let mut random = Random(3);
    let (mut mended, mut refused) = (0, 0);
    for _ in 0..100 {
        let at = random.below(bytes);
        let path = copy(&sound, "flipped.redb");
        turn_bit(&path, at, 1);
        mended += u32::from(repair(&path, StoreFile::Meta).unwrap().remedy == Remedy::Mended);
        let store = MetaStore::open(&path).unwrap();
        for number in 0..300 {
            let found = store.setting(&format!("key-{number}")).unwrap();
            assert_eq!(found.as_deref(), Some("x".repeat(50).as_str()), "byte {at}");
        }
        drop(store);
        let path = copy(&sound, "trashed.redb");
        overwrite(&path, at.min(bytes - 8), b"trashed!");
        if !check(&path, StoreFile::Meta).unwrap().is_sound() {
            let error = repair(&path, StoreFile::Meta).unwrap_err();
            assert!(
                matches!(error, RepairStoreError::NotSalvageable { .. }),
                "{error}"
            );
            assert!(MetaStore::open(&path).is_err(), "byte {at}");
            refused += 1;
        }
    }
    assert!(
        mended > 5 && refused > 5,
        "{mended} mended, {refused} refused"
    );
}
