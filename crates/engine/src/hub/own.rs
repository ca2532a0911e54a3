//! What a device may know of itself: attributes, and who it is. And its word that an owner will come for it.

use std::net::IpAddr;

use domain::{CredentialKeys, DeviceKey, Refusal, Secret, Verifier};
use serde_json::{Map, Value};
use store::{AttributeScope, Scope, StoreError};

use super::Hub;
use crate::device_auth::Connected;
use crate::ports::Caller;
use crate::registry::public_id;
use crate::shared::elsewhere;
use crate::values::as_json;

/// Which attributes a device asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of those that it said of itself.
    pub client: Keys,
    /// Of those that the server's side shares with it.
    pub shared: Keys,
}

/// Some keys, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All there are; one that asks for nothing has [`Keys::These`] of none.
    All,
    /// Those of them that there are.
    These(Vec<String>),
}

/// A device's attributes, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    /// Those that it said of itself.
    pub client: Map<String, Value>,
    /// Those that the server's side shares with it.
    pub shared: Map<String, Value>,
}

/// What is kept of the secret key of a claim.
pub(crate) fn claim_verifier(keys: &dyn CredentialKeys, device: DeviceKey, secret_key: &Secret) -> Verifier {
    keys.verifier(&zeroize::Zeroizing::new(format!("claim\0{device}\0{}", secret_key.expose())))
}

impl Keys {
    /// None.
    pub fn none() -> Keys {
        Keys::These(Vec::new())
    }

    fn is_none(&self) -> bool {
        matches!(self, Keys::These(keys) if keys.is_empty())
    }

    fn has(&self, key: &str) -> bool {
        match self {
            Keys::All => true,
            Keys::These(keys) => keys.iter().any(|wanted| wanted == key),
        }
    }
}

impl Hub {
    /// The attributes that a device asks for. A short indexed read.
    ///
    /// # Errors
    /// What the store says.
    pub async fn own(&self, device: &Connected, wanted: Wanted) -> Result<Own, Refusal> {
        let device = *device;
        self.reading(move |hub| {
            let mut own = Own::default();
            if !wanted.client.is_none() {
                own.client = hub.client(&device, &wanted.client)?;
            }
            if !wanted.shared.is_none() {
                own.shared = hub.shared_with(&device, &wanted.shared)?;
            }
            Ok(own)
        })
        .await
    }

    /// Who a device is, for whoever answers its calls.
    ///
    /// # Errors
    /// `credentials-unknown` where it is gone; what the store says.
    pub async fn caller(&self, device: &Connected, source: IpAddr) -> Result<Caller, Refusal> {
        let device = *device;
        let found = self.reading(move |hub| {
            let keys = hub.shared.store.keys()?;
            let id = public_id::public_id(keys, device.device);
            hub.shared.store.read(|view| {
                let Some(row) = view.device_by_key(device.tenant, device.device)? else { return Ok(None) };
                let profile = view.profile_by_id(row.record.profile)?.map(|row| row.profile.name);
                let tenant = view.tenant_by_id(device.tenant)?.map(|tenant| tenant.name);
                Ok(Some(Caller {
                    id: id.clone(),
                    name: row.record.name,
                    tenant: tenant.unwrap_or_default(),
                    profile: profile.unwrap_or_default(),
                    source,
                }))
            })
        });
        found.await?.ok_or(Refusal::CredentialsUnknown)
    }

    /// Notes that whoever knows `secret_key` may claim the device for a time. While an earlier word stands, this
    /// one counts for nothing, and nobody is told.
    ///
    /// # Errors
    /// What the store says.
    pub async fn claim(
        &self,
        device: &Connected,
        secret_key: Secret,
        duration_ms: u64,
    ) -> Result<(), Refusal> {
        let device = *device;
        let hub = self.clone();
        // It is written on the way of those who provision: the disk is waited for elsewhere.
        elsewhere(move || {
            let now = hub.shared.clock.now();
            let store = &hub.shared.store;
            let keys = store.keys().map_err(|error| error.refusal())?;
            let verifier = claim_verifier(keys, device.device, &secret_key);
            let place = (device.tenant, device.device);
            let claimed = store.claim(place, &verifier, now.plus_ms(duration_ms), now);
            claimed.map(drop).map_err(|error| error.refusal())
        })
        .await
    }

    fn client(&self, device: &Connected, wanted: &Keys) -> Result<Map<String, Value>, StoreError> {
        let latest = self.shared.store.telemetry().latest(device.device)?;
        let client =
            latest.into_iter().filter(|it| it.scope == Scope::ClientAttribute && wanted.has(&it.key));
        Ok(client.map(|it| (it.key, as_json(&it.value))).collect())
    }

    fn shared_with(&self, device: &Connected, wanted: &Keys) -> Result<Map<String, Value>, StoreError> {
        let all = self.shared.store.attributes_in(device.device, AttributeScope::Shared)?;
        let shared = all.into_iter().filter(|it| wanted.has(&it.key));
        Ok(shared.map(|it| (it.key, serde_json::from_str(&it.value).unwrap_or_default())).collect())
    }

    /// Reads here, or where another process has to be waited for, elsewhere.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Hub) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        if !self.shared.store.is_remote() {
            return read(self).map_err(|error| error.refusal());
        }
        let hub = self.clone();
        elsewhere(move || read(&hub).map_err(|error| error.refusal())).await
    }
}
