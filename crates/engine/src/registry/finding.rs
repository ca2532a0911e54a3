//! Devices by public id and by page number.

use std::collections::HashMap;

use domain::ProfileId;
use store::{DeviceOrder, DeviceRow, DeviceSearch, View};

use super::public_id;
use super::{Device, Operator, Registry, RegistryError, Tenant, What};

/// Which devices, in which order.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Only those with this text in name or label, whatever the case of the letters A to Z.
    pub text: Option<String>,
    /// The name of the profile counts for the text too.
    pub in_profile_names: bool,
    /// Only those of this profile.
    pub profile: Option<ProfileId>,
    /// Only those with a session, or without one.
    pub connected: Option<bool>,
    /// By what they are sorted.
    pub order: DeviceOrder,
    /// The last ones first.
    pub descending: bool,
}

/// What a search found on one page.
#[derive(Clone, Debug)]
pub struct Found {
    /// The devices.
    pub devices: Vec<Device>,
    /// How many there are on all pages; of a text that thousands hold, at least so many.
    pub total: u64,
}

// === impl Registry ===

impl Registry {
    /// The device of a public id. One that leaves is not found.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn device_by_id(&self, tenant: &Tenant, id: &str) -> Result<Device, RegistryError> {
        self.devices_by_ids(tenant, &[id])?.pop().ok_or_else(|| RegistryError::not_found(What::Device, id))
    }

    /// The device of exactly this name. One that leaves is not found.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn device_called(&self, tenant: &Tenant, name: &str) -> Result<Device, RegistryError> {
        let mut found = self.devices_called(tenant, &[name])?;
        found.pop().ok_or_else(|| RegistryError::not_found(What::Device, name))
    }

    /// The devices of these public ids, as far as they are there.
    ///
    /// # Errors
    /// What the store says.
    pub fn devices_by_ids(&self, tenant: &Tenant, ids: &[&str]) -> Result<Vec<Device>, RegistryError> {
        let keys = self.store.keys()?;
        let numbers: Vec<_> = ids.iter().filter_map(|id| public_id::device_of(keys, id)).collect();
        self.all_shown(|view| {
            let rows = numbers.iter().map(|key| view.device_by_key(tenant.id, *key));
            Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }

    /// The devices of exactly these names, as far as they are there.
    ///
    /// # Errors
    /// What the store says.
    pub fn devices_called(&self, tenant: &Tenant, names: &[&str]) -> Result<Vec<Device>, RegistryError> {
        let storable = |name: &&&str| !name.is_empty() && !name.contains('\0');
        self.all_shown(|view| {
            let named = names.iter().filter(storable).map(|name| view.device_named(tenant.id, name));
            Ok(named.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }

    /// A page of the devices that a search finds, counting from 0.
    ///
    /// # Errors
    /// What the store says.
    pub fn search_devices(
        &self,
        tenant: &Tenant,
        search: &Search,
        page: u64,
        size: u64,
    ) -> Result<Found, RegistryError> {
        // Who is connected stands in no table.
        let connected = search.connected.map(|wanted| (self.ports.sessions.connected(), wanted));
        let wanted = DeviceSearch {
            text: search.text.as_deref().filter(|text| !text.is_empty()),
            in_profile_names: search.in_profile_names,
            profile: search.profile,
            among: connected.as_ref().map(|(keys, wanted)| (keys.as_slice(), *wanted)),
            order: search.order,
            descending: search.descending,
        };
        let offset = page.saturating_mul(size).min(i64::MAX.cast_unsigned());
        Ok(self.store.read(|view| {
            let found = view.searched(tenant.id, &wanted, offset, size)?;
            let mut profiles = HashMap::new();
            let devices = found.rows.into_iter().map(|row| self.shown(view, row, &mut profiles));
            Ok(Found { devices: devices.collect::<Result<_, _>>()?, total: found.total })
        })?)
    }

    /// Deletes the device of a public id. One that neighbours know leaves at once, without grace: its credentials
    /// are void, and its name is free when all of them know.
    ///
    /// # Errors
    /// `device-not-found`.
    pub fn remove_device(&self, operator: &Operator, tenant: &Tenant, id: &str) -> Result<(), RegistryError> {
        let id = self.device_by_id(tenant, id)?.id;
        match self.delete_device(operator, tenant, &id) {
            Err(RegistryError::Joined { .. }) => {
                self.decommission_device(operator, tenant, &id, Some(0)).map(drop)
            }
            done => done,
        }
    }

    /// The number of the profile of that name.
    ///
    /// # Errors
    /// What the store says.
    pub fn profile_number(&self, tenant: &Tenant, name: &str) -> Result<Option<u64>, RegistryError> {
        if name.contains('\0') {
            return Ok(None);
        }
        let row = self.store.read(|view| view.profile_by_name(tenant.id, name))?;
        Ok(row.map(|row| row.profile.id.0))
    }

    fn all_shown(
        &self,
        rows: impl Fn(&View<'_>) -> Result<Vec<DeviceRow>, store::StoreError>,
    ) -> Result<Vec<Device>, RegistryError> {
        Ok(self.store.read(|view| {
            let mut profiles = HashMap::new();
            let rows = rows(view)?.into_iter().filter(|row| !row.record.state.is_leaving());
            rows.map(|row| self.shown(view, row, &mut profiles)).collect()
        })?)
    }
}
