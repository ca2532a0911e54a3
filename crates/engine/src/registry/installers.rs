//! What installers may see: the devices that they announced, and no other one.

use std::collections::HashMap;

use domain::{DeviceKey, Power};
use store::{Change, StoreError, View};

use super::selecting::{MOST_PER_PAGE, USUAL_PER_PAGE};
use super::{
    Device, DevicePage, DeviceQuery, Operator, Registry, RegistryError, Selector, Tenant, What, Who,
};

impl Operator {
    /// Under which name it is kept what this operator announced; `None` for those who may see everything, and for
    /// the server itself.
    pub(super) fn installer(&self) -> Option<String> {
        if self.role.may(Power::Read) {
            return None;
        }
        match self.who {
            Who::Server => None,
            Who::Token(number) => Some(format!("token:{number}")),
            Who::Account(number) => Some(format!("account:{number}")),
        }
    }
}

impl Registry {
    /// Whether an operator may look at this device.
    ///
    /// # Errors
    /// `device-not-found`, also where somebody else announced it.
    pub fn look(&self, operator: &Operator, tenant: &Tenant, name: &str) -> Result<(), RegistryError> {
        let Some(installer) = operator.installer() else { return Ok(()) };
        let own = self.store.read(|view| match self.find(view, tenant, name)? {
            Some(row) => view.has_announced(row.record.key, &installer),
            None => Ok(false),
        })?;
        if own { Ok(()) } else { Err(RegistryError::not_found(What::Device, name)) }
    }

    /// A page of the devices that an operator may look at; an installer's always by name.
    ///
    /// # Errors
    /// As [`Registry::devices`].
    pub fn devices_of(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        query: DeviceQuery<'_>,
    ) -> Result<DevicePage, RegistryError> {
        let Some(installer) = operator.installer() else { return self.devices(tenant, query) };
        let mut devices =
            self.announced(tenant, &installer, query.selector.unwrap_or(&Selector::default()))?;
        devices.sort_by(|one, other| one.name.cmp(&other.name));
        devices.retain(|device| query.after.is_none_or(|after| device.name.as_str() > after));
        let limit = query.limit.unwrap_or(USUAL_PER_PAGE).clamp(1, MOST_PER_PAGE);
        let more = devices.len() > limit;
        devices.truncate(limit);
        let next = devices.last().filter(|_| more).map(|device| device.name.clone());
        Ok(DevicePage { devices, next })
    }

    /// What an installer announced and is still there, as far as the selector takes it; in no order.
    fn announced(
        &self,
        tenant: &Tenant,
        installer: &str,
        selector: &Selector,
    ) -> Result<Vec<Device>, RegistryError> {
        let chosen = self.chosen(tenant, selector)?;
        Ok(self.store.read(|view| {
            let mut profiles = HashMap::new();
            let mut devices = Vec::new();
            for key in view.announced_by(tenant.id, installer)? {
                let row = view.device_by_key(tenant.id, key)?.filter(|row| chosen.takes(row));
                devices.extend(row.map(|row| self.shown(view, row, &mut profiles)).transpose()?);
            }
            Ok(devices)
        })?)
    }
}

/// A device of that name is there, and the installer did not announce it: to it, the name is taken, and no more.
pub(super) fn is_hidden(view: &View<'_>, operator: &Operator, device: DeviceKey) -> Result<bool, StoreError> {
    match operator.installer() {
        Some(installer) => Ok(!view.has_announced(device, &installer)?),
        None => Ok(false),
    }
}

/// Remembers who announced a device, where that is what it may see.
pub(super) fn remember(
    change: &mut Change<'_>,
    operator: &Operator,
    tenant: &Tenant,
    device: DeviceKey,
) -> Result<(), StoreError> {
    match operator.installer() {
        Some(installer) => change.announce(tenant.id, device, &installer),
        None => Ok(()),
    }
}
