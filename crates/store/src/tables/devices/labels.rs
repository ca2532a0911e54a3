//! Labels of devices, and when devices were heard of last.

use domain::{DeviceKey, TenantId, Timestamp};

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::error::storable;

impl View<'_> {
    /// The labels of a device, by key.
    ///
    /// # Errors
    /// What the database says.
    pub fn labels(&self, device: DeviceKey) -> Result<Vec<(String, String)>, StoreError> {
        let sql = "SELECT key, value FROM device_labels WHERE device = ? ORDER BY key";
        self.sql.query(sql, params![device], |row| Ok((row.string(0)?, row.string(1)?)))
    }
}

impl Change<'_> {
    /// Gives a device a label, in the place of the one with that key; `None` takes it away. `false` where nothing
    /// changes.
    ///
    /// # Errors
    /// [`StoreError::Full`] while the disk is short of room, [`StoreError::Unstorable`], what the database says.
    pub fn set_label(
        &mut self,
        (tenant, device): (TenantId, DeviceKey),
        key: &str,
        value: Option<&str>,
    ) -> Result<bool, StoreError> {
        let stands = "SELECT value FROM device_labels WHERE device = ? AND key = ?";
        let stands = self.sql.first(stands, params![device, key], |row| row.string(0))?;
        if stands.as_deref() == value {
            return Ok(false);
        }
        self.sql.execute("DELETE FROM device_labels WHERE device = ? AND key = ?", params![device, key])?;
        if let Some(value) = value {
            self.room_to_grow()?;
            let (key, value) = (storable(key, "a label's key")?, storable(value, "a label's value")?);
            let sql = "INSERT INTO device_labels (tenant, key, value, device) VALUES (?, ?, ?, ?)";
            self.sql.execute(sql, params![tenant, key, value, device])?;
        }
        Ok(true)
    }

    /// What operators say of a device has changed: one more save is counted.
    ///
    /// # Errors
    /// What the database says.
    pub fn count_save(&mut self, tenant: TenantId, device: DeviceKey) -> Result<(), StoreError> {
        let sql = "UPDATE devices SET saves = coalesce(saves, 0) + 1 WHERE device = ? AND tenant = ?";
        self.sql.execute(sql, params![device, tenant])?;
        Ok(())
    }
}

/// Forgets what stands beside a device's row.
pub(super) fn forget(sql: Sql<'_>, device: DeviceKey) -> Result<(), StoreError> {
    sql.execute("DELETE FROM device_labels WHERE device = ?", params![device])?;
    sql.execute("DELETE FROM device_seen WHERE device = ?", params![device])?;
    Ok(())
}

/// Notes when devices were heard of; of two moments the later one stands. Devices that are gone are passed over.
pub(crate) fn note_seen(sql: Sql<'_>, seen: &[(DeviceKey, Timestamp)]) -> Result<(), StoreError> {
    let later = "ON CONFLICT (device) DO UPDATE SET at = excluded.at WHERE device_seen.at < excluded.at";
    if let Sql::Postgres(_) = sql {
        let keys: Vec<i64> = seen.iter().map(|(key, _)| key.0.cast_signed()).collect();
        let moments: Vec<i64> = seen.iter().map(|(_, at)| at.0).collect();
        // Servers that note the same devices take them in the same order.
        let text = format!(
            "INSERT INTO device_seen (device, tenant, at)
             SELECT devices.device, tenant, max(heard) FROM UNNEST(?::bigint[], ?::bigint[]) AS new (which, heard)
             JOIN devices ON devices.device = which GROUP BY 1, 2 ORDER BY 1 {later}"
        );
        let params = [crate::driver::Param::array(&keys), crate::driver::Param::array(&moments)];
        sql.execute(&text, &params)?;
        return Ok(());
    }
    let text = format!(
        "INSERT INTO device_seen (device, tenant, at) SELECT device, tenant, ? FROM devices WHERE device = ? {later}"
    );
    for (device, at) in seen {
        sql.execute(&text, params![*at, *device])?;
    }
    Ok(())
}
