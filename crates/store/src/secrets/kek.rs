//! The key that encrypts data keys, and the port behind which it lives.

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
    fn a_wrapped_key_opens_with_its_own_key_and_its_own_words_only() {
        let (kek, other) = ([1, 2]).map(|byte| LocalKek::new("k", Zeroizing::new([byte; 32]))).into();
        let wrapped = kek.wrap(&[9; 32], b"words").unwrap();
        assert_eq!(*kek.unwrap(&wrapped, b"words").unwrap(), [9; 32]);
        assert!(kek.unwrap(&wrapped, b"other words").is_err());
        assert!(other.unwrap(&wrapped, b"words").is_err());
        assert_eq!(format!("{kek:?}"), r#"LocalKek { id: "k", .. }"#);
    }
}
