//! Devices as operators save them: whole.

use domain::{DeviceKey, DeviceRecord, TenantId, Verifier, Version};

use super::{Change, View, added, by_verifier, insert, update};
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::error::storable;

impl View<'_> {
    /// The device, of whatever tenant, whose credentials have this verifier.
    ///
    /// # Errors
    /// What the database says.
    pub fn credential_holder(&self, verifier: &Verifier) -> Result<Option<DeviceRecord>, StoreError> {
        by_verifier(self.sql, verifier)
    }
}

impl Change<'_> {
    /// Adds a device with what operators say of it. `false` where its name or its credentials are taken.
    ///
    /// # Errors
    /// [`StoreError::Full`] while the disk is short of room; what the database says.
    pub fn insert_device(
        &mut self,
        record: &DeviceRecord,
        label: Option<&str>,
        additional_info: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.room_to_grow()?;
        if !insert(self.sql, record)? {
            return Ok(false);
        }
        added(self.sql, [record])?;
        if label.is_some() || additional_info.is_some() {
            let label = label.map(|label| storable(label, "the device's label")).transpose()?;
            let info = additional_info.map(|info| storable(info, "additional information")).transpose()?;
            let sql = "UPDATE devices SET label = ?, additional_info = ? WHERE device = ? AND tenant = ?";
            self.sql.execute(sql, params![label, info, record.key, record.tenant])?;
        }
        Ok(true)
    }

    /// Writes name, profile and all that operators say of a device over the version `stands`; one more save is
    /// counted. `false` where another version stands, or where the name is taken.
    ///
    /// # Errors
    /// What the database says.
    pub fn save_device(
        &mut self,
        record: &DeviceRecord,
        stands: Version,
        label: Option<&str>,
        additional_info: Option<&str>,
    ) -> Result<bool, StoreError> {
        let set = "SET name_key = ?, name = NULL, profile = ?, gateway = ?, label = ?, additional_info = ?,
                       version = ?, saves = coalesce(saves, 0) + 1
                   WHERE device = ? AND tenant = ? AND version = ?";
        let label = label.map(|label| storable(label, "the device's label")).transpose()?;
        let info = additional_info.map(|info| storable(info, "additional information")).transpose()?;
        let params = params![
            storable(&record.name, "the device's name")?,
            record.profile,
            record.gateway.then_some(1_i64),
            label,
            info,
            record.version,
            record.key,
            record.tenant,
            stands,
        ];
        match self.sql {
            Sql::Sqlite(_) => Ok(self.sql.execute(&format!("UPDATE OR IGNORE devices {set}"), params)? > 0),
            Sql::Postgres(transaction) => {
                let text = format!("UPDATE devices {set}");
                let written = transaction.tried(|| self.sql.execute(&text, params))?;
                Ok(written.is_some_and(|rows| rows > 0))
            }
        }
    }

    /// Writes the credentials of a device whose version is one above the one that stands, and counts one more save of
    /// them. `false` where another version stands, or where the credentials belong to another device.
    ///
    /// # Errors
    /// What the database says.
    pub fn save_credential(&mut self, record: &DeviceRecord) -> Result<bool, StoreError> {
        let written = update(self.sql, record, Version(record.version.0.wrapping_sub(1)))?;
        if written {
            self.count_credential_save(record.tenant, record.key)?;
        }
        Ok(written)
    }

    /// The credentials of a device were saved as they are.
    ///
    /// # Errors
    /// What the database says.
    pub fn count_credential_save(&mut self, tenant: TenantId, device: DeviceKey) -> Result<(), StoreError> {
        let sql = "UPDATE devices SET credential_saves = coalesce(credential_saves, 0) + 1
                   WHERE device = ? AND tenant = ?";
        self.sql.execute(sql, params![device, tenant])?;
        Ok(())
    }
}
