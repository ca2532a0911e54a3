//! Credentials and group secrets in clear, for whoever may see them.

use domain::credentials::Basic;
use domain::{Credential, DeviceKey, DeviceRecord, Generation, Held, Secret, SecretId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::vault::{Place, Unsealed};
use crate::driver::params;
use crate::{Store, StoreError};

/// 255 characters of client id and user name, 1024 of password, four bytes each, and as much again for JSON.
const MOST_CLEAR_BYTES: usize = 16 << 10;

/// Credentials on their way to be sealed, and where they belong.
#[derive(Debug)]
pub struct ToSeal {
    /// The tenant of the device.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceKey,
    /// The generation that names them.
    pub generation: Generation,
    /// The credentials.
    pub held: Held,
}

impl Store {
    /// What a device holds, in clear; `None` where it has no credentials.
    ///
    /// # Errors
    /// [`StoreError::Locked`]; [`StoreError::SecretUnreadable`]; what the database says.
    pub fn credential_in_clear(&self, device: &DeviceRecord) -> Result<Option<Held>, StoreError> {
        match device.credential {
            Credential::None => Ok(None),
            Credential::Derived(generation) => {
                Ok(Some(Held::Token(self.keys()?.mint(device.tenant, device.key, generation))))
            }
            Credential::Token(generation, _)
            | Credential::Basic(generation, ..)
            | Credential::Certificate(generation, _) => {
                self.sealed_credential(device.tenant, device.key, generation).map(Some)
            }
        }
    }

    /// What was chosen as the credentials of a device's generation.
    ///
    /// # Errors
    /// [`StoreError::SecretUnreadable`]; what the database says.
    pub fn sealed_credential(
        &self,
        tenant: TenantId,
        device: DeviceKey,
        generation: Generation,
    ) -> Result<Held, StoreError> {
        let place = Place::of_device(tenant, device, generation);
        let clear = self.vault().reveal(place)?;
        let clear = clear.ok_or_else(|| StoreError::SecretUnreadable(format!("{place} is missing")))?;
        decode(&clear).ok_or_else(|| StoreError::SecretUnreadable(format!("{place} has another shape")))
    }

    /// A group secret; `None` where there is none of that number.
    ///
    /// # Errors
    /// [`StoreError::SecretUnreadable`]; what the database says.
    pub fn group_secret_in_clear(
        &self,
        tenant: TenantId,
        secret: SecretId,
    ) -> Result<Option<Secret>, StoreError> {
        let text = "SELECT generation FROM group_secrets WHERE id = ? AND tenant = ?";
        let read =
            |view: &crate::View<'_>| view.sql.first(text, params![secret, tenant], |row| row.unsigned(0));
        let Some(generation) = self.read(read)? else { return Ok(None) };
        let place = Place::of_group_secret(tenant, secret, generation);
        let Some(clear) = self.vault().reveal(place)? else { return Ok(None) };
        let text = std::str::from_utf8(&clear)
            .map_err(|_| StoreError::SecretUnreadable(format!("{place} is no text")))?;
        Ok(Some(Secret::new(text)))
    }

    /// Seals what operators chose as credentials; synced when this returns, before any row that names them.
    ///
    /// # Errors
    /// [`StoreError::Locked`]; what the database says.
    pub fn seal_credentials(&self, values: &[ToSeal], now: Timestamp) -> Result<(), StoreError> {
        let unsealed = |value: &ToSeal| {
            let place = Place::of_device(value.tenant, value.device, value.generation);
            Ok(Unsealed { place, clear: encode(&value.held)? })
        };
        let unsealed: Vec<_> = values.iter().map(unsealed).collect::<Result<_, StoreError>>()?;
        self.vault().seal(&unsealed, now)
    }
}

/// The shape in which chosen credentials rest, version 1.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Resting<'a> {
    Token { v: u32, token: &'a str },
    MqttBasic { v: u32, client_id: &'a str, user_name: &'a str, password: &'a str },
    X509 { v: u32, text: &'a str },
}

/// The same, as it is read.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Rested {
    Token { token: String },
    MqttBasic { client_id: String, user_name: String, password: String },
    X509 { text: String },
}

pub(crate) fn encode(held: &Held) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let resting = match held {
        Held::Token(token) => Resting::Token { v: 1, token: token.expose() },
        Held::Basic(basic) => Resting::MqttBasic {
            v: 1,
            client_id: &basic.client_id,
            user_name: &basic.user_name,
            password: basic.password.expose(),
        },
        Held::Certificate(text) => Resting::X509 { v: 1, text },
    };
    // Larger than the longest secret, so that the buffer never moves and leaves a copy behind.
    let mut clear = Zeroizing::new(Vec::with_capacity(MOST_CLEAR_BYTES));
    serde_json::to_writer(&mut *clear, &resting)
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(clear)
}

fn decode(clear: &[u8]) -> Option<Held> {
    Some(match serde_json::from_slice(clear).ok()? {
        Rested::Token { token } => Held::Token(Secret::new(token)),
        Rested::MqttBasic { client_id, user_name, password } => {
            Held::Basic(Basic { client_id, user_name, password: Secret::new(password) })
        }
        Rested::X509 { text } => Held::Certificate(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_comes_back_as_it_was() {
        let token = decode(&encode(&Held::Token(Secret::new("a\"b"))).unwrap()).unwrap();
        assert!(matches!(token, Held::Token(token) if token.expose() == "a\"b"));
        let basic = Basic { client_id: "c".into(), user_name: String::new(), password: Secret::new("p") };
        let Some(Held::Basic(back)) = decode(&encode(&Held::Basic(basic)).unwrap()) else { panic!() };
        assert_eq!((back.client_id.as_str(), back.user_name.as_str()), ("c", ""));
        assert_eq!(back.password.expose(), "p");
        let longest = "M".repeat(domain::credentials::MAX_CERTIFICATE_CHARS);
        let back = decode(&encode(&Held::Certificate(longest.clone())).unwrap()).unwrap();
        assert!(matches!(back, Held::Certificate(text) if text == longest));
        assert!(decode(b"{}").is_none());
    }
}
