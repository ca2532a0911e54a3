//! What devices hold, as operators see and set it. Every look at it in clear is journalled.

use domain::credentials::{Basic, Certificate};
use domain::{
    Credential, CredentialKeys, DeviceKey, DeviceRecord, Generation, Held, Secret, Timestamp, Version, Wish,
};
use serde_json::json;
use store::{Change, DeviceRow, ToSeal, View};

use super::journal::Deed;
use super::public_id::{self, IdKind};
use super::{Operator, Registry, RegistryError, Tenant, What};
use crate::ports::Farewell;

/// Credentials that an operator chooses for a device.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// A token of the server's making.
    ServerMade,
    /// This token.
    Token(Secret),
    /// MQTT basic credentials.
    Basic(Basic),
    /// A certificate.
    Certificate(Certificate),
}

/// A device's credentials in clear.
#[derive(Clone, Debug)]
pub struct DeviceCredentials {
    /// Their own public id.
    pub id: String,
    /// The public id of the device.
    pub device: String,
    /// When the device was made.
    pub created_at: Timestamp,
    /// What it holds.
    pub held: Held,
    /// Under what it is looked up: the token, the user name, or a hash (thingsboard page, section 6).
    pub lookup: Secret,
    /// How often operators saved them, counting from 1.
    pub revision: u64,
}

/// Credentials that are to take the place of those a device has.
#[derive(Clone, Debug)]
pub struct CredentialsSave {
    /// The public id of the device.
    pub device: String,
    /// What it is to hold.
    pub chosen: Chosen,
    /// The revision that they must be at; `None` takes them as they are.
    pub revision: Option<u64>,
}

impl Chosen {
    pub(super) fn wish(&self, keys: &dyn CredentialKeys) -> Wish {
        match self {
            Chosen::ServerMade => Wish::ServerMade,
            Chosen::Token(token) => Wish::token(token.clone(), keys),
            Chosen::Basic(basic) => Wish::basic(basic.clone(), keys),
            Chosen::Certificate(certificate) => Wish::certificate(certificate.clone(), keys),
        }
    }
}

// === impl Registry ===

impl Registry {
    /// The credentials of a device in clear; the look is journalled.
    ///
    /// # Errors
    /// `device-not-found`; `credentials-not-found` where it has none.
    pub fn credentials(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        device: &str,
    ) -> Result<DeviceCredentials, RegistryError> {
        let row = self.store.write(|change: &mut Change<'_>| {
            let row = self.by_id(change, tenant, device)?;
            if row.record.credential != Credential::None {
                let detail = json!({ "name": row.record.name, "credential": row.record.credential.kind() });
                self.journal(change, operator, &Deed::on(&row.record, "credentials-read", detail))?;
            }
            Ok::<_, RegistryError>(row)
        })?;
        self.in_clear(&row)
    }

    /// The public id of a device's credentials, whether or not it has any.
    pub fn credentials_id(&self, device: &str) -> Option<String> {
        let keys = self.store.keys().ok()?;
        let key = public_id::device_of(keys, device)?;
        Some(public_id::id_of(keys, IdKind::Credential, key.0))
    }

    /// The public id of the device whose credentials a public id names.
    pub fn device_of_credentials(&self, id: &str) -> Option<String> {
        let keys = self.store.keys().ok()?;
        let number = public_id::number_of(keys, IdKind::Credential, id)?;
        Some(public_id::public_id(keys, DeviceKey(number)))
    }

    /// Gives a device other credentials; the old ones are void at once, and its sessions end.
    ///
    /// # Errors
    /// `device-not-found`, `revision-changed`, `credentials-in-use`, or a rule that they break.
    pub fn set_credentials(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        wanted: &CredentialsSave,
    ) -> Result<DeviceCredentials, RegistryError> {
        let keys = self.store.keys()?;
        let unknown = || RegistryError::not_found(What::Device, &wanted.device);
        let key = public_id::device_of(keys, &wanted.device).ok_or_else(unknown)?;
        let generation = Generation(self.entropy().next_u64());
        let wish = wanted.chosen.wish(keys);
        let credential = wish.credential(generation).map_err(RegistryError::CredentialsRefused)?;
        if let Some(held) = wish.chosen() {
            let sealed = ToSeal { tenant: tenant.id, device: key, generation, held };
            self.store.seal_credentials(&[sealed], self.now())?;
        }
        self.store.write(|change: &mut Change<'_>| {
            let row = self.by_id(change, tenant, &wanted.device)?;
            let present = row.credential_saves + 1;
            if wanted.revision.is_some_and(|wanted| wanted != present) {
                return Err(RegistryError::RevisionChanged { what: What::Credentials, present });
            }
            credential_free(change, tenant, key, &credential)?;
            self.write_credential(change, operator, &row.record, credential)
        })?;
        self.ports.sessions.close(&[key], Farewell::CredentialChanged);
        let row = self.store.read(|view| view.device_by_key(tenant.id, key))?;
        self.in_clear(&row.ok_or_else(unknown)?)
    }

    pub(super) fn write_credential(
        &self,
        change: &mut Change<'_>,
        operator: &Operator,
        device: &DeviceRecord,
        credential: Credential,
    ) -> Result<(), RegistryError> {
        let changed = DeviceRecord { credential, version: Version(device.version.0 + 1), ..device.clone() };
        change.void_credential(device);
        if !change.save_credential(&changed)? {
            return Err(RegistryError::CredentialsInUse { elsewhere: false });
        }
        let detail = json!({ "name": device.name, "credential": credential.kind() });
        self.journal(change, operator, &Deed::on(device, "credentials-set", detail))
    }

    /// The device of a public id; one that leaves is not there any more.
    pub(super) fn by_id(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        id: &str,
    ) -> Result<DeviceRow, RegistryError> {
        let unknown = || RegistryError::not_found(What::Device, id);
        let key = public_id::device_of(self.store.keys()?, id).ok_or_else(unknown)?;
        let row = view.device_by_key(tenant.id, key)?.filter(|row| !row.record.state.is_leaving());
        row.ok_or_else(unknown)
    }

    fn in_clear(&self, row: &DeviceRow) -> Result<DeviceCredentials, RegistryError> {
        let keys = self.store.keys()?;
        let held = self.store.credential_in_clear(&row.record)?;
        let held = held.ok_or_else(|| RegistryError::not_found(What::Credentials, &row.record.name))?;
        let lookup = match &held {
            Held::Token(token) => token.clone(),
            Held::Basic(basic) => Secret::new(domain::credentials::basic_credentials_id(
                &basic.client_id,
                &basic.user_name,
                keys,
            )),
            Held::Certificate(text) => {
                Secret::new(domain::credentials::certificate_credentials_id(text, keys))
            }
        };
        Ok(DeviceCredentials {
            id: public_id::id_of(keys, IdKind::Credential, row.record.key.0),
            device: public_id::public_id(keys, row.record.key),
            created_at: row.created_at,
            held,
            lookup,
            revision: row.credential_saves + 1,
        })
    }
}

/// No other device, of whatever tenant, holds these credentials.
pub(super) fn credential_free(
    view: &View<'_>,
    tenant: &Tenant,
    device: DeviceKey,
    credential: &Credential,
) -> Result<(), RegistryError> {
    let Some((_, verifier)) = credential.chosen() else { return Ok(()) };
    let holder: Option<DeviceRecord> = view.credential_holder(&verifier)?;
    match holder.filter(|holder| holder.key != device) {
        Some(holder) => Err(RegistryError::CredentialsInUse { elsewhere: holder.tenant != tenant.id }),
        None => Ok(()),
    }
}
