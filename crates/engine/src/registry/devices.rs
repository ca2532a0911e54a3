//! Devices, as operators see and handle them.

use std::collections::HashMap;

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

/// The most devices on one page.
pub const MOST_PER_PAGE: usize = 1000;
const USUAL_PER_PAGE: usize = 500;

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
    /// Whether it has a session with this server.
    pub connected: bool,
}

/// Which devices.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceQuery<'a> {
    /// Only those of this profile.
    pub profile: Option<&'a str>,
    /// Only those in this state, by the word of [`DeviceState`] without what is behind `disabled`.
    pub state: Option<&'a str>,
    /// Only those behind this cursor.
    pub after: Option<&'a str>,
    /// How many at most; [`MOST_PER_PAGE`] are never exceeded.
    pub limit: Option<usize>,
}

/// One page of a listing, by name.
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
        self.device(tenant, &wanted.name)
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

    /// A page of the tenant's devices, by name. A narrow filter passes over many rows, so each read is
    /// short, whatever the fleet's size.
    ///
    /// # Errors
    /// `profile-not-found` and `value-invalid` for a filter that names nothing.
    pub fn devices(&self, tenant: &Tenant, query: DeviceQuery<'_>) -> Result<DevicePage, RegistryError> {
        let filter = self.filter(tenant, &query)?;
        let limit = query.limit.unwrap_or(USUAL_PER_PAGE).clamp(1, MOST_PER_PAGE);
        let mut page = DevicePage { devices: Vec::new(), next: query.after.map(str::to_owned) };
        loop {
            let (found, last) = self.stretch(tenant, &filter, page.next.as_deref(), filter.stretch(limit))?;
            page.devices.extend(found);
            page.next = last;
            if page.devices.len() > limit {
                page.devices.truncate(limit);
                page.next = page.devices.last().map(|device| device.name.clone());
            }
            if page.devices.len() == limit || page.next.is_none() {
                return Ok(page);
            }
        }
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

    fn filter(&self, tenant: &Tenant, query: &DeviceQuery<'_>) -> Result<Filter, RegistryError> {
        let profile = query.profile.map(|name| self.profile(tenant, name)).transpose()?;
        let state = query.state.map(state_filter).transpose()?;
        Ok(Filter { profile: profile.map(|view| view.profile.id), state })
    }

    /// What an installer announced and is still there, as far as it passes the filter; in no order.
    pub(super) fn announced(
        &self,
        tenant: &Tenant,
        installer: &str,
        query: &DeviceQuery<'_>,
    ) -> Result<Vec<Device>, RegistryError> {
        let filter = self.filter(tenant, query)?;
        Ok(self.store.read(|view| {
            let mut profiles = HashMap::new();
            let mut devices = Vec::new();
            for key in view.announced_by(tenant.id, installer)? {
                let row = view.device_by_key(tenant.id, key)?.filter(|row| filter.passes(&row.record));
                devices.extend(row.map(|row| self.shown(view, row, &mut profiles)).transpose()?);
            }
            Ok(devices)
        })?)
    }

    /// At most `most` rows behind `after`: those that pass, and where the next stretch begins.
    fn stretch(
        &self,
        tenant: &Tenant,
        filter: &Filter,
        after: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Device>, Option<String>), RegistryError> {
        Ok(self.store.read(|view| {
            let rows = view.devices_page(tenant.id, after, most)?;
            let last = rows.last().filter(|_| rows.len() == most).map(|row| row.record.name.clone());
            let mut profiles = HashMap::new();
            let passing = rows.into_iter().filter(|row| filter.passes(&row.record));
            let devices =
                passing.map(|row| self.shown(view, row, &mut profiles)).collect::<Result<_, _>>()?;
            Ok((devices, last))
        })?)
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

    fn existing(&self, view: &View<'_>, tenant: &Tenant, name: &str) -> Result<DeviceRow, RegistryError> {
        self.find(view, tenant, name)?.ok_or_else(|| RegistryError::not_found(What::Device, name))
    }

    /// By name, or else by public id: not every name can stand in an address.
    pub(super) fn find(
        &self,
        view: &View<'_>,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Option<DeviceRow>, StoreError> {
        let Ok(parsed) = Name::parse(name) else { return Ok(None) };
        if let Some(row) = view.device_named(tenant.id, parsed.as_str())? {
            return Ok(Some(row));
        }
        match self.store.keys().ok().and_then(|keys| public_id::device_of(keys, name)) {
            Some(key) => view.device_by_key(tenant.id, key),
            None => Ok(None),
        }
    }

    pub(super) fn shown(
        &self,
        view: &View<'_>,
        row: DeviceRow,
        profiles: &mut HashMap<ProfileId, String>,
    ) -> Result<Device, StoreError> {
        let DeviceRow { record, label, additional_info, created_at, saves, .. } = row;
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
            connected: self.ports.sessions.is_connected(record.key),
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

/// Which rows of a listing are wanted.
struct Filter {
    profile: Option<ProfileId>,
    state: Option<StateFilter>,
}

pub(super) type StateFilter = fn(DeviceState) -> bool;

impl Filter {
    /// How many rows to read for a page of `limit`.
    fn stretch(&self, limit: usize) -> usize {
        let everything = self.profile.is_none() && self.state.is_none();
        if everything { limit } else { MOST_PER_PAGE }
    }

    fn passes(&self, record: &DeviceRecord) -> bool {
        self.profile.is_none_or(|profile| profile == record.profile)
            && self.state.is_none_or(|passes| passes(record.state))
    }
}

pub(super) fn state_filter(word: &str) -> Result<StateFilter, RegistryError> {
    match word {
        "expected" => Ok(|state| state == DeviceState::Expected),
        "provisioning" => Ok(|state| state == DeviceState::Provisioning),
        "provisioned" => Ok(|state| state == DeviceState::Provisioned),
        "failed" => Ok(|state| state == DeviceState::Failed),
        "disabled" => Ok(|state| matches!(state, DeviceState::Disabled { .. })),
        "decommissioning" => Ok(|state| state == DeviceState::Decommissioning),
        _ => Err(RegistryError::invalid(
            "state",
            "it is one of `expected`, `provisioning`, `provisioned`, `failed`, `disabled`, `decommissioning`.",
        )),
    }
}
