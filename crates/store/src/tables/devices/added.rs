//! What follows from new devices on SQLite, once for all of a transaction: a trigger would do it for each, and that is a
//! third of what letting a device in costs the writer.

use std::collections::HashMap;

use domain::DeviceRecord;

use crate::StoreError;
use crate::driver::{Sql, params};

/// Counts devices that were inserted, and lets their texts wait for the index. PostgreSQL keeps neither.
pub(crate) fn added<'a>(
    sql: Sql<'_>,
    records: impl IntoIterator<Item = &'a DeviceRecord>,
) -> Result<(), StoreError> {
    if sql.is_postgres() {
        return Ok(());
    }
    let mut counts = HashMap::new();
    for record in records {
        *counts.entry((record.tenant, record.profile, record.state.word())).or_insert(0_u64) += 1;
        sql.execute("INSERT OR IGNORE INTO texts_due VALUES (?)", params![record.key])?;
    }
    for ((tenant, profile, state), devices) in counts {
        let count = "INSERT INTO device_counts VALUES (?, ?, ?, ?)
                     ON CONFLICT DO UPDATE SET devices = devices + excluded.devices";
        sql.execute(count, params![tenant, profile, state, devices])?;
    }
    Ok(())
}
