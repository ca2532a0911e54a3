//! Tenants, the outer walls, and the numbers of devices over all of them.

use std::ops::Range;

use domain::{DeviceKey, TenantId, Timestamp};

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::error::storable;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its number.
    pub id: TenantId,
    /// Its name, unique on the server.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl View<'_> {
    /// All tenants, by name.
    ///
    /// # Errors
    /// What the database says.
    pub fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let sql = "SELECT id, name, created_at FROM tenants ORDER BY name";
        self.sql.query(sql, params![], read)
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// What the database says.
    pub fn tenant_by_name(&self, name: &str) -> Result<Option<Tenant>, StoreError> {
        let sql = "SELECT id, name, created_at FROM tenants WHERE name = ?";
        self.sql.first(sql, params![name], read)
    }

    /// The tenant of that number.
    ///
    /// # Errors
    /// What the database says.
    pub fn tenant_by_id(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let sql = "SELECT id, name, created_at FROM tenants WHERE id = ?";
        self.sql.first(sql, params![id], read)
    }
}

impl Change<'_> {
    /// Makes a tenant whose name is free.
    ///
    /// # Errors
    /// What the database says, also where the name is taken.
    pub fn create_tenant(&mut self, name: &str, now: Timestamp) -> Result<Tenant, StoreError> {
        let sql = "INSERT INTO tenants (name, created_at) VALUES (?, ?) RETURNING id";
        let name = storable(name, "the tenant's name")?;
        let id = self.sql.one(sql, params![name, now], |row| row.unsigned(0).map(TenantId))?;
        Ok(Tenant { id, name: name.to_owned(), created_at: now })
    }
}

/// The tenant that is there from the first start on.
pub(crate) fn ensure_default(sql: Sql<'_>, now: Timestamp) -> Result<(), StoreError> {
    // Asked first: an insert that does nothing still writes the table's counter, which a full disk refuses.
    if View::of(sql).tenant_by_id(TenantId::DEFAULT)?.is_none() {
        let text =
            "INSERT INTO tenants (id, name, created_at) VALUES (?, 'default', ?) ON CONFLICT DO NOTHING";
        sql.execute(text, params![TenantId::DEFAULT, now])?;
    }
    Ok(())
}

/// Hands out the next `count` numbers for devices. They are ours once this is committed.
pub(crate) fn reserve_device_keys(sql: Sql<'_>, count: u64) -> Result<Range<u64>, StoreError> {
    let text = "UPDATE counters SET next = next + ? WHERE name = 'device' AND next + ? <= ? RETURNING next";
    let end = sql.first(text, params![count, count, DeviceKey::END], |row| row.unsigned(0))?;
    let end =
        end.ok_or_else(|| StoreError::Unavailable("there are no numbers left for devices".to_owned()))?;
    Ok(end - count..end)
}

/// Moves the numbers past `largest`, which some file holds: after a restore an older counter may stand here.
pub(crate) fn skip_device_keys(sql: Sql<'_>, largest: u64) -> Result<(), StoreError> {
    if next_device_key(sql)? <= largest {
        let text = "UPDATE counters SET next = ? WHERE name = 'device' AND next <= ?";
        sql.execute(text, params![largest + 1, largest])?;
    }
    Ok(())
}

fn next_device_key(sql: Sql<'_>) -> Result<u64, StoreError> {
    sql.one("SELECT next FROM counters WHERE name = 'device'", params![], |row| row.unsigned(0))
}

fn read(row: &Row<'_>) -> Result<Tenant, StoreError> {
    Ok(Tenant { id: TenantId(row.unsigned(0)?), name: row.string(1)?, created_at: row.time(2)? })
}
