//! A key-encryption key derived from a passphrase: Argon2id (RFC 9106) over it and a salt that stands in the
//! key's note. Whoever starts the server, or unlocks it, brings the passphrase; nothing keeps it.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use domain::Secret;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use store::{KekNote, KeyError, KeyProvider, LocalKek};
use zeroize::Zeroizing;

/// What the ids of these keys begin with.
pub const WORD: &str = "passphrase";

/// Twice the memory that OWASP's password page asks for: a start may take a moment.
const MEMORY_KIB: u32 = 38_912;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
/// The shortest passphrase for a new key.
const LEAST_CHARS: usize = 12;

/// Passphrases that are held ready for the moment of opening.
#[derive(Default)]
pub struct Passphrases {
    offered: Mutex<Vec<Secret>>,
}

/// How a key is derived; what a note keeps of it.
#[derive(Serialize, Deserialize)]
struct Recipe {
    salt: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Passphrases {
    pub(super) fn offer(&self, passphrases: Vec<Secret>) {
        *self.offered.lock() = passphrases;
    }

    pub(super) fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
        let recipe: Recipe = serde_json::from_value(note.parameters.clone())
            .map_err(|error| KeyError(format!("the note of this key cannot be read: {error}")))?;
        let offered = self.offered.lock().clone();
        if offered.is_empty() {
            return Err(KeyError("it waits for its passphrase: muster secrets unlock".to_owned()));
        }
        for passphrase in &offered {
            let kek = LocalKek::new(note.id.clone(), recipe.derive(passphrase.expose())?);
            if note.is_of(&kek) {
                return Ok(Arc::new(kek));
            }
        }
        Err(KeyError("the passphrase is not the one of this key".to_owned()))
    }

    pub(super) fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
        let offered = self.offered.lock().clone();
        let passphrase = offered.last().ok_or_else(|| {
            KeyError("a new key needs its passphrase: muster secrets unlock at the first start, else muster secrets kek add".to_owned())
        })?;
        if passphrase.expose().chars().count() < LEAST_CHARS {
            return Err(KeyError(format!("a passphrase has at least {LEAST_CHARS} characters")));
        }
        let recipe = Recipe::fresh()?;
        let id = format!("{WORD}:{}", super::next_number(known, WORD));
        let kek = LocalKek::new(id.clone(), recipe.derive(passphrase.expose())?);
        let parameters = serde_json::to_value(&recipe).map_err(|error| KeyError(error.to_string()))?;
        Ok((KekNote::new(id, parameters), Arc::new(kek)))
    }
}

impl Recipe {
    fn fresh() -> Result<Recipe, KeyError> {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt)
            .map_err(|_| KeyError("the operating system has no random numbers".to_owned()))?;
        let salt = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Recipe { salt, memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES })
    }

    fn derive(&self, passphrase: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let failed = |error: argon2::Error| KeyError(format!("the key cannot be derived: {error}"));
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(failed)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), self.salt.as_bytes(), &mut *key)
            .map_err(failed)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering(passphrases: &[&str]) -> Passphrases {
        let all = Passphrases::default();
        all.offer(passphrases.iter().map(|text| Secret::new(*text)).collect());
        all
    }

    #[test]
    fn the_right_passphrase_among_several_opens_and_no_other() {
        let (note, kek) = offering(&["correct horse battery"]).add(&[]).unwrap();
        let note = note.checked(&*kek).unwrap();
        assert_eq!(note.id, "passphrase:1");
        assert!(!note.parameters.to_string().contains("horse"));
        assert!(offering(&["wrong horse battery", "correct horse battery"]).open(&note).is_ok());
        let wrong = offering(&["wrong horse battery"]).open(&note).err().unwrap();
        assert!(wrong.0.contains("not the one"), "{wrong}");
        let none = offering(&[]).open(&note).err().unwrap();
        assert!(none.0.contains("muster secrets unlock"), "{none}");
    }

    #[test]
    fn the_same_passphrase_makes_another_key_each_time() {
        let same = offering(&["correct horse battery"]);
        let (_, one) = same.add(&[]).unwrap();
        let (_, two) = same.add(&[]).unwrap();
        assert!(two.unwrap(&one.wrap(&[1; 32], b"").unwrap(), b"").is_err());
    }

    #[test]
    fn a_short_passphrase_makes_no_key() {
        assert!(offering(&["short"]).add(&[]).is_err());
    }
}
