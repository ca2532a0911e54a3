//! Devices, as operators see and handle them.

use std::collections::{BTreeMap, HashMap};

use domain::name::Name;
use domain::{Credential, DeviceKey, DeviceRecord, DeviceState, ProfileId, Timestamp, Version};
use serde_json::json;
use store::telemetry::Latest;
use store::{Change, DeviceRow, StoreError, View};

use super::import::Existing;
use super::journal::Deed;
use super::public_id;
use super::{NewDevice, Operator, Registry, RegistryError, Tenant, What};
use crate::ports::Farewell;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its public id.
    pub id: String,
    /// Its registration id.
    pub name: String,
    /// The name of its profile.
    pub profile: String,
    /// The operators' own note.
    pub label: Option<String>,
    /// Where it stands.
    pub state: DeviceState,
    /// Since when; being disabled and enabled does not count.
    pub state_since: Timestamp,
    /// What it holds.
    pub credential: Credential,
    /// Whether it speaks for other devices.
    pub gateway: bool,
    /// Its profile.
    pub profile_key: ProfileId,
    /// What operators' programs keep with it: a JSON object.
    pub additional_info: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How often operators saved it, counting from 1.
    pub revision: u64,
    /// How its row stands: another text after every change.
    pub stand: String,
    /// Whether it has a session with this server.
    pub connected: bool,
    /// Its labels, by key.
    pub labels: BTreeMap<String, String>,
    /// When it was heard of last, a minute behind at most.
    pub seen_at: Option<Timestamp>,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<Device>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<String>,
}

// === impl Registry ===

