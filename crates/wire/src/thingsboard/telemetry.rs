//! Telemetry that a device posts (thingsboard page, section 9.1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::number;
use crate::json::{self, Text};

/// The most characters of a key.
pub const MAX_KEY_CHARS: usize = 255;

/// One value of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The device's own time, in milliseconds since 1970; `None` = when it arrived.
    pub ts_ms: Option<i64>,
    /// The key: not blank, at most [`MAX_KEY_CHARS`] characters.
    pub key: String,
    /// The value.
    pub value: Value,
}

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A fraction; always finite.
    Double(f64),
    /// Text that does not look like a number, or a number that no other type holds.
    Text(String),
    /// An object or an array, as JSON without blanks.
    Json(String),
}

/// Why bytes are not telemetry or attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// Not JSON, or not an object nor an array of objects.
    #[error("payload is not a JSON object or an array of objects")]
    NotAnObject,
    /// `values` is not an object.
    #[error("`values` is not a JSON object")]
    ValuesNotAnObject,
    /// `ts` is not a number of 64 bits.
    #[error("`ts` is not a whole number of milliseconds")]
    BadTimestamp,
    /// A key has no character that is visible.
    #[error("a key is blank")]
    BlankKey,
    /// A key is too long.
    #[error("a key is longer than 255 characters")]
    KeyTooLong,
    /// A number that does not exist even as text.
    #[error("a number is out of all bounds")]
    BadNumber,
}

/// Reads `{"key":value,…}`, `{"ts":milliseconds,"values":{…}}` or an array of either. An object that has both
/// `ts` and `values` is the second form. `null` values are skipped; of a repeated key the last counts.
///
/// # Errors
/// [`TelemetryError`]; then nothing of the payload counts.
pub fn parse(payload: &[u8]) -> Result<Vec<Entry>, TelemetryError> {
    let mut entries = Vec::new();
    for object in objects(payload)? {
        object.read_into(&mut entries)?;
    }
    Ok(entries)
}

/// The key-value pairs of one object, converted.
pub(super) fn pairs(payload: &[u8]) -> Result<Vec<(String, Value)>, TelemetryError> {
    parse_str::<Object<'_>>(utf8(payload)?, TelemetryError::NotAnObject)?.values().collect()
}

fn objects(payload: &[u8]) -> Result<Vec<Object<'_>>, TelemetryError> {
    let payload = utf8(payload)?;
    if payload.trim_ascii_start().starts_with('[') {
        return parse_str(payload, TelemetryError::NotAnObject);
    }
    Ok(vec![parse_str(payload, TelemetryError::NotAnObject)?])
}

fn utf8(payload: &[u8]) -> Result<&str, TelemetryError> {
    std::str::from_utf8(payload).map_err(|_| TelemetryError::NotAnObject)
}

fn parse_str<'a, T: Deserialize<'a>>(text: &'a str, error: TelemetryError) -> Result<T, TelemetryError> {
    serde_json::from_str(text).map_err(|_| error)
}

/// The members of an object, values as written. A repeated key is there once, with its last value.
struct Object<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'a> Object<'a> {
    fn member(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key.0 == name).map(|(_, value)| *value)
    }

    fn read_into(self, entries: &mut Vec<Entry>) -> Result<(), TelemetryError> {
        let (Some(ts), Some(values)) = (self.member("ts"), self.member("values")) else {
            return push_all(None, &self, entries);
        };
        let ts_ms = json::text_of(ts).and_then(|ts| number::whole_part(&ts));
        let ts_ms = ts_ms.ok_or(TelemetryError::BadTimestamp)?;
        let values = parse_str(values.get(), TelemetryError::ValuesNotAnObject)?;
        push_all(Some(ts_ms), &values, entries)
    }

    fn values(&self) -> impl Iterator<Item = Result<(String, Value), TelemetryError>> {
        self.0.iter().filter(|(_, value)| value.get() != "null").map(|(key, value)| {
            check_key(&key.0)?;
            Ok((key.0.to_string(), value_of(value)?))
        })
    }
}

fn push_all(ts_ms: Option<i64>, object: &Object<'_>, entries: &mut Vec<Entry>) -> Result<(), TelemetryError> {
    for pair in object.values() {
        let (key, value) = pair?;
        entries.push(Entry { ts_ms, key, value });
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), TelemetryError> {
    if key.trim().is_empty() {
        return Err(TelemetryError::BlankKey);
    }
    if key.len() > MAX_KEY_CHARS && key.chars().count() > MAX_KEY_CHARS {
        return Err(TelemetryError::KeyTooLong);
    }
    Ok(())
}

fn value_of(value: &RawValue) -> Result<Value, TelemetryError> {
    let written = value.get();
    match written.as_bytes().first() {
        Some(b'{' | b'[') => Ok(Value::Json(json::compact(value))),
        Some(b't') => Ok(Value::Bool(true)),
        Some(b'f') => Ok(Value::Bool(false)),
        Some(b'"') => Ok(value_of_text(parse_str(written, TelemetryError::NotAnObject)?)),
        _ => number::value_of(written).ok_or(TelemetryError::BadNumber),
    }
}

fn value_of_text(text: String) -> Value {
    let number = if number::looks_like_a_number(&text) { number::value_of(&text) } else { None };
    number.unwrap_or(Value::Text(text))
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            members.push(member);
        }
        Ok(Object(without_repeats(members)))
    }
}

