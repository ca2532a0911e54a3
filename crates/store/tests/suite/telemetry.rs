use domain::{DeviceKey, Timestamp};
use store::telemetry::{HISTORY_AGE_MS, Stretch};
use store::{Sample, Scope, StoreError, Value};

use crate::house::{House, NOW};

const PUMP: DeviceKey = DeviceKey(17);
const VALVE: DeviceKey = DeviceKey(18);

fn sample(device: DeviceKey, key: &str, at: i64, value: Value) -> Sample {
    Sample { device, scope: Scope::Timeseries, key: key.to_owned(), at: Timestamp(at), value }
}

fn history(house: &House, device: DeviceKey, key: Option<&str>) -> Vec<Value> {
    house.store.telemetry().history(device, key, 100).unwrap().into_iter().map(|it| it.value).collect()
}

fn latest(house: &House, device: DeviceKey) -> Vec<(String, Value)> {
    house.store.telemetry().latest(device).unwrap().into_iter().map(|it| (it.key, it.value)).collect()
}

#[test]
fn every_value_comes_back_as_it_was_and_exactly_once() {
    let house = House::new();
    let values = [
        Value::Bool(true),
        Value::Integer(i64::MIN),
        Value::Double(-0.5),
        Value::Double(3.0),
        Value::Text("21".into()),
        Value::Text(String::new()),
        Value::Json(r#"{"a":[1]}"#.into()),
    ];
    let samples: Vec<_> = values.iter().map(|value| sample(PUMP, "t", 5, value.clone())).collect();
    house.store.telemetry().append(&samples, NOW).unwrap();
    let mut newest_last = history(&house, PUMP, Some("t"));
    newest_last.reverse();
    assert_eq!(newest_last, values);
    let house = house.reopened(|_| {});
    assert_eq!(history(&house, PUMP, None).len(), values.len());
    assert_eq!(history(&house, PUMP, Some("u")), []);
    assert_eq!(history(&house, VALVE, None), []);
}

#[test]
fn the_last_value_of_a_time_series_is_the_one_with_the_latest_moment() {
    let house = House::new();
    let told = [(5, 1), (9, 2), (7, 3)].map(|(at, value)| sample(PUMP, "t", at, Value::Integer(value)));
    house.store.telemetry().append(&told, NOW).unwrap();
    assert_eq!(latest(&house, PUMP), [("t".to_owned(), Value::Integer(2))]);
}

#[test]
fn a_moment_that_was_told_several_times_takes_one_place_of_an_answer() {
    let house = House::new();
    let told =
        [(5, 1), (5, 2), (5, 3), (9, 4)].map(|(at, value)| sample(PUMP, "t", at, Value::Integer(value)));
    house.store.telemetry().append(&told, NOW).unwrap();
    let stretch = Stretch { device: PUMP, key: "t", from: Timestamp(0), until: Timestamp(10) };
    let points = house.store.telemetry().points(stretch, 2, true).unwrap();
    let points: Vec<_> = points.into_iter().map(|point| (point.at, point.value)).collect();
    assert_eq!(points, [(Timestamp(5), Value::Integer(3)), (Timestamp(9), Value::Integer(4))]);
}

#[test]
fn the_last_value_of_an_attribute_is_the_one_that_came_last() {
    let house = House::new();
    let told = [(9, 1), (7, 2)].map(|(at, value)| Sample {
        scope: Scope::ClientAttribute,
        ..sample(PUMP, "version", at, Value::Integer(value))
    });
    house.store.telemetry().append(&told, NOW).unwrap();
    house.store.telemetry().append(&[sample(PUMP, "version", 1, Value::Bool(true))], NOW).unwrap();
    let both = [("version".to_owned(), Value::Bool(true)), ("version".to_owned(), Value::Integer(2))];
    assert_eq!(latest(&house, PUMP), both);
}

#[test]
fn history_is_dropped_after_seven_days_and_last_values_stay() {
    let house = House::new();
    house.store.telemetry().append(&[sample(PUMP, "t", 1, Value::Integer(1))], NOW).unwrap();
    let later = NOW.plus_ms(1000);
    house.store.telemetry().append(&[sample(PUMP, "t", 2, Value::Integer(2))], later).unwrap();
    let week = u64::try_from(HISTORY_AGE_MS).unwrap();
    house.store.maintain(NOW.plus_ms(week)).unwrap();
    assert_eq!(history(&house, PUMP, None).len(), 2);
    house.store.maintain(NOW.plus_ms(week + 1000)).unwrap();
    assert_eq!(history(&house, PUMP, None), [Value::Integer(2)]);
    house.store.maintain(NOW.plus_ms(week + 2001)).unwrap();
    assert_eq!(history(&house, PUMP, None), []);
    assert_eq!(latest(&house, PUMP), [("t".to_owned(), Value::Integer(2))]);
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let house = House::new();
    house.store.telemetry().append(&[sample(PUMP, "t", 1, Value::Integer(1))], NOW).unwrap();
    house.store.telemetry().append(&[sample(PUMP, "t", 2, Value::Integer(2))], Timestamp(5)).unwrap();
    assert_eq!(history(&house, PUMP, None), [Value::Integer(2), Value::Integer(1)]);
}

#[test]
fn a_forgotten_device_has_told_nothing_and_its_neighbour_has() {
    let house = House::new();
    let told = [PUMP, VALVE].map(|device| sample(device, "t", 1, Value::Integer(1)));
    house.store.telemetry().append(&told, NOW).unwrap();
    house.store.telemetry().forget(&[PUMP]).unwrap();
    assert_eq!((latest(&house, PUMP), history(&house, PUMP, None)), (vec![], vec![]));
    assert_eq!((latest(&house, VALVE).len(), history(&house, VALVE, None).len()), (1, 1));
}

#[test]
fn a_value_that_cannot_be_stored_fails_its_batch_and_can_be_told_beforehand() {
    let house = House::new();
    for bad in [
        sample(PUMP, "t\0", 1, Value::Bool(true)),
        sample(PUMP, "t", 1, Value::Text("a\0".into())),
        sample(PUMP, "t", 1, Value::Double(f64::NAN)),
    ] {
        assert!(!bad.is_storable());
        let batch = [sample(PUMP, "t", 1, Value::Bool(true)), bad];
        let error = house.store.telemetry().append(&batch, NOW).unwrap_err();
        assert!(matches!(error, StoreError::Unstorable(_)), "{error}");
    }
    assert_eq!(history(&house, PUMP, None), []);
}
