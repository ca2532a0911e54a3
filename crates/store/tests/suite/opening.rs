use std::os::unix::fs::PermissionsExt;

use store::StoreError;

use crate::house::{House, open};

#[test]
fn every_file_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("db");
    let _store = open(dir.clone(), "kek", 7).unwrap();
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(&dir).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_second_opener_is_refused_while_the_first_lives() {
    let House { store, folder, .. } = House::new();
    let again = store.clone();
    let error = open(folder.path().to_owned(), "kek", 7).err().unwrap();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    drop(store);
    assert!(matches!(open(folder.path().to_owned(), "kek", 7), Err(StoreError::InUse(_))));
    drop(again);
    assert!(open(folder.path().to_owned(), "kek", 7).is_ok());
}

#[test]
fn a_file_that_needs_a_newer_server_is_refused_and_one_that_does_not_is_used() {
    for file in ["main.db", "secrets.db", "telemetry.db"] {
        let house = House::new();
        house.tamper(file, "UPDATE meta SET version = 9, compatible_from = 1");
        let House { store, folder, .. } = house.reopened(|_| {});
        drop(store);
        let connection = rusqlite::Connection::open(folder.path().join(file)).unwrap();
        connection.execute("UPDATE meta SET compatible_from = 9", []).unwrap();
        drop(connection);
        match open(folder.path().to_owned(), "kek", 7).err().unwrap() {
            StoreError::TooNew { file: named, compatible_from: 9, .. } => assert_eq!(named, file),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_closed_store_leaves_nothing_in_its_logs() {
    let House { store, folder, .. } = House::new();
    drop(store);
    for file in ["main.db-wal", "secrets.db-wal", "telemetry.db-wal"] {
        let bytes = std::fs::metadata(folder.path().join(file)).map_or(0, |log| log.len());
        assert_eq!(bytes, 0, "{file}");
    }
}

#[test]
fn a_damaged_file_is_told_as_such() {
    let House { store, folder, .. } = House::new();
    drop(store);
    std::fs::write(folder.path().join("main.db"), b"this is no database, whatever it is called").unwrap();
    let error = open(folder.path().to_owned(), "kek", 7).err().unwrap();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}