/// Keeps the last of equal keys, in the order of what is kept.
fn without_repeats<'a>(members: Vec<(Text<'a>, &'a RawValue)>) -> Vec<(Text<'a>, &'a RawValue)> {
    let last: BTreeMap<&str, usize> =
        members.iter().enumerate().map(|(index, (key, _))| (key.0.as_ref(), index)).collect();
    if last.len() == members.len() {
        return members;
    }
    let kept: BTreeSet<usize> = last.into_values().collect();
    members
        .into_iter()
        .enumerate()
        .filter(|(index, _)| kept.contains(index))
        .map(|(_, member)| member)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ts_ms: Option<i64>, key: &str, value: Value) -> Entry {
        Entry { ts_ms, key: key.to_owned(), value }
    }

    #[test]
    fn every_form_of_the_page_is_read() {
        let temperature = |ts_ms| vec![entry(ts_ms, "temperature", Value::Double(22.5))];
        assert_eq!(parse(br#"{"temperature":22.5}"#).unwrap(), temperature(None));
        assert_eq!(parse(br#"[{"temperature":22.5}]"#).unwrap(), temperature(None));
        assert_eq!(
            parse(br#"{"ts":1700000000000,"values":{"temperature":22.5}}"#).unwrap(),
            temperature(Some(1_700_000_000_000))
        );
        assert_eq!(parse(b" {} ").unwrap(), []);
        assert_eq!(parse(b"[]").unwrap(), []);
        assert_eq!(
            parse(br#" [ {"ts":"1","values":{"a":1,"b":true}} , {"c":"x"} ] "#).unwrap(),
            [
                entry(Some(1), "a", Value::Integer(1)),
                entry(Some(1), "b", Value::Bool(true)),
                entry(None, "c", Value::Text("x".into())),
            ]
        );
    }

    #[test]
    fn an_object_is_the_timed_form_only_with_both_ts_and_values() {
        assert_eq!(parse(br#"{"ts":1}"#).unwrap(), [entry(None, "ts", Value::Integer(1))]);
        assert_eq!(
            parse(br#"{"values":{"a": 1}}"#).unwrap(),
            [entry(None, "values", Value::Json(r#"{"a":1}"#.into()))]
        );
    }

    #[test]
    fn values_are_stored_as_thingsboard_stores_them() {
        for (written, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("17", Value::Integer(17)),
            (r#""17""#, Value::Integer(17)),
            (r#""007""#, Value::Integer(7)),
            (r#""22.5""#, Value::Double(22.5)),
            (r#""NaN""#, Value::Text("NaN".into())),
            (r#""inf""#, Value::Text("inf".into())),
            (r#""1e999""#, Value::Text("1e999".into())),
            (r#""""#, Value::Text(String::new())),
            (r#""18446744073709551616""#, Value::Text("18446744073709551616".into())),
            ("18446744073709551616", Value::Text("18446744073709551616".into())),
            ("[ 1, 2 ]", Value::Json("[1,2]".into())),
        ] {
            let payload = format!(r#"{{"k":{written}}}"#);
            assert_eq!(parse(payload.as_bytes()).unwrap(), [entry(None, "k", value)], "{written}");
        }
    }

    #[test]
    fn null_is_skipped_and_the_last_of_equal_keys_counts() {
        assert_eq!(
            parse(br#"{"a":1,"n":null,"b":2,"a":3,"b":null}"#).unwrap(),
            [entry(None, "a", Value::Integer(3))]
        );
    }

    #[test]
    fn what_is_not_telemetry_is_an_error() {
        use TelemetryError::{BadNumber, BadTimestamp, BlankKey, KeyTooLong, NotAnObject, ValuesNotAnObject};
        let long_key = format!(r#"{{"{}":1}}"#, "ä".repeat(256));
        for (payload, error) in [
            ("", NotAnObject),
            ("1", NotAnObject),
            ("null", NotAnObject),
            ("[1]", NotAnObject),
            ("[[{}]]", NotAnObject),
            ("{\"a\":1", NotAnObject),
            ("{\"a\":1}x", NotAnObject),
            (r#"{"a":"\ud800"}"#, NotAnObject),
            (r#"{"ts":1,"values":1}"#, ValuesNotAnObject),
            (r#"{"ts":1,"values":null}"#, ValuesNotAnObject),
            (r#"{"ts":null,"values":{}}"#, BadTimestamp),
            (r#"{"ts":"x","values":{}}"#, BadTimestamp),
            (r#"{"ts":9223372036854775808,"values":{}}"#, BadTimestamp),
            (r#"{"":1}"#, BlankKey),
            (r#"{" ":1}"#, BlankKey),
            (&long_key, KeyTooLong),
            (r#"{"a":1e99999999999}"#, BadNumber),
        ] {
            assert_eq!(parse(payload.as_bytes()), Err(error), "{payload}");
        }
        assert_eq!(parse(b"{\"a\":\"\xff\"}"), Err(NotAnObject));
    }

    #[test]
    fn a_key_of_255_characters_is_taken_whatever_its_bytes() {
        let payload = format!(r#"{{"{}":1}}"#, "ä".repeat(255));
        assert_eq!(parse(payload.as_bytes()).unwrap().len(), 1);
    }
}
