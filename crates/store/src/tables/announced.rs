//! Devices that installers announced: for each of them a row that says who may see it.

use domain::{DeviceKey, TenantId};

use super::{Change, View};
use crate::StoreError;
use crate::driver::params;

impl View<'_> {
    /// Whether this installer announced the device.
    ///
    /// # Errors
    /// What the database says.
    pub fn has_announced(&self, device: DeviceKey, installer: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM announced WHERE device = ? AND installer = ?";
        self.sql.exists(sql, params![device, installer])
    }

    /// The devices that an installer announced, also those that are gone by now.
    ///
    /// # Errors
    /// What the database says.
    pub fn announced_by(&self, tenant: TenantId, installer: &str) -> Result<Vec<DeviceKey>, StoreError> {
        let sql = "SELECT device FROM announced WHERE tenant = ? AND installer = ? ORDER BY device";
        self.sql.query(sql, params![tenant, installer], |row| row.unsigned(0).map(DeviceKey))
    }
}

impl Change<'_> {
    /// Remembers who announced a device.
    ///
    /// # Errors
    /// What the database says.
    pub fn announce(
        &mut self,
        tenant: TenantId,
        device: DeviceKey,
        installer: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO announced (device, tenant, installer) VALUES (?, ?, ?)";
        self.sql.execute(sql, params![device, tenant, installer])?;
        Ok(())
    }
}
