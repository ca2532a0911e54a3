//! The keys that encrypt data keys, and the ports behind which they live.

use std::sync::Arc;

use domain::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

use super::envelope::{NONCE_BYTES, decrypt, encrypt};

/// Why a key-encryption key did not serve. Holds no key material.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);

/// Wraps data keys. Implementations keep the key-encryption key: in a file, a machine's TPM, a service.
pub trait KeyProvider: Send + Sync {
    /// The key's name, 1 to 64 ASCII characters; it stands in every sealed value.
    fn id(&self) -> &str;

    /// Wraps a data key; `aad` says what the key is for and comes back at [`KeyProvider::unwrap`].
    ///
    /// # Errors
    /// Where the key cannot be used now.
    fn wrap(&self, dek: &[u8; 32], aad: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Opens what [`KeyProvider::wrap`] made.
    ///
    /// # Errors
    /// Where it does not open, or the key cannot be used now.
    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError>;
}

/// What is remembered of a key-encryption key. Never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KekNote {
    /// Its name, 1 to 64 ASCII characters: the kind of its provider, and behind a colon what tells it from
    /// others of that kind.
    pub id: String,
    /// What its provider needs to find it again; an object. Never a secret.
    pub parameters: Value,
    /// A data key that it wrapped, by which it is recognised; empty where it was used before there were notes.
    pub check: Vec<u8>,
}

/// Where key-encryption keys come from.
pub trait KeySource: Send + Sync {
    /// The key of a note, if it can be had now.
    ///
    /// # Errors
    /// Why it cannot, for the operator.
    fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError>;

    /// Makes a new key, or introduces one that an operator has made, beside those that are `known`. The note
    /// needs no check yet. What was made and never noted may be given again.
    ///
    /// # Errors
    /// Why there is none, for the operator.
    fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError>;

    /// Holds passphrases ready for what is asked next, in the place of those from before.
    fn offer(&self, _passphrases: Vec<Secret>) {}
}

/// What the wrapped data key of a note's check is bound to.
const CHECK_AAD: &[u8] = b"muster/kek-check/v1";

impl KekNote {
    /// A note of a key that has not been used yet.
    pub fn new(id: impl Into<String>, parameters: Value) -> KekNote {
        KekNote { id: id.into(), parameters, check: Vec::new() }
    }

    /// The same with a check that `kek` alone opens.
    ///
    /// # Errors
    /// Where the key cannot be used now.
    pub fn checked(self, kek: &dyn KeyProvider) -> Result<KekNote, KeyError> {
        let dek = super::random::<32>().map_err(|error| KeyError(error.to_string()))?;
        Ok(KekNote { check: kek.wrap(&dek, CHECK_AAD)?, ..self })
    }

    /// Whether `kek` is the key of this note, as far as the note can tell.
    pub fn is_of(&self, kek: &dyn KeyProvider) -> bool {
        self.id == kek.id() && (self.check.is_empty() || kek.unwrap(&self.check, CHECK_AAD).is_ok())
    }

    /// The kind of its provider.
    pub fn provider(&self) -> &str {
        self.id.split(':').next().unwrap_or_default()
    }
}

/// One key that is at hand already.
pub struct AtHand(pub Arc<dyn KeyProvider>);

impl KeySource for AtHand {
    fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
        if note.id == self.0.id() {
            return Ok(Arc::clone(&self.0));
        }
        Err(KeyError(format!("the key `{}` is not at hand, `{}` is", note.id, self.0.id())))
    }

    fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
        if known.iter().any(|note| note.id == self.0.id()) {
            return Err(KeyError("there is no other key at hand".to_owned()));
        }
        Ok((KekNote::new(self.0.id(), Value::Object(serde_json::Map::new())), Arc::clone(&self.0)))
    }
}

/// A key-encryption key in this process's memory: AES-256-GCM, wiped when dropped.
pub struct LocalKek {
    id: String,
    key: Zeroizing<[u8; 32]>,
}

impl LocalKek {
    /// A provider over 32 bytes that nobody can guess.
    pub fn new(id: impl Into<String>, key: Zeroizing<[u8; 32]>) -> LocalKek {
        LocalKek { id: id.into(), key }
    }

    fn wrap_with(&self, nonce: [u8; NONCE_BYTES], dek: &[u8; 32], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
        encrypt(&self.key, nonce, aad, dek)
    }
}

impl std::fmt::Debug for LocalKek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalKek").field("id", &self.id).finish_non_exhaustive()
    }
}

impl KeyProvider for LocalKek {
    fn id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, dek: &[u8; 32], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce = super::random::<NONCE_BYTES>().map_err(|error| KeyError(error.to_string()))?;
        self.wrap_with(*nonce, dek, aad)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let refused = || KeyError(format!("a data key does not open with {}", self.id));
        let clear = decrypt(&self.key, aad, wrapped).ok_or_else(refused)?;
        let dek: &[u8; 32] = clear.as_slice().try_into().map_err(|_| refused())?;
        Ok(Zeroizing::new(*dek))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A provider whose nonce is known beforehand: for the page's vector.
    pub(in crate::secrets) struct FixedNonce(LocalKek, [u8; NONCE_BYTES]);

    impl FixedNonce {
        pub(in crate::secrets) fn new(id: &str, key: [u8; 32], nonce: [u8; NONCE_BYTES]) -> FixedNonce {
            FixedNonce(LocalKek::new(id, Zeroizing::new(key)), nonce)
        }
    }

    impl KeyProvider for FixedNonce {
        fn id(&self) -> &str {
            self.0.id()
        }

        fn wrap(&self, dek: &[u8; 32], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.0.wrap_with(self.1, dek, aad)
        }

        fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
            self.0.unwrap(wrapped, aad)
        }
    }

    #[test]
    fn a_note_knows_its_key_again() {
        let [kek, other] = [1, 2].map(|byte| LocalKek::new("k:1", Zeroizing::new([byte; 32])));
        let note = KekNote::new("k:1", Value::Null).checked(&kek).unwrap();
        assert!(note.is_of(&kek) && !note.is_of(&other));
        assert!(!KekNote { id: "k:2".to_owned(), ..note.clone() }.is_of(&kek));
        assert_eq!(note.provider(), "k");
    }

    #[test]
    fn a_wrapped_key_opens_with_its_own_key_and_its_own_words_only() {
        let (kek, other) = ([1, 2]).map(|byte| LocalKek::new("k", Zeroizing::new([byte; 32]))).into();
        let wrapped = kek.wrap(&[9; 32], b"words").unwrap();
        assert_eq!(*kek.unwrap(&wrapped, b"words").unwrap(), [9; 32]);
        assert!(kek.unwrap(&wrapped, b"other words").is_err());
        assert!(other.unwrap(&wrapped, b"words").is_err());
        assert_eq!(format!("{kek:?}"), r#"LocalKek { id: "k", .. }"#);
    }
}
