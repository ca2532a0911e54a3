use store::StoreError;

use crate::POSTGRES;
use crate::house::House;

#[test]
fn a_file_that_needs_a_newer_server_is_refused_and_one_that_does_not_is_used() {
    for file in ["main.db", "secrets.db", "telemetry.db"] {
        let house = House::new();
        house.tamper(file, "UPDATE meta SET version = 99, compatible_from = 1");
        let House { store, place, .. } = house.reopened(|_| {});
        drop(store);
        place.tamper(file, "UPDATE meta SET compatible_from = 99");
        match place.open("kek", 7).err().unwrap() {
            StoreError::TooNew { file: named, compatible_from: 99, .. } => {
                assert!(POSTGRES || named == file, "{named}");
            }
            other => panic!("{other}"),
        }
    }
}
