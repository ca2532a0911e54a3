//! What SQLite keeps beside the devices so that they are found quickly: how many there are, and their texts.
//!
//! For new devices it follows once for all of a transaction: a trigger would do it for each, and that is a third of what
//! letting a device in costs the writer. Triggers see to whatever changes later.

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

/// Most texts that one step takes into the index: devices that are let in wait for it.
const TEXTS_AT_ONCE: u64 = 500;

/// Takes names and notes that have changed into the index of texts. Returns whether there may be more.
pub(crate) fn index_texts(sql: Sql<'_>) -> Result<bool, StoreError> {
    let due = "SELECT device FROM texts_due ORDER BY device LIMIT ?";
    let due = sql.query(due, params![TEXTS_AT_ONCE], |row| row.int(0))?;
    for device in &due {
        sql.execute("DELETE FROM device_texts WHERE rowid = ?", params![*device])?;
        sql.execute(
            "INSERT INTO device_texts (rowid, text)
             SELECT device, name_key || char(10) || coalesce(label, '') FROM devices WHERE device = ?",
            params![*device],
        )?;
        sql.execute("DELETE FROM texts_due WHERE device = ?", params![*device])?;
    }
    Ok(due.len() as u64 == TEXTS_AT_ONCE)
}

/// Whether a name or a note is not in the index of texts yet. Only SQLite has one to be kept.
pub(crate) fn are_texts_due(sql: Sql<'_>) -> Result<bool, StoreError> {
    Ok(!sql.is_postgres() && sql.exists("SELECT 1 FROM texts_due LIMIT 1", params![])?)
}
