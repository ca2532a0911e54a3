//! Attributes that the server's side sets, and claims. What devices say of themselves is telemetry.

use domain::{DeviceKey, TenantId, Timestamp, Verifier};
use serde_json::{Map, Value};

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::error::storable;

/// Who sees an attribute of the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeScope {
    /// The device too.
    Shared,
    /// Operators alone.
    Server,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Who sees it.
    pub scope: AttributeScope,
    /// Its key.
    pub key: String,
    /// When it was set last.
    pub at: Timestamp,
    /// Its value, as JSON.
    pub value: String,
}

impl View<'_> {
    /// The attributes that a device shares with the server, by key; the values are JSON.
    ///
    /// # Errors
    /// What the database says.
    pub fn attributes(&self, device: DeviceKey) -> Result<Vec<(String, String)>, StoreError> {
        of(self.sql, device)
    }

    /// The attributes of a scope, by key.
    ///
    /// # Errors
    /// What the database says.
    pub fn attributes_in(
        &self,
        device: DeviceKey,
        scope: AttributeScope,
    ) -> Result<Vec<Attribute>, StoreError> {
        within(self.sql, device, scope)
    }
}

impl Change<'_> {
    /// Sets an attribute; `value` is JSON.
    ///
    /// # Errors
    /// [`StoreError::Full`] while the disk is short of room, [`StoreError::Unstorable`], what the database says.
    pub fn set_attribute(
        &mut self,
        (tenant, device): (TenantId, DeviceKey),
        scope: AttributeScope,
        (key, value): (&str, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.room_to_grow()?;
        set(self.sql, (tenant, device), scope, (key, value), now)
    }

    /// Notes that whoever knows what `verifier` was made of may claim a device, whatever was said before.
    ///
    /// # Errors
    /// [`StoreError::Full`] while the disk is short of room; what the database says.
    pub fn set_claim(
        &mut self,
        (tenant, device): (TenantId, DeviceKey),
        verifier: &Verifier,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.room_to_grow()?;
        claim(self.sql, (tenant, device), verifier, expires_at, Timestamp(i64::MAX)).map(drop)
    }

    /// Takes back what a device may be claimed with. `false` where there was nothing.
    ///
    /// # Errors
    /// What the database says.
    pub fn withdraw_claim(&mut self, device: DeviceKey) -> Result<bool, StoreError> {
        Ok(self.sql.execute("DELETE FROM claims WHERE device = ?", params![device])? > 0)
    }

    /// Takes an attribute away. `false` where it was not there.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_attribute(
        &mut self,
        device: DeviceKey,
        scope: AttributeScope,
        key: &str,
    ) -> Result<bool, StoreError> {
        let text = "DELETE FROM attributes WHERE device = ? AND scope = ? AND key = ?";
        Ok(self.sql.execute(text, params![device, scope.number(), key])? > 0)
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
    for (key, value) in merged(objects)? {
        set(sql, (tenant, device), AttributeScope::Shared, (&key, &value.to_string()), now)?;
    }
    Ok(())
}

fn set(
    sql: Sql<'_>,
    (tenant, device): (TenantId, DeviceKey),
    scope: AttributeScope,
    (key, value): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "INSERT INTO attributes (device, scope, key, tenant, at, value) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (device, scope, key) DO UPDATE SET at = excluded.at, value = excluded.value";
    let (key, value) = (storable(key, "an attribute")?, storable(value, "an attribute")?);
    sql.execute(text, params![device, scope.number(), key, tenant, now, value])?;
    Ok(())
}

pub(crate) fn of(sql: Sql<'_>, device: DeviceKey) -> Result<Vec<(String, String)>, StoreError> {
    let text = "SELECT key, value FROM attributes WHERE device = ? AND scope = 0 ORDER BY key";
    sql.query(text, params![device], |row| Ok((row.string(0)?, row.string(1)?)))
}

pub(crate) fn within(
    sql: Sql<'_>,
    device: DeviceKey,
    scope: AttributeScope,
) -> Result<Vec<Attribute>, StoreError> {
    let text = "SELECT key, at, value FROM attributes WHERE device = ? AND scope = ? ORDER BY key";
    let read =
        |row: &Row<'_>| Ok(Attribute { scope, key: row.string(0)?, at: row.time(1)?, value: row.string(2)? });
    sql.query(text, params![device, scope.number()], read)
}

/// Forgets what stands beside a device's record.
pub(crate) fn forget(sql: Sql<'_>, device: DeviceKey) -> Result<(), StoreError> {
    sql.execute("DELETE FROM attributes WHERE device = ?", params![device])?;
    sql.execute("DELETE FROM claims WHERE device = ?", params![device])?;
    Ok(())
}

/// Whether a claim of the device stands.
pub(crate) fn is_claimed(sql: Sql<'_>, device: DeviceKey, now: Timestamp) -> Result<bool, StoreError> {
    sql.exists("SELECT 1 FROM claims WHERE device = ? AND expires_at > ?", params![device, now])
}

/// Notes a claim, unless one stands.
pub(crate) fn claim(
    sql: Sql<'_>,
    (tenant, device): (TenantId, DeviceKey),
    verifier: &Verifier,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let text = "INSERT INTO claims (device, tenant, verifier, expires_at) VALUES (?, ?, ?, ?)
                ON CONFLICT (device) DO UPDATE SET verifier = excluded.verifier, expires_at = excluded.expires_at
                WHERE claims.expires_at <= ?";
    Ok(sql.execute(text, params![device, tenant, verifier, expires_at, now])? > 0)
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

impl AttributeScope {
    /// The word for it in journals.
    pub fn word(self) -> &'static str {
        match self {
            AttributeScope::Shared => "shared",
            AttributeScope::Server => "server",
        }
    }

    fn number(self) -> i64 {
        match self {
            AttributeScope::Shared => 0,
            AttributeScope::Server => 1,
        }
    }
}
