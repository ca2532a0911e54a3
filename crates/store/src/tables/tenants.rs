//! Tenants, the outer walls, and the numbers of devices over all of them.

use std::ops::Range;

use domain::{DeviceKey, TenantId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Change, View};
use crate::StoreError;
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
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_map([], read)?.collect::<Result<_, _>>()?)
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// What the database says.
    pub fn tenant_by_name(&self, name: &str) -> Result<Option<Tenant>, StoreError> {
        let sql = "SELECT id, name, created_at FROM tenants WHERE name = ?";
        Ok(self.connection.prepare_cached(sql)?.query_row([name], read).optional()?)
    }

    /// The tenant of that number.
    ///
    /// # Errors
    /// What the database says.
    pub fn tenant_by_id(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let sql = "SELECT id, name, created_at FROM tenants WHERE id = ?";
        Ok(self.connection.prepare_cached(sql)?.query_row([id.0.cast_signed()], read).optional()?)
    }
}

impl Change<'_> {
    /// Makes a tenant whose name is free.
    ///
    /// # Errors
    /// What the database says, also where the name is taken.
    pub fn create_tenant(&mut self, name: &str, now: Timestamp) -> Result<Tenant, StoreError> {
        let sql = "INSERT INTO tenants (name, created_at) VALUES (?, ?)";
        self.connection.execute(sql, (storable(name, "the tenant's name")?, now.0))?;
        let id = TenantId(self.connection.last_insert_rowid().cast_unsigned());
        Ok(Tenant { id, name: name.to_owned(), created_at: now })
    }
}

/// The tenant that is there from the first start on.
pub(crate) fn ensure_default(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    // Asked first: an insert that does nothing still writes the table's counter, which a full disk refuses.
    if (View { connection }).tenant_by_id(TenantId::DEFAULT)?.is_none() {
        let sql = "INSERT INTO tenants (id, name, created_at) VALUES (?, 'default', ?)";
        connection.execute(sql, (TenantId::DEFAULT.0.cast_signed(), now.0))?;
    }
    Ok(())
}

/// Hands out the next `count` numbers for devices. They are ours once this is committed.
pub(crate) fn reserve_device_keys(connection: &Connection, count: u64) -> Result<Range<u64>, StoreError> {
    let next = next_device_key(connection)?;
    let end = next.checked_add(count).filter(|end| *end <= DeviceKey::END);
    let end =
        end.ok_or_else(|| StoreError::Unavailable("there are no numbers left for devices".to_owned()))?;
    connection.execute("UPDATE counters SET next = ? WHERE name = 'device'", [end.cast_signed()])?;
    Ok(next..end)
}

/// Moves the numbers past `largest`, which some file holds: after a restore an older counter may stand here.
pub(crate) fn skip_device_keys(connection: &Connection, largest: u64) -> Result<(), StoreError> {
    if next_device_key(connection)? <= largest {
        let sql = "UPDATE counters SET next = ? WHERE name = 'device'";
        connection.execute(sql, [largest.cast_signed() + 1])?;
    }
    Ok(())
}

fn next_device_key(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT next FROM counters WHERE name = 'device'";
    Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Tenant> {
    Ok(Tenant {
        id: TenantId(row.get::<_, i64>(0)?.cast_unsigned()),
        name: row.get(1)?,
        created_at: Timestamp(row.get(2)?),
    })
}
