//! Whether an answer is what was recorded, but for ids, moments and tokens, which have to be the same wherever the
//! same one was recorded.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA3_256, digest};
use serde_json::{Map, Value};

/// How those words begin that stand for a hash.
const HASH_OF: &str = "sha3-256 of ";

/// The version of each thing: as it was recorded last, and as it is here.
pub(super) type Versions = HashMap<String, (i64, i64)>;

/// A comparison, and what it found.
pub(super) struct Alike<'a> {
    pub(super) bound: &'a mut HashMap<String, String>,
    pub(super) versions: &'a mut Versions,
    pub(super) found: Vec<String>,
}

impl Alike<'_> {
    pub(super) fn compare(&mut self, place: &str, wanted: &Value, got: &Value) {
        match (wanted, got) {
            (Value::Object(wanted), Value::Object(got)) => {
                for (key, value) in wanted {
                    match got.get(key) {
                        Some(got) if key == "version" && self.follows(wanted, value, got) => {}
                        Some(got) => self.compare(&format!("{place}.{key}"), value, got),
                        None => self.found.push(format!("{place}.{key} is missing")),
                    }
                }
                for key in got.keys().filter(|key| !wanted.contains_key(*key)) {
                    self.found.push(format!("{place}.{key} is too much"));
                }
            }
            (Value::Array(wanted), Value::Array(got)) => {
                if wanted.len() != got.len() {
                    self.found.push(format!("{place} has {} parts for {}", got.len(), wanted.len()));
                }
                for (at, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                    self.compare(&format!("{place}[{at}]"), wanted, got);
                }
            }
            (Value::String(wanted), got) if wanted.contains('<') => {
                if !self.stands_for(wanted, got) {
                    self.found.push(format!("{place} is {got} for {wanted}"));
                }
            }
            (Value::String(wanted), Value::String(got)) if without_class(wanted) == *got => {}
            (wanted, got) if wanted == got => {}
            (wanted, got) => self.found.push(format!("{place} is {got} for {wanted}")),
        }
    }

    /// Whether a version has risen as much as the recorded one. What was refused here has raised it there only.
    fn follows(&mut self, wanted: &Map<String, Value>, value: &Value, got: &Value) -> bool {
        let (Some(of), Some(recorded), Some(ours)) = (identity(wanted), value.as_i64(), got.as_i64()) else {
            return false;
        };
        let (before, here) = self.versions.get(of).copied().unwrap_or((recorded, recorded));
        self.versions.insert(of.to_owned(), (recorded, ours));
        ours - here == recorded - before
    }

    fn stands_for(&mut self, wanted: &str, got: &Value) -> bool {
        if wanted == "<timestamp>" {
            return got.is_i64();
        }
        let Value::String(got) = got else { return false };
        let (Some(start), Some(end)) = (wanted.find('<'), wanted.find('>')) else { return wanted == got };
        let word = &wanted[start + 1..end];
        if let Some((count, text)) = word.split_once(" x ")
            && let Ok(count) = count.parse()
        {
            return *got == wanted.replacen(&format!("<{word}>"), &text.repeat(count), 1);
        }
        let Some(held) =
            got.strip_prefix(&wanted[..start]).and_then(|got| got.strip_suffix(&wanted[end + 1..]))
        else {
            return false;
        };
        match word {
            "jwt" => held.matches('.').count() == 2,
            // Ours have up to 32 characters.
            _ if word.starts_with("token20:") => {
                (20..=32).contains(&held.len())
                    && held.bytes().all(|byte| byte.is_ascii_alphanumeric())
                    && self.same(word, held)
            }
            _ if word.starts_with("base64 der:") => self.bound.get(word).is_some_and(|bound| bound == held),
            _ if word.starts_with(HASH_OF) => hash(word, self.bound).is_some_and(|hash| hash == held),
            _ if word.starts_with("uuid:") => held.len() == 36 && self.same(word, held),
            _ => wanted == got,
        }
    }

    /// Whether it is what stood there before; the first one counts.
    fn same(&mut self, word: &str, held: &str) -> bool {
        self.bound.entry(word.to_owned()).or_insert_with(|| held.to_owned()) == held
    }
}

/// The hash that a word stands for: of a text, which may have quotes around it, or of what another word stands for.
pub(super) fn hash(word: &str, bound: &HashMap<String, String>) -> Option<String> {
    let text = word.strip_prefix(HASH_OF)?;
    let text = bound.get(text).map_or_else(|| text.trim_matches('"'), String::as_str);
    let hash = digest(&SHA3_256, text.as_bytes());
    Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a thing is called in the recording.
pub(super) fn identity(members: &Map<String, Value>) -> Option<&str> {
    members.get("id")?.get("id")?.as_str()
}

/// `Line 3: SomeException: Invalid device credentials: text` without what only Java says.
fn without_class(text: &str) -> String {
    let Some((line, rest)) = text.split_once(": ").filter(|(line, _)| line.starts_with("Line ")) else {
        return text.to_owned();
    };
    let rest = rest.split_once("Exception: ").map_or(rest, |(_, rest)| rest);
    format!("{line}: {}", rest.strip_prefix("Invalid device credentials: ").unwrap_or(rest))
}
