//! The server's own keys: opened once at the start, wiped when dropped.

use aws_lc_rs::digest::{SHA3_256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use domain::{CredentialKeys, DeviceKey, DeviceRecord, Generation, Secret, TenantId, Timestamp, Verifier};
use zeroize::Zeroizing;

use super::token::{Resolved, TokenKeys};
use super::vault::{Kind, Place, Unsealed, Vault};
use super::{Key, random};
use crate::StoreError;

/// The server's own keys.
const KINDS: [Kind; 3] = [Kind::TokenKey, Kind::Pepper, Kind::JournalKey];

/// The keys behind tokens, verifiers and the journal's chain.
pub struct Keys {
    token: TokenKeys,
    pepper: hmac::Key,
    journal: hmac::Key,
    /// Counts from 1; every one above has lost all before it.
    number: u8,
}

impl Keys {
    /// Opens the keys, or makes them where `first_start` says that there can be none yet.
    pub(crate) fn open(vault: &Vault, first_start: bool, now: Timestamp) -> Result<Keys, StoreError> {
        let newest = vault.newest_keys()?;
        if first_start && newest == 0 {
            Keys::make(vault, now)?;
        }
        let number = u8::try_from(newest.max(1)).unwrap_or(u8::MAX);
        let key = |kind| existing(vault, place(kind, number));
        Ok(Keys {
            token: TokenKeys::new(number, &*key(Kind::TokenKey)?),
            pepper: hmac::Key::new(HMAC_SHA256, key(Kind::Pepper)?.as_slice()),
            journal: hmac::Key::new(HMAC_SHA256, key(Kind::JournalKey)?.as_slice()),
            number,
        })
    }

    /// Makes new keys, which every later opening finds. All that the older ones made is void.
    pub(super) fn make(vault: &Vault, now: Timestamp) -> Result<(), StoreError> {
        let number = u8::try_from(vault.newest_keys()? + 1)
            .map_err(|_| StoreError::Unavailable("the server's keys were made anew too often".to_owned()))?;
        let fresh: Result<Vec<Unsealed>, StoreError> =
            KINDS.into_iter().map(|kind| fresh_key(kind, number)).collect();
        vault.seal(&fresh?, now)
    }

    /// The token of a device's generation: 31 characters `[0-9A-Za-z]`. Always the same for the same three.
    pub fn mint(&self, tenant: TenantId, device: DeviceKey, generation: Generation) -> Secret {
        self.token.mint(tenant, device, generation)
    }

    /// The device that a token names, if the text has the form of one of our tokens. Proves nothing yet.
    pub fn resolve(&self, token: &str) -> Option<Resolved> {
        self.token.resolve(token)
    }

    /// Whether the token is the one that the device holds now. In constant time.
    pub fn confirms(&self, resolved: &Resolved, device: &DeviceRecord) -> bool {
        self.token.confirms(resolved, device)
    }

    /// Signs a report (Ed25519, RFC 8032): the public key and the signature. The key is derived from the
    /// journal's, so that nothing more has to be kept; entries of the journal never begin like its label.
    ///
    /// # Errors
    /// Where the crypto library refuses.
    pub fn sign_report(&self, text: &[u8]) -> Result<([u8; 32], [u8; 64]), StoreError> {
        let seed = hmac::sign(&self.journal, b"muster/report-key/v1\0");
        let refused = || StoreError::Unavailable("the report could not be signed".to_owned());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| refused())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| refused())?;
        let signature = pair.sign(text).as_ref().try_into().map_err(|_| refused())?;
        Ok((public, signature))
    }

    /// What tokens of sessions are signed by (HMAC-SHA-512). Derived from the journal's key like that of reports.
    pub fn session_key(&self) -> Zeroizing<[u8; 64]> {
        let mut key = Zeroizing::new([0; 64]);
        for (half, label) in
            key.chunks_mut(32).zip([b"muster/session-key/v1/0\0", b"muster/session-key/v1/1\0"])
        {
            half.copy_from_slice(hmac::sign(&self.journal, label).as_ref());
        }
        key
    }

    /// The number of the key that new journal entries are chained with.
    pub(crate) fn journal_key_id(&self) -> u32 {
        u32::from(self.number)
    }

    /// The key of a number that a journal entry names.
    pub(crate) fn journal_key(&self, id: u32) -> Option<&hmac::Key> {
        (id == self.journal_key_id()).then_some(&self.journal)
    }
}

impl CredentialKeys for Keys {
    fn verifier(&self, text: &str) -> Verifier {
        let tag = hmac::sign(&self.pepper, text.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Verifier(bytes)
    }

    fn sha3_256_hex(&self, text: &str) -> String {
        digest(&SHA3_256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

fn place(kind: Kind, number: u8) -> Place {
    Place { tenant: 0, kind, record: u64::from(number), generation: 1 }
}

fn fresh_key(kind: Kind, number: u8) -> Result<Unsealed, StoreError> {
    Ok(Unsealed { place: place(kind, number), clear: Zeroizing::new(random::<32>()?.to_vec()) })
}

fn existing(vault: &Vault, place: Place) -> Result<Key, StoreError> {
    let missing = || {
        StoreError::SecretUnreadable(format!(
            "{place} is missing: restore the secrets.db that belongs to this main.db"
        ))
    };
    let clear = vault.reveal(place)?.ok_or_else(missing)?;
    let key: &[u8; 32] = clear.as_slice().try_into().map_err(|_| missing())?;
    Ok(Zeroizing::new(*key))
}
