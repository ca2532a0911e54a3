//! Registration ids: the names devices give themselves.

use crate::{Entropy, Refusal};

/// The most characters a name, a type or a label may have (thingsboard page, section 6.1).
pub const MAX_CHARS: usize = 255;

/// A name that keeps the rules: not blank, at most [`MAX_CHARS`] characters, no markup, no template, no U+0000.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Trims and checks what a device called itself; `None` where it sent nothing (`""` counts as nothing).
    ///
    /// # Errors
    /// `name-blank`, `name-too-long` or `name-malformed` (thingsboard page, sections 2 and 3.3).
    pub fn from_device(raw: Option<&str>) -> Result<Option<Name>, Refusal> {
        raw.filter(|raw| !raw.is_empty()).map(Name::parse).transpose()
    }

    /// Trims and checks a name.
    ///
    /// # Errors
    /// As [`Name::from_device`].
    pub fn parse(raw: &str) -> Result<Name, Refusal> {
        if raw.contains('\0') {
            return Err(Refusal::NameMalformed);
        }
        let name = raw.trim_matches(|c| c <= ' ');
        if name.is_empty() {
            return Err(Refusal::NameBlank);
        }
        if name.chars().count() > MAX_CHARS {
            return Err(Refusal::NameTooLong);
        }
        if has_markup(name) || has_template(name) {
            return Err(Refusal::NameMalformed);
        }
        Ok(Name(name.to_owned()))
    }

    /// A name of 20 random characters `[A-Za-z0-9]`, for a device that brought none.
    pub fn random(entropy: &mut dyn Entropy) -> Name {
        Name(random_text(20, entropy))
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `length` random characters `[A-Za-z0-9]`, each equally likely.
pub fn random_text(length: usize, entropy: &mut dyn Entropy) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 32];
    while text.len() < length {
        entropy.fill(&mut bytes);
        // 248 is the largest multiple of 62 in a byte: above it some characters would come more often.
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(byte % 62)]);
        text.extend(fair.take(length - text.len()).map(char::from));
    }
    text
}

/// Whether a text holds neither markup nor a template.
pub fn is_plain(text: &str) -> bool {
    !has_markup(text) && !has_template(text)
}

/// A `<` that could open an end tag, a comment or a processing instruction, or a tag that ends.
fn has_markup(name: &str) -> bool {
    let opens = |rest: &str| {
        rest.starts_with(['/', '!', '?'])
            || (rest.starts_with(|next: char| next.is_ascii_alphabetic()) && rest.contains('>'))
    };
    name.match_indices('<').any(|(at, _)| opens(&name[at + 1..]))
}

fn has_template(name: &str) -> bool {
    name.find("{{").is_some_and(|at| name[at + 2..].contains("}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_name_are_cut_and_blanks_alone_are_refused() {
        assert_eq!(Name::parse("  a b\t").unwrap().as_str(), "a b");
        assert_eq!(Name::parse(" \t "), Err(Refusal::NameBlank));
        assert_eq!(Name::from_device(Some("")), Ok(None));
    }

    #[test]
    fn a_name_has_at_most_255_characters() {
        assert!(Name::parse(&"ü".repeat(255)).is_ok());
        assert_eq!(Name::parse(&"a".repeat(256)), Err(Refusal::NameTooLong));
    }

    #[test]
    fn markup_templates_and_nul_are_refused_and_arithmetic_is_not() {
        for bad in ["<b>x</b>", "x<!-- y", "a{{b}}c", "a\0b", "\0"] {
            assert_eq!(Name::parse(bad), Err(Refusal::NameMalformed), "{bad:?}");
        }
        for good in ["a < b", "1<2", "a<b & c", "{{", "}}{{", "pump {17}"] {
            assert!(Name::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_random_name_has_20_letters_and_digits() {
        struct Counting(u8);
        impl Entropy for Counting {
            fn fill(&mut self, bytes: &mut [u8]) {
                for byte in bytes {
                    self.0 = self.0.wrapping_add(97);
                    *byte = self.0;
                }
            }
        }
        let name = Name::random(&mut Counting(0));
        assert_eq!(name.as_str().len(), 20);
        assert!(name.as_str().chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
