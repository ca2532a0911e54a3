//! What the JSON protocols share: lenient text fields over strict documents, and writing that cannot fail.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Text that stays in the document where it holds no escape; the form in which the keys of a map are read.
#[derive(Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A value as ThingsBoard reads a text field: a string is itself, a number or a boolean is as it is written,
/// an array of one such value is that value. Anything else is `None`.
pub(crate) fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes().first() {
        Some(b'[') => {
            serde_json::from_str::<[&RawValue; 1]>(value.get()).ok().and_then(|[only]| scalar(only))
        }
        _ => scalar(value),
    }
}

fn scalar(value: &RawValue) -> Option<Cow<'_, str>> {
    let written = value.get();
    match written.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'_>>(written).ok().map(|text| text.0),
        Some(b'{' | b'[' | b'n') | None => None,
        Some(_) => Some(Cow::Borrowed(written)),
    }
}

/// A value without the blanks between its parts.
pub(crate) fn compact(value: &RawValue) -> String {
    let mut compact = String::with_capacity(value.get().len());
    let (mut in_text, mut escaped) = (false, false);
    for c in value.get().chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_text = c == '"';
        }
        compact.push(c);
    }
    compact
}

/// The JSON text of one of our own shapes. The buffer is large enough for most, so that secrets are not
/// left behind by one that grows.
pub(crate) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    #[expect(
        clippy::expect_used,
        reason = "our shapes have text keys and no failing fields; a Vec takes all"
    )]
    serde_json::to_writer(&mut out, value).expect("plain structs are written to memory");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_text_field_takes_strings_numbers_and_booleans() {
        for (written, text) in [
            (r#""a""#, Some("a")),
            (r#""aA""#, Some("aA")),
            ("17", Some("17")),
            ("1.50", Some("1.50")),
            ("1e5", Some("1e5")),
            ("-0", Some("-0")),
            ("true", Some("true")),
            ("false", Some("false")),
            (r#"["a"]"#, Some("a")),
            ("[ 17 ]", Some("17")),
            ("null", None),
            ("{}", None),
            ("[]", None),
            ("[1,2]", None),
            ("[[1]]", None),
            (r#""\ud800""#, None),
        ] {
            assert_eq!(text_of(raw(written)).as_deref(), text, "{written}");
        }
    }

    #[test]
    fn compacting_leaves_texts_alone() {
        let value = raw("{ \"a b\" : [ 1 ,\t\"x \\\" y \\\\\" , { } ] ,\n \"c\" : \"\\\\\" }");
        assert_eq!(compact(value), r#"{"a b":[1,"x \" y \\",{}],"c":"\\"}"#);
    }
}
