//! YAML that every reader takes for what was meant: also one of YAML 1.1, to which `no` is false, `1:30` is ninety and
//! `<<` takes in another mapping. Whatever is not plainly a word stands in double quotes.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_norway::{Mapping, Value};

use crate::text;

/// One document, without the line that begins one.
pub(crate) fn document<T: Serialize + ?Sized>(thing: &T) -> io::Result<String> {
    let mut out = String::new();
    match &value(thing)? {
        Value::Mapping(members) if !members.is_empty() => mapping(&mut out, members, 0, false),
        Value::Sequence(items) if !items.is_empty() => sequence(&mut out, items, 0),
        alone => {
            scalar(&mut out, alone);
            out.push('\n');
        }
    }
    Ok(out)
}

/// What JSON shows, its members in their order.
fn value<T: Serialize + ?Sized>(thing: &T) -> io::Result<Value> {
    let json = serde_json::to_string(thing).map_err(io::Error::other)?;
    serde_json::from_str(&json).map_err(io::Error::other)
}

/// `begun` where the first member goes on on a line that is there already.
fn mapping(out: &mut String, members: &Mapping, indent: usize, begun: bool) {
    for (number, (key, value)) in members.iter().enumerate() {
        if number > 0 || !begun {
            spaces(out, indent);
        }
        scalar(out, key);
        out.push(':');
        behind(out, value, indent, false);
    }
}

fn sequence(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        spaces(out, indent);
        out.push('-');
        behind(out, item, indent, true);
    }
}

/// What stands behind a colon, or behind the dash of an item.
fn behind(out: &mut String, value: &Value, indent: usize, in_item: bool) {
    match value {
        Value::Mapping(members) if !members.is_empty() => {
            out.push(if in_item { ' ' } else { '\n' });
            mapping(out, members, indent + 2, in_item);
        }
        Value::Sequence(items) if !items.is_empty() => {
            out.push('\n');
            sequence(out, items, if in_item { indent + 2 } else { indent });
        }
        alone => {
            out.push(' ');
            scalar(out, alone);
            out.push('\n');
        }
    }
}

fn spaces(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&spelled(&number.to_string())),
        Value::String(text) if is_plain(text) => out.push_str(text),
        Value::String(text) => quoted(out, text),
        Value::Sequence(_) => out.push_str("[]"),
        Value::Mapping(_) => out.push_str("{}"),
        Value::Tagged(tagged) => scalar(out, &tagged.value),
    }
}

/// Where there is an exponent, YAML 1.1 wants a point and a sign.
fn spelled(number: &str) -> String {
    match number.split_once('e') {
        None => number.to_owned(),
        Some((front, power)) => {
            let point = if front.contains('.') { "" } else { ".0" };
            let sign = if power.starts_with(['-', '+']) { "" } else { "+" };
            format!("{front}{point}e{sign}{power}")
        }
    }
}

/// Words that mean something else than themselves (YAML 1.1, types `bool` and `null`), in lower case.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Whether a text is a word to everybody. Numbers, times and all that is not a word begin with something other than a
/// letter.
fn is_plain(text: &str) -> bool {
    let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '+' | ' ');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(of_word)
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Also what a terminal would act on is spelled out.
fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        // Writing into a String cannot fail.
        let _ = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            '\r' => write!(out, "\\r"),
            hazard if text::is_hazard(hazard) || matches!(hazard, '\u{fffe}' | '\u{ffff}') => {
                match u32::from(hazard) {
                    code @ ..=0xff => write!(out, "\\x{code:02x}"),
                    code @ ..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                }
            }
            harmless => write!(out, "{harmless}"),
        };
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ODD: [&str; 29] = [
        "<<",
        "no",
        "No",
        "yes",
        "on",
        "OFF",
        "y",
        "~",
        "null",
        "true",
        "1:30",
        "2026-01-01",
        "0x1f",
        "1_000",
        "1e5",
        "017",
        ".inf",
        "=",
        "",
        " a",
        "a ",
        "a: b",
        "a #b",
        "- a",
        "\"q\"\\",
        "x\ny\t\r",
        "2026-11-23T18:00:00Z",
        "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}\u{ffff}b",
        "ä",
    ];

    #[test]
    fn whatever_another_reader_could_misread_stands_in_quotes() {
        for text in ODD {
            let document = document(&json!({ "name": text })).unwrap();
            assert!(document.starts_with("name: \"") && document.ends_with("\"\n"), "{document}");
            assert!(!document.trim_end().contains(text::is_hazard), "{document:?}");
        }
        for plain in ["pump-17", "create-new", "Hall 3", "mst_x"] {
            assert_eq!(document(&json!({ "name": plain })).unwrap(), format!("name: {plain}\n"));
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let odd: serde_json::Map<_, _> = ODD.iter().map(|text| ((*text).to_owned(), json!(text))).collect();
        let thing = json!({ "odd": odd, "list": [[1, -2.5], [], {}, { "a": [{ "b": null, "c": true }] }, "x"],
            "large": 1e300, "small": 1.5e-7, "whole": u64::MAX, "none": {}, "deep": { "a": { "b": [1] } } });
        for thing in [thing.clone(), json!([thing]), json!("no"), json!([]), json!(7)] {
            let text = document(&thing).unwrap();
            assert_eq!(serde_norway::from_str::<Value>(&text).unwrap(), thing, "{text}");
        }
        assert_eq!(document(&json!({ "a": 1e300 })).unwrap(), "a: 1.0e+300\n");
    }
}
