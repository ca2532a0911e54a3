//! Attributes that the server's side sets. What devices say of themselves is telemetry.

use domain::{DeviceKey, TenantId, Timestamp};
use serde_json::{Map, Value};

use super::View;
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::error::storable;

impl View<'_> {
    /// The attributes that a device shares with the server, by key; the values are JSON.
    ///
    /// # Errors
    /// What the database says.
    pub fn attributes(&self, device: DeviceKey) -> Result<Vec<(String, String)>, StoreError> {
        of(self.sql, device)
    }
}

/// Writes what a device begins with: JSON objects, the later over the earlier.
pub(crate) fn begin(
    sql: Sql<'_>,
    tenant: TenantId,
    device: DeviceKey,
    objects: &[String],
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "INSERT INTO attributes (device, scope, key, tenant, at, value) VALUES (?, 0, ?, ?, ?, ?)
                ON CONFLICT (device, scope, key) DO UPDATE SET at = excluded.at, value = excluded.value";
    for (key, value) in merged(objects)? {
        let value = value.to_string();
        let (key, value) = (storable(&key, "an attribute")?, storable(&value, "an attribute")?);
        sql.execute(text, params![device, key, tenant, now, value])?;
    }
    Ok(())
}

pub(crate) fn of(sql: Sql<'_>, device: DeviceKey) -> Result<Vec<(String, String)>, StoreError> {
    let text = "SELECT key, value FROM attributes WHERE device = ? AND scope = 0 ORDER BY key";
    sql.query(text, params![device], |row| Ok((row.string(0)?, row.string(1)?)))
}

pub(crate) fn forget(sql: Sql<'_>, device: DeviceKey) -> Result<(), StoreError> {
    sql.execute("DELETE FROM attributes WHERE device = ?", params![device])?;
    Ok(())
}

fn merged(objects: &[String]) -> Result<Map<String, Value>, StoreError> {
    let mut all = Map::new();
    for object in objects {
        let parsed: Map<String, Value> =
            serde_json::from_str(object).map_err(|_| StoreError::corrupt("initial attributes", object))?;
        all.extend(parsed);
    }
    Ok(all)
}
