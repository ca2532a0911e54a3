//! A file system of 64 MiB, filled to the last byte. Needs root.

use store::{Change, Sample, Scope, SecretLimits, StoreError, Value};
use testkit::loopfs::SmallFileSystem;

use crate::house::{House, NOW};
use crate::place::Place;

fn house_on(disk: &SmallFileSystem) -> House {
    let folder = tempfile::Builder::new().prefix("db").tempdir_in(disk.path()).unwrap();
    House::within(Place { folder, database: None }, &SecretLimits::default())
}

/// Records devices until the disk is full, and returns how many were acknowledged.
fn record_until_full(house: &House) -> usize {
    for number in 0..100_000 {
        match house.try_record(&[house.create(&format!("late-{number}"))]) {
            Ok(results) => assert!(results[0].is_ok()),
            Err(StoreError::Full) => return number,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk is never full")
}

fn sample(house: &House) -> Sample {
    let device = house.device("early").unwrap().key;
    Sample { device, scope: Scope::Timeseries, key: "t".into(), at: NOW, value: Value::Bool(true) }
}

#[test]
fn on_a_full_disk_reads_and_deletes_go_on_and_service_resumes_when_there_is_room() {
    let disk = SmallFileSystem::new().unwrap();
    let house = house_on(&disk);
    house.record(&[house.create("early"), house.create_with_token("gone", "tok")]);
    disk.fill().unwrap();
    let late = record_until_full(&house);
    house.store.maintain(NOW).unwrap();
    assert!(matches!(house.try_record(&[house.create("more")]), Err(StoreError::Full)));
    assert!(matches!(house.store.telemetry().append(&[sample(&house)], NOW), Err(StoreError::Full)));
    assert!(house.device("early").is_some());
    let record = house.device("gone").unwrap();
    assert!(house.store.write(|change: &mut Change<'_>| change.delete_device(&record, NOW)).unwrap());
    disk.free().unwrap();
    house.store.maintain(NOW).unwrap();
    assert!(house.record(&[house.create("more")])[0].is_ok());
    house.store.telemetry().append(&[sample(&house)], NOW).unwrap();
    assert_eq!(house.count("main.db", "SELECT count(*) FROM devices"), 2 + i64::try_from(late).unwrap());
    let verification = house.store.verify_journal(None).unwrap();
    assert_eq!((verification.entries, verification.faults), (3 + late as u64, vec![]));
}

#[test]
fn a_store_opens_on_a_full_disk_and_reads() {
    let disk = SmallFileSystem::new().unwrap();
    let house = house_on(&disk);
    house.record(&[house.create("early")]);
    let house = house.reopened(|_| assert!(disk.fill().unwrap() > 0));
    assert!(house.device("early").is_some());
    assert!(matches!(house.try_record(&[house.create("late")]), Err(StoreError::Full)));
    // And again, with the reserve gone already.
    let house = house.reopened(|_| {});
    assert!(house.device("early").is_some());
    disk.free().unwrap();
    house.store.maintain(NOW).unwrap();
    assert!(house.record(&[house.create("late")])[0].is_ok());
}
