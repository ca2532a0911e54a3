//! Text that others chose, made safe to look at.
//!
//! A device chooses its own name. Shown raw on a terminal it could move the cursor, recolour what
//! follows, or turn the reading direction around and so show another name than it has.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with everything that a terminal would act on spelled out as `\u{…}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            hazard if is_hazard(hazard) => safe.extend(hazard.escape_unicode()),
            harmless => safe.push(harmless),
        }
    }
    Cow::Owned(safe)
}

/// A JSON document with every such character inside its strings as `\uXXXX`. The document means the same.
///
/// JSON text has escaped the lower control characters already (RFC 8259, section 7), so whatever of them
/// is left is white space between the members.
pub(crate) fn visible_json(json: String) -> String {
    if !json.contains(is_json_hazard) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if !is_json_hazard(character) {
            safe.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing into a String cannot fail.
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

/// Whether showing this character does more than draw a glyph.
pub(crate) fn is_hazard(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

fn is_json_hazard(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}') || is_invisible(character)
}

/// Line separators, zero-width characters, marks of direction, tags.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harmless_name_stays_as_it_is() {
        for name in ["pump-17", "Gerät №5", "設備", "a\\b"] {
            assert_eq!(visible(name), name);
        }
    }

    #[test]
    fn escape_sequences_and_marks_of_direction_are_spelled_out() {
        assert_eq!(visible("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(visible("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(visible("\u{202e}gnp.exe"), "\\u{202e}gnp.exe");
        assert_eq!(visible("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_its_teeth() {
        let name = "a\u{9b}31m\u{202e}\u{e0041}b\n";
        let json = visible_json(serde_json::to_string_pretty(&[name]).unwrap());
        assert_eq!(json, "[\n  \"a\\u009b31m\\u202e\\udb40\\udc41b\\n\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [name]);
    }
}
