//! Time series as operators read and prune them.

use domain::{DeviceKey, Timestamp};

use super::{Latest, Scope, TelemetryStore, read};
use crate::StoreError;
use crate::driver::{Sql, params};

/// The values of one key within a stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// The device.
    pub device: DeviceKey,
    /// The key.
    pub key: &'a str,
    /// From this moment on.
    pub from: Timestamp,
    /// Up to this moment, which is not in it.
    pub until: Timestamp,
}

/// What becomes of a key's last value where it lies in a stretch that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastValue {
    /// It stays.
    Kept,
    /// It goes.
    Deleted,
    /// The newest that is left takes its place.
    Rewritten,
}

impl TelemetryStore {
    /// At most `limit` points, the newest first or the oldest. Of several of one moment the one that came last.
    ///
    /// # Errors
    /// What the database says.
    pub fn points(
        &self,
        stretch: Stretch<'_>,
        limit: usize,
        oldest_first: bool,
    ) -> Result<Vec<Latest>, StoreError> {
        let order = if oldest_first { "at ASC" } else { "at DESC" };
        let text = format!(
            "SELECT scope, key, at, form, value FROM (
               SELECT scope, key, at, form, value, row_number() OVER (PARTITION BY at ORDER BY arrival DESC) AS place
               FROM history WHERE device = ? AND scope = 0 AND key = ? AND at >= ? AND at < ?) AS point
             WHERE place = 1 ORDER BY {order} LIMIT ?"
        );
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let Stretch { device, key, from, until } = stretch;
        self.database.read(|sql| sql.query(&text, params![device, key, from, until, most], read))
    }

    /// Deletes a key altogether.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_key(&self, device: DeviceKey, scope: Scope, key: &str) -> Result<(), StoreError> {
        self.database.write(|sql| {
            for table in ["latest", "history"] {
                let text = format!("DELETE FROM {table} WHERE device = ? AND scope = ? AND key = ?");
                sql.execute(&text, params![device, scope.number(), key])?;
            }
            Ok(())
        })
    }

    /// Deletes the points of a stretch.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_points(&self, stretch: Stretch<'_>, last: LastValue) -> Result<(), StoreError> {
        let Stretch { device, key, from, until } = stretch;
        self.database.write(|sql| {
            let within = "device = ? AND scope = 0 AND key = ? AND at >= ? AND at < ?";
            let params = params![device, key, from, until];
            sql.execute(&format!("DELETE FROM history WHERE {within}"), params)?;
            if last != LastValue::Kept
                && sql.execute(&format!("DELETE FROM latest WHERE {within}"), params)? > 0
                && last == LastValue::Rewritten
            {
                rewrite(sql, device, key)?;
            }
            Ok(())
        })
    }
}

fn rewrite(sql: Sql<'_>, device: DeviceKey, key: &str) -> Result<(), StoreError> {
    let text = "INSERT INTO latest (device, scope, key, at, form, value)
                SELECT device, scope, key, at, form, value FROM history
                WHERE device = ? AND scope = 0 AND key = ? ORDER BY at DESC, arrival DESC LIMIT 1";
    sql.execute(text, params![device, key])?;
    Ok(())
}
