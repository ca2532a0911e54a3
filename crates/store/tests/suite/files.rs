//! What only files can show: a PostgreSQL keeps its files and its log itself.

use std::os::unix::fs::PermissionsExt;

use store::StoreError;

use crate::house::House;
use crate::place::Place;

#[test]
fn every_file_is_for_its_owner_only() {
    let place = Place::new();
    let dir = place.folder.path();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    let _store = place.open("kek", 7).unwrap();
    assert_eq!(std::fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_second_opener_is_refused_while_the_first_lives() {
    let House { store, place, .. } = House::new();
    let again = store.clone();
    let error = place.open("kek", 7).err().unwrap();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    drop(store);
    assert!(matches!(place.open("kek", 7), Err(StoreError::InUse(_))));
    drop(again);
    assert!(place.open("kek", 7).is_ok());
}

#[test]
fn a_closed_store_leaves_nothing_in_its_logs() {
    let House { store, place, .. } = House::new();
    drop(store);
    for file in ["main.db-wal", "secrets.db-wal", "telemetry.db-wal"] {
        let bytes = std::fs::metadata(place.folder.path().join(file)).map_or(0, |log| log.len());
        assert_eq!(bytes, 0, "{file}");
    }
}

#[test]
fn a_damaged_file_is_told_as_such() {
    let House { store, place, .. } = House::new();
    drop(store);
    std::fs::write(place.folder.path().join("main.db"), b"this is no database, whatever it is called")
        .unwrap();
    let error = place.open("kek", 7).err().unwrap();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}
