//! The server's own keys: opened once at the start, wiped when dropped.

use aws_lc_rs::digest::{SHA3_256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use domain::{CredentialKeys, DeviceKey, DeviceRecord, Generation, Secret, TenantId, Timestamp, Verifier};
use zeroize::Zeroizing;

use super::token::{Resolved, TokenKeys};
use super::vault::{Kind, Place, Unsealed, Vault};
use super::{Key, random};
use crate::StoreError;

/// The number of the first key of each kind; rotation will count on from here.
const FIRST: u8 = 1;

/// The keys behind tokens, verifiers and the journal's chain.
pub struct Keys {
    token: TokenKeys,
    pepper: hmac::Key,
    journal: hmac::Key,
}

impl Keys {
    /// Opens the keys, or makes them where `first_start` says that there can be none yet.
    pub(crate) fn open(vault: &Vault, first_start: bool, now: Timestamp) -> Result<Keys, StoreError> {
        let kinds = [Kind::TokenKey, Kind::Pepper, Kind::JournalKey];
        if first_start && vault.reveal(place(Kind::TokenKey))?.is_none() {
            let fresh: Result<Vec<Unsealed>, StoreError> = kinds.into_iter().map(fresh_key).collect();
            vault.seal(&fresh?, now)?;
        }
        let key = |kind| existing(vault, place(kind));
        Ok(Keys {
            token: TokenKeys::new(FIRST, &*key(Kind::TokenKey)?),
            pepper: hmac::Key::new(HMAC_SHA256, key(Kind::Pepper)?.as_slice()),
            journal: hmac::Key::new(HMAC_SHA256, key(Kind::JournalKey)?.as_slice()),
        })
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

    /// The number of the key that new journal entries are chained with.
    pub(crate) fn journal_key_id(&self) -> u32 {
        u32::from(FIRST)
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

fn place(kind: Kind) -> Place {
    Place { tenant: 0, kind, record: u64::from(FIRST), generation: 1 }
}

fn fresh_key(kind: Kind) -> Result<Unsealed, StoreError> {
    Ok(Unsealed { place: place(kind), clear: Zeroizing::new(random::<32>()?.to_vec()) })
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