impl Registry {
    /// Adds a device that is expected.
    ///
    /// # Errors
    /// `value-invalid`, `profile-not-found`, `device-exists`.
    pub fn add_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        wanted: &NewDevice,
    ) -> Result<Device, RegistryError> {
        self.enter(operator, tenant, &[wanted], Existing::Refused)?.pop().transpose()?;
        // Its name may be the id of another one.
        self.device_called(tenant, Name::parse(&wanted.name).as_ref().map_or("", Name::as_str))
    }

    /// One device.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn device(&self, tenant: &Tenant, name: &str) -> Result<Device, RegistryError> {
        self.store
            .read(|view| {
                let Some(row) = self.find(view, tenant, name)? else { return Ok(None) };
                self.shown(view, row, &mut HashMap::new()).map(Some)
            })?
            .ok_or_else(|| RegistryError::not_found(What::Device, name))
    }

    /// Shuts a device out and closes its sessions; one that is disabled already stays as it is.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn disable_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Device, RegistryError> {
        let key = self.move_device(operator, tenant, name, "device-disabled", DeviceState::disable)?;
        self.ports.sessions.close(&[key], Farewell::Disabled);
        self.device(tenant, name)
    }

    /// Lets a disabled device in again, with the credentials it had.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn enable_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Device, RegistryError> {
        self.move_device(operator, tenant, name, "device-enabled", DeviceState::enable)?;
        self.device(tenant, name)
    }

    /// Deletes a device: its credentials are void, its sessions end, what it told is forgotten, and its
    /// name is free at once.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn delete_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
    ) -> Result<(), RegistryError> {
        let key = self.store.write(|change: &mut Change<'_>| {
            let row = self.existing(change, tenant, name)?;
            let begun = change.steps_of(row.record.key)?.iter().any(|step| step.record.attempts > 0);
            if begun {
                return Err(RegistryError::Joined { name: row.record.name });
            }
            change.delete_device(&row.record, self.now())?;
            let detail = json!({ "name": row.record.name, "state": row.record.state.word() });
            self.journal(change, operator, &Deed::on(&row.record, "device-deleted", detail))?;
            Ok::<_, RegistryError>(row.record.key)
        })?;
        self.ports.sessions.close(&[key], Farewell::Deleted);
        if let Err(error) = self.store.telemetry().forget(&[key]) {
            // The device is gone all the same, and its key is never used again.
            tracing::warn!(%error, device = key.0, "what a deleted device told could not be forgotten");
        }
        Ok(())
    }

    /// The last value of everything a device has told, by key.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn telemetry(&self, tenant: &Tenant, name: &str) -> Result<Vec<Latest>, RegistryError> {
        let row = self.store.read(|view| self.find(view, tenant, name))?;
        let row = row.ok_or_else(|| RegistryError::not_found(What::Device, name))?;
        Ok(self.store.telemetry().latest(row.record.key)?)
    }

    /// Being shut out and let in again does not count as a new beginning: it must not open a redelivery
    /// window that was closed. So the state's moment stays.
    fn move_device(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        name: &str,
        kind: &'static str,
        to: fn(DeviceState) -> DeviceState,
    ) -> Result<DeviceKey, RegistryError> {
        self.store.write(|change: &mut Change<'_>| {
            let record = self.existing(change, tenant, name)?.record;
            let state = to(record.state);
            if state != record.state {
                let moved = DeviceRecord { state, version: Version(record.version.0 + 1), ..record.clone() };
                change.update_device(&moved)?;
                let detail = json!({ "name": record.name });
                self.journal(change, operator, &Deed::on(&record, kind, detail))?;
            }
            Ok(record.key)
        })
    }

    /// As [`Registry::find`], else the one of that name that left last.
    pub(super) fn find_departed(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Option<DeviceRow>, StoreError> {
        match self.find(view, tenant, name)? {
            Some(row) => Ok(Some(row)),
            None => view.device_departed(tenant.id, name),
        }
    }

    /// The device that is to be changed.
    pub(super) fn existing(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        name: &str,
    ) -> Result<DeviceRow, RegistryError> {
        let row = self.find(view, tenant, name)?;
        let row = row.ok_or_else(|| RegistryError::not_found(What::Device, name))?;
        self.check_stand(&row.record.name, &stand(&row))?;
        Ok(row)
    }

    /// By public id, or else by name: not every name can stand in an address. Devices name themselves, ids are ours: so
    /// no device takes another one's place by its name. One that is called so is found by its own id.
    pub(super) fn find(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Option<DeviceRow>, StoreError> {
        let Ok(parsed) = Name::parse(name) else { return Ok(None) };
        let key = self.store.keys().ok().and_then(|keys| public_id::device_of(keys, parsed.as_str()));
        let by_id = key.map(|key| view.device_by_key(tenant.id, key)).transpose()?.flatten();
        by_id.map_or_else(|| view.device_named(tenant.id, parsed.as_str()), |row| Ok(Some(row)))
    }

    pub(super) fn shown(
        &self,
        view: &View<'_>,
        row: DeviceRow,
        profiles: &mut HashMap<ProfileId, String>,
    ) -> Result<Device, StoreError> {
        let stand = stand(&row);
        let DeviceRow { record, label, additional_info, created_at, saves, labels, seen_at, .. } = row;
        Ok(Device {
            // Ids are derived: while the secrets are locked, there are none.
            id: self.store.keys().map(|keys| public_id::public_id(keys, record.key)).unwrap_or_default(),
            profile: profile_name(view, &record, profiles)?,
            name: record.name,
            label,
            state: record.state,
            state_since: record.state_since,
            credential: record.credential,
            gateway: record.gateway,
            profile_key: record.profile,
            additional_info,
            created_at,
            revision: saves + 1,
            stand,
            connected: self.ports.sessions.is_connected(record.key),
            labels,
            seen_at,
        })
    }
}

/// Names of profiles are looked up once for each page.
fn profile_name(
    view: &View<'_>,
    device: &DeviceRecord,
    known: &mut HashMap<ProfileId, String>,
) -> Result<String, StoreError> {
    if let Some(name) = known.get(&device.profile) {
        return Ok(name.clone());
    }
    let row = view.profile_by_id(device.profile)?;
    let name = row.map(|row| row.profile.name).unwrap_or_default();
    Ok(known.entry(device.profile).or_insert(name).clone())
}

fn stand(row: &DeviceRow) -> String {
    format!("{}.{}.{}", row.record.version.0, row.saves, row.credential_saves)
}
