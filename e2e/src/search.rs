//! Looking for secrets in whatever they could have leaked into, in every form a leak is likely to take.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::mqtt::to_hex;

/// The shortest thing that can be looked for: shorter ones would be found by chance.
const SHORTEST: usize = 8;

/// How many first bytes of a form select where it is compared in full.
const HEAD: usize = 4;

/// Secrets to look for.
#[derive(Debug, Default)]
pub struct Search {
    secrets: Vec<(String, Vec<u8>)>,
    forms: HashMap<[u8; HEAD], Vec<Form>>,
    /// One bit for the first three bytes of each form: most places are told apart by it.
    begins: Vec<u64>,
}

#[derive(Debug)]
struct Form {
    name: &'static str,
    bytes: Vec<u8>,
    secret: usize,
}

/// A place where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the secret is: its own words, never its text.
    pub what: String,
    /// How it is spelled there.
    pub form: &'static str,
    /// Where it begins.
    pub at: usize,
    secret: usize,
}

impl Search {
    /// Adds a secret, with words that say what it is.
    ///
    /// # Panics
    /// If it is so short that it would be found by chance.
    pub fn add(&mut self, what: &str, secret: &[u8]) {
        assert!(secret.len() >= SHORTEST, "{what} is too short to be recognised");
        let number = self.secrets.len();
        self.secrets.push((what.to_owned(), secret.to_vec()));
        for (name, bytes) in forms(secret) {
            self.mark(&bytes);
            let Some(head) = bytes.first_chunk::<HEAD>() else { continue };
            self.forms.entry(*head).or_default().push(Form { name, bytes, secret: number });
        }
    }

    /// How many secrets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Every place where one of them stands, whatever its form.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for (at, head) in bytes.windows(HEAD).enumerate() {
            if self.may_begin(head) {
                self.compare(bytes, at, &mut found);
            }
        }
        found
    }

    /// As [`Search::find`], but this secret may stand there, as it is and no other way.
    #[must_use]
    pub fn find_besides(&self, bytes: &[u8], own: &[u8]) -> Vec<Found> {
        let mut found = self.find(bytes);
        found.retain(|found| {
            let (_, secret) = &self.secrets[found.secret];
            found.form != CLEAR || secret != own
        });
        found
    }

    /// Searches every file below a folder but those named; also the names themselves.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn find_below(&self, folder: &Path, but: &[PathBuf]) -> Result<Vec<(PathBuf, Found)>> {
        let mut found = Vec::new();
        for path in files_below(folder)? {
            if but.contains(&path) {
                continue;
            }
            let name = path.to_string_lossy().into_owned();
            let bytes = fs::read(&path).with_context(|| name.clone())?;
            let here = self.find(name.as_bytes()).into_iter().chain(self.find(&bytes));
            found.extend(here.map(|found| (path.clone(), found)));
        }
        Ok(found)
    }

    fn compare(&self, bytes: &[u8], at: usize, found: &mut Vec<Found>) {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(forms) = rest.first_chunk::<HEAD>().and_then(|head| self.forms.get(head)) else { return };
        for form in forms.iter().filter(|form| rest.starts_with(&form.bytes)) {
            let what = self.secrets[form.secret].0.clone();
            found.push(Found { what, form: form.name, at, secret: form.secret });
        }
    }

    fn mark(&mut self, bytes: &[u8]) {
        self.begins.resize(1 << 18, 0);
        let (word, bit) = place(bytes);
        self.begins[word] |= bit;
    }

    fn may_begin(&self, head: &[u8]) -> bool {
        let (word, bit) = place(head);
        self.begins.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(bytes: &[u8]) -> (usize, u64) {
    let number = bytes.iter().take(3).fold(0, |number, byte| number << 8 | usize::from(*byte));
    (number >> 6, 1 << (number & 63))
}

const CLEAR: &str = "clear";

fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = to_hex(secret);
    let mut forms =
        vec![(CLEAR, secret.to_vec()), ("HEX", hex.to_uppercase().into_bytes()), ("hex", hex.into_bytes())];
    for before in 0..3 {
        let within = base64_within(secret, before);
        let for_addresses = within.iter().map(|letter| match letter {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        });
        forms.push(("base64url", for_addresses.collect()));
        forms.push(("base64", within));
    }
    forms.push(("reversed", secret.iter().rev().copied().collect()));
    forms.push(("bytes as a list", list(secret).into_bytes()));
    forms
}

/// What Rust prints for bytes that somebody forgot to hide.
fn list(secret: &[u8]) -> String {
    secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

/// The letters of base64 (RFC 4648, section 4) that depend on the secret alone, where so many bytes stand
/// before it.
fn base64_within(secret: &[u8], before: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |n: usize| -> Option<u8> {
        let byte = secret.get((n / 8).checked_sub(before)?)?;
        Some(byte >> (7 - n % 8) & 1)
    };
    let letter = |n: usize| -> Option<u8> {
        let value = (0..6).try_fold(0, |value, bit| Some(value << 1 | bits(n * 6 + bit)?))?;
        ALPHABET.get(usize::from(value)).copied()
    };
    (0..(before + secret.len()) * 8 / 6).filter_map(letter).collect()
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"correct horse battery";

    fn forms_found(text: &[u8]) -> Vec<&'static str> {
        let mut search = Search::default();
        search.add("a secret", SECRET);
        search.find(text).iter().map(|found| found.form).collect()
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        assert_eq!(forms_found(b"xcorrect horse batteryx"), [CLEAR]);
        assert_eq!(forms_found(b" 636f727265637420686f7273652062617474657279"), ["hex"]);
        assert_eq!(forms_found(b"636F727265637420686F7273652062617474657279 "), ["HEX"]);
        assert_eq!(forms_found(b"yrettab esroh tcerroc"), ["reversed"]);
        assert_eq!(forms_found(format!("{SECRET:?}").as_bytes()), ["bytes as a list"]);
    }

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_stands() {
        // `correct horse battery`, `x…y`, `xy…z`, encoded by coreutils' base64.
        for text in [
            "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5",
            "eGNvcnJlY3QgaG9yc2UgYmF0dGVyeXk=",
            "eHljb3JyZWN0IGhvcnNlIGJhdHRlcnl6",
        ] {
            assert!(forms_found(text.as_bytes()).contains(&"base64"), "{text}");
        }
    }

    #[test]
    fn what_may_stand_somewhere_may_stand_there_as_it_is_only() {
        let mut search = Search::default();
        search.add("mine", SECRET);
        search.add("another's", b"tr0ub4dor&3");
        assert_eq!(search.find_besides(b"correct horse battery", SECRET), []);
        assert_eq!(search.find_besides(b"tr0ub4dor&3", SECRET).len(), 1);
        assert_eq!(search.find_besides(b"yrettab esroh tcerroc", SECRET).len(), 1);
    }

    #[test]
    fn files_and_their_names_are_searched() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), [b"\x00\xff", SECRET].concat()).unwrap();
        fs::write(folder.path().join("correct horse battery"), "").unwrap();
        let mut search = Search::default();
        search.add("a secret", SECRET);
        assert_eq!(search.find_below(folder.path(), &[]).unwrap().len(), 2);
        let but = [folder.path().join("deep/file")];
        assert_eq!(search.find_below(folder.path(), &but).unwrap().len(), 1);
    }
}
