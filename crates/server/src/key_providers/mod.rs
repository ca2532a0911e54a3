//! Where key-encryption keys come from (secrets-at-rest page, section 5).
//!
//! A key's id begins with the word of its provider, so the keys of one server may come from several: after a
//! change of `keys.provider` the older keys are still found where they are.

pub mod credential;
pub mod file;
pub mod passphrase;
pub mod pkcs11;
pub mod terminal;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use domain::Secret;
use store::{KekNote, KeyError, KeyProvider, KeySource};
use zeroize::Zeroizing;

use crate::config::{self, PassphraseFrom, Provider};
use crate::layout::Layout;

/// Every provider, and which of them the next key comes from.
pub struct KeySources {
    next: Provider,
    file: file::Files,
    credential: credential::Credentials,
    passphrase: passphrase::Passphrases,
    pkcs11: pkcs11::Module,
}

impl KeySources {
    /// The providers of these settings. Reads no key yet.
    pub fn new(keys: &config::Keys, layout: &Layout) -> KeySources {
        KeySources {
            next: keys.provider,
            file: file::Files::new(layout),
            credential: credential::Credentials::of_environment(&keys.credential),
            passphrase: passphrase::Passphrases::default(),
            pkcs11: pkcs11::Module::new(&keys.pkcs11),
        }
    }

    /// Looks at what must not be served with at all.
    ///
    /// # Errors
    /// If a key's file is open to others.
    pub fn check(&self) -> anyhow::Result<()> {
        self.file.check()
    }

    /// The passphrases that this start is given.
    ///
    /// # Errors
    /// If the place where they come from cannot be read.
    pub fn ask(&self, from: PassphraseFrom) -> anyhow::Result<()> {
        let asks = self.next == Provider::Passphrase || matches!(from, PassphraseFrom::Descriptor(_));
        if asks {
            self.passphrase.offer(terminal::passphrases(from).context("cannot read the passphrase")?);
        }
        Ok(())
    }
}

impl KeySource for KeySources {
    fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
        match note.provider() {
            file::WORD => self.file.open(note),
            credential::WORD => self.credential.open(note),
            passphrase::WORD => self.passphrase.open(note),
            pkcs11::WORD => self.pkcs11.open(note),
            other => Err(KeyError(format!("this server knows no keys of the provider `{other}`"))),
        }
    }

    fn offer(&self, passphrases: Vec<Secret>) {
        self.passphrase.offer(passphrases);
    }

    fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
        match self.next {
            Provider::File => self.file.add(known),
            Provider::Credential => self.credential.add(known),
            Provider::Passphrase => self.passphrase.add(known),
            Provider::Pkcs11 => self.pkcs11.add(known),
        }
    }
}

/// The number of the next key of a provider: 1 for the first, and never one that was used.
fn next_number(known: &[KekNote], word: &str) -> u32 {
    let of_ours = known.iter().filter(|note| note.provider() == word);
    of_ours.map(|note| number(&note.id)).max().map_or(1, |last| last.saturating_add(1))
}

/// The number at an id's end; the first key's has none.
fn number(id: &str) -> u32 {
    id.rsplit(':').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// 32 bytes, or 64 hexadecimal digits.
fn parse_key(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(Zeroizing::new(raw));
    }
    let digits = bytes.trim_ascii_end();
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0_u8, |byte, digit| {
            let nibble = char::from(*digit).to_digit(16)?;
            Some(byte << 4 | u8::try_from(nibble).ok()?)
        })?;
    }
    Some(key)
}

/// The bytes of a file that holds a secret: refused where others may read it.
fn read_private(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    use std::os::unix::fs::PermissionsExt;

    let told = path.display();
    let mode = std::fs::metadata(path).with_context(|| format!("cannot read {told}"))?.permissions().mode();
    anyhow::ensure!(
        mode & 0o077 == 0,
        "{told} is open to others (mode {:03o}); close it with: chmod 600 {told}",
        mode & 0o777
    );
    Ok(Zeroizing::new(std::fs::read(path).with_context(|| format!("cannot read {told}"))?))
}

/// What an operator is told of a key that cannot be had.
fn told(error: &anyhow::Error) -> KeyError {
    KeyError(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_number_is_never_given_twice() {
        let notes = |ids: &[&str]| ids.iter().map(|id| KekNote::new(*id, Value::Null)).collect::<Vec<_>>();
        assert_eq!(next_number(&notes(&["file", "file:7", "passphrase:9"]), "file"), 8);
        assert_eq!(next_number(&notes(&["file"]), "file"), 2);
        assert_eq!(next_number(&notes(&["passphrase:1"]), "file"), 1);
    }

    #[test]
    fn hexadecimal_digits_are_a_key_too_and_anything_else_is_none() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n";
        assert_eq!(parse_key(hex.as_bytes()).unwrap()[31], 0x1f);
        assert_eq!(*parse_key(&[b'a'; 32]).unwrap(), [b'a'; 32]);
        for bad in [&b""[..], &[b'a'; 31], &[b'g'; 64], &[b'a'; 66]] {
            assert!(parse_key(bad).is_none());
        }
    }
}
