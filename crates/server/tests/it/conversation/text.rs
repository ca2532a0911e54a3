//! Texts with variables.

use std::collections::BTreeMap;

/// What variables stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The text with all its variables replaced.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut pieces = text.split("${");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = piece.split_once('}').expect("a variable ends with }");
            filled += self.0.get(name).unwrap_or_else(|| panic!("${{{name}}} was not seen before"));
            filled += rest;
        }
        filled
    }

    /// Compares what was heard; a variable that is seen for the first time is bound.
    pub(super) fn expect(&mut self, expected: &str, heard: &str, told: &str) {
        assert!(self.matches(expected, heard), "{told}\nexpected {expected}\nheard    {heard}");
    }

    fn matches(&mut self, expected: &str, heard: &str) -> bool {
        let Some((literal, rest)) = expected.split_once("${") else { return expected == heard };
        let (name, rest) = rest.split_once('}').expect("a variable ends with }");
        let Some(heard) = heard.strip_prefix(literal) else { return false };
        let value = self
            .0
            .get(name)
            .cloned()
            .unwrap_or_else(|| heard.chars().take_while(char::is_ascii_alphanumeric).collect());
        let Some(heard) = heard.strip_prefix(value.as_str()) else { return false };
        self.set(name, value.as_str());
        !value.is_empty() && self.matches(rest, heard)
    }
}

/// The bytes of a body: text, `@N` for N blanks in JSON quotes, or `hex:…`.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    if let Some(length) = text.strip_prefix('@') {
        return vec![b' '; length.parse().unwrap()];
    }
    match text.strip_prefix("hex:") {
        Some(hex) => testkit::mqtt::from_hex(hex).unwrap(),
        None => text.as_bytes().to_vec(),
    }
}
