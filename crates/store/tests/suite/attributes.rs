use domain::DeviceKey;
use store::{AttributeScope, Change, LastValue, Sample, Scope, StoreError, Stretch, Value};

use domain::Timestamp;

use crate::house::{HOME, House, NOW};

const PUMP: DeviceKey = DeviceKey(17);
const VALVE: DeviceKey = DeviceKey(18);

fn set(house: &House, device: DeviceKey, scope: AttributeScope, key: &str, value: &str) {
    let done: Result<(), StoreError> = house
        .store
        .write(|change: &mut Change<'_>| change.set_attribute((HOME, device), scope, (key, value), NOW));
    done.unwrap();
}

fn delete(house: &House, scope: AttributeScope, key: &str) -> bool {
    let done: Result<bool, StoreError> =
        house.store.write(|change: &mut Change<'_>| change.delete_attribute(PUMP, scope, key));
    done.unwrap()
}

fn found(house: &House, device: DeviceKey, scope: AttributeScope) -> Vec<(String, String)> {
    let all = house.store.attributes_in(device, scope).unwrap();
    all.into_iter().map(|it| (it.key, it.value)).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

#[test]
fn attributes_of_one_scope_are_none_of_another_and_the_last_value_stands() {
    let house = House::new();
    let (shared, server) = (AttributeScope::Shared, AttributeScope::Server);
    for (device, scope, key, value) in [
        (PUMP, shared, "b", "1"),
        (PUMP, shared, "a", "\"x\""),
        (PUMP, server, "a", "{\"y\":[]}"),
        (VALVE, shared, "a", "null"),
        (PUMP, shared, "b", "2"),
    ] {
        set(&house, device, scope, key, value);
    }
    let house = house.reopened(|_| {});
    assert_eq!(found(&house, PUMP, shared), pairs([("a", "\"x\""), ("b", "2")]));
    assert_eq!(found(&house, PUMP, server), pairs([("a", "{\"y\":[]}")]));
    assert_eq!([delete(&house, shared, "a"), delete(&house, shared, "a")], [true, false]);
    assert_eq!(found(&house, PUMP, shared), pairs([("b", "2")]));
    assert_eq!(found(&house, PUMP, server).len() + found(&house, VALVE, shared).len(), 2);
}

#[test]
fn the_first_claim_stands_until_it_has_expired_and_its_key_is_nowhere() {
    let house = House::new();
    let (one, two) = (house.verifier("first-claim-key"), house.verifier("second-claim-key"));
    let claim =
        |verifier, now: Timestamp| house.store.claim((HOME, PUMP), verifier, now.plus_ms(1000), now).unwrap();
    assert!(claim(&one, NOW));
    assert!(!claim(&two, NOW.plus_ms(999)));
    assert!(claim(&two, NOW.plus_ms(1000)));
    assert!(!claim(&one, NOW.plus_ms(1001)));
    assert!(!house.holds_in_clear("second-claim-key"));
    assert_eq!(house.count("main.db", "SELECT count(*) FROM claims"), 1);
}

#[test]
fn a_deleted_device_leaves_neither_attributes_nor_claims() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let device = house.device("pump").unwrap();
    set(&house, device.key, AttributeScope::Server, "a", "1");
    let verifier = house.verifier("k");
    house.store.claim((HOME, device.key), &verifier, NOW.plus_ms(1000), NOW).unwrap();
    let gone: Result<bool, StoreError> =
        house.store.write(|change: &mut Change<'_>| change.delete_device(&device, NOW));
    assert!(gone.unwrap());
    assert_eq!(house.count("main.db", "SELECT count(*) FROM claims"), 0);
    assert_eq!(house.count("main.db", "SELECT count(*) FROM attributes"), 0);
}

fn points(house: &House, from: i64, until: i64, limit: usize, oldest_first: bool) -> Vec<i64> {
    let stretch = Stretch { device: PUMP, key: "t", from: Timestamp(from), until: Timestamp(until) };
    let points = house.store.telemetry().points(stretch, limit, oldest_first).unwrap();
    let number = |value: &Value| match value {
        Value::Integer(number) => *number,
        other => panic!("{other:?}"),
    };
    points.iter().map(|point| number(&point.value)).collect()
}

#[test]
fn points_are_read_by_stretch_and_deleted_with_or_without_the_last_value() {
    let house = House::new();
    let sample = |at: i64, value: i64| Sample {
        device: PUMP,
        scope: Scope::Timeseries,
        key: "t".to_owned(),
        at: Timestamp(at),
        value: Value::Integer(value),
    };
    let told = [sample(10, 1), sample(30, 3), sample(20, 2), sample(20, 22), sample(40, 4)];
    house.store.telemetry().append(&told, NOW).unwrap();
    assert_eq!(points(&house, 0, 100, 10, false), [4, 3, 22, 1]);
    assert_eq!(points(&house, 20, 40, 10, true), [22, 3]);
    assert_eq!(points(&house, 0, 100, 1, true), [1]);
    let last =
        || house.store.telemetry().latest(PUMP).unwrap().into_iter().map(|it| it.at.0).collect::<Vec<_>>();
    let delete = |from: i64, last: LastValue| {
        let stretch = Stretch { device: PUMP, key: "t", from: Timestamp(from), until: Timestamp(100) };
        house.store.telemetry().delete_points(stretch, last).unwrap();
    };
    delete(35, LastValue::Kept);
    assert_eq!((points(&house, 0, 100, 10, false), last()), (vec![3, 22, 1], vec![40]));
    delete(25, LastValue::Rewritten);
    assert_eq!((points(&house, 0, 100, 10, false), last()), (vec![22, 1], vec![20]));
    delete(15, LastValue::Deleted);
    assert_eq!((points(&house, 0, 100, 10, false), last()), (vec![1], vec![]));
    house.store.telemetry().append(&told, NOW).unwrap();
    house.store.telemetry().delete_key(PUMP, Scope::Timeseries, "t").unwrap();
    assert_eq!((points(&house, 0, 100, 10, false), last()), (vec![], vec![]));
}
