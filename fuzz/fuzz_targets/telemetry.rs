//! Telemetry and attributes.
//!
//! Beyond not panicking: what was read keeps the rules of stored values, and written out again it is read
//! as the same number or text. One object without a time is the same as telemetry and as attributes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::thingsboard::attributes;
use wire::thingsboard::telemetry::{self, Entry, MAX_KEY_CHARS, Value};

fuzz_target!(|payload: &[u8]| {
    let Ok(entries) = telemetry::parse(payload) else { return };
    entries.iter().for_each(check_rules);
    let again = telemetry::parse(&written(&entries)).expect("what was written is read");
    assert_eq!(entries.len(), again.len());
    entries.iter().zip(&again).for_each(|(entry, again)| check_same(entry, again));
    if let Ok(pairs) = attributes::parse(payload)
        && entries.iter().all(|entry| entry.ts_ms.is_none())
    {
        compare_with_attributes(&entries, &pairs);
    }
});

/// A whole number beyond 64 bits that was written with both a point and an exponent (`1.0e30`) becomes text
/// with a point, and such a text is a fraction when it comes back. Everything else comes back as it was.
fn check_same(entry: &Entry, again: &Entry) {
    assert_eq!((entry.ts_ms, &entry.key), (again.ts_ms, &again.key));
    match (&entry.value, &again.value) {
        (Value::Text(text), Value::Double(double)) => {
            assert!(text.contains('.'), "{text}");
            assert_eq!(text.parse::<f64>().as_ref(), Ok(double));
        }
        (value, again) => assert_eq!(value, again),
    }
}

fn check_rules(entry: &Entry) {
    assert!(!entry.key.trim().is_empty());
    assert!(entry.key.chars().count() <= MAX_KEY_CHARS);
    match &entry.value {
        Value::Double(double) => assert!(double.is_finite()),
        Value::Text(text) => assert!(text.parse::<i64>().is_err() || text.starts_with('+')),
        Value::Bool(_) | Value::Integer(_) | Value::Json(_) => {}
    }
}

fn compare_with_attributes(entries: &[Entry], pairs: &[(String, Value)]) {
    // An object with `ts` and an empty `values` has no entries, and two attributes.
    if entries.is_empty() {
        return;
    }
    assert_eq!(entries.len(), pairs.len());
    for (entry, (key, value)) in entries.iter().zip(pairs) {
        assert_eq!((&entry.key, &entry.value), (key, value));
    }
}

/// An array with one object for each entry.
fn written(entries: &[Entry]) -> Vec<u8> {
    let objects: Vec<String> = entries.iter().map(object).collect();
    format!("[{}]", objects.join(",")).into_bytes()
}

fn object(entry: &Entry) -> String {
    let values = format!("{{{}:{}}}", quoted(&entry.key), json(&entry.value));
    match entry.ts_ms {
        Some(ts_ms) => format!(r#"{{"ts":{ts_ms},"values":{values}}}"#),
        None => values,
    }
}

fn json(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Double(value) if value.fract() == 0.0 => format!("{value}.0"),
        Value::Double(value) => value.to_string(),
        Value::Text(text) => quoted(text),
        Value::Json(json) => json.clone(),
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if u32::from(c) < 0x20 => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
