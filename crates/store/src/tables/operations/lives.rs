//! The ends of waiting: a first connection, a grace period, work that is due.

use domain::{DeviceKey, OperationId, TenantId, Timestamp};

use crate::StoreError;
use crate::driver::{Sql, params};
use crate::tables::journal::{NewEntry, Pen, What};
use crate::tables::{attributes, devices};

/// Devices have shown that they hold their credentials: what was owed to them until then is settled.
pub(crate) fn connected(sql: Sql<'_>, devices: &[DeviceKey], now: Timestamp) -> Result<(), StoreError> {
    // When a step is due goes by the clock that claims it.
    let now = sql.now(now)?;
    for device in devices {
        let settled =
            "UPDATE devices SET owed = NULL, version = version + 1 WHERE device = ? AND owed IS NOT NULL";
        if sql.execute(settled, params![*device])? > 0 {
            let text = "UPDATE steps SET state = 'due', due_at = ?, changed_at = ?
                        WHERE device = ? AND state = 'waiting' AND gate = 'on-first-connection'";
            sql.execute(text, params![now, now, *device])?;
        }
    }
    Ok(())
}

/// Whether a step or a question can be taken up.
pub(crate) fn is_work_due(sql: Sql<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let steps = "SELECT 1 FROM steps WHERE state IN ('due', 'running') AND due_at <= ? LIMIT 1";
    let questions = "SELECT 1 FROM questions WHERE verdict = 'awaits-hook' AND due_at <= ? LIMIT 1";
    let now = sql.now(now)?;
    Ok(sql.exists(steps, params![now])? || sql.exists(questions, params![now])?)
}

/// Whether the grace of a leave is over.
pub(crate) fn is_leaving_due(sql: Sql<'_>, now: Timestamp) -> Result<bool, StoreError> {
    sql.exists("SELECT 1 FROM operations WHERE grace_until <= ? AND phase = 'done' LIMIT 1", params![now])
}

/// Ends the leaves whose grace is over and whose neighbours all know: the name is free, the history stays.
pub(crate) fn complete_leaving(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    limit: usize,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let text = format!(
        "SELECT operation, tenant, device FROM operations WHERE grace_until <= ? AND phase = 'done'
         ORDER BY grace_until LIMIT ?{}",
        sql.skip_locked("operations")
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ready = sql.query(&text, params![now, limit], |row| {
        Ok((OperationId(row.unsigned(0)?), TenantId(row.unsigned(1)?), DeviceKey(row.unsigned(2)?)))
    })?;
    for (operation, tenant, device) in &ready {
        sql.execute("UPDATE operations SET grace_until = NULL WHERE operation = ?", params![*operation])?;
        if devices::depart(sql, *tenant, *device, now)? {
            attributes::forget(sql, *device)?;
            let detail = serde_json::json!({ "operation": operation.0 });
            let (kind, actor) = ("device-decommissioned".to_owned(), "server:steps".to_owned());
            let what = What::Audit { kind, actor, detail };
            pen.append(&NewEntry { tenant: Some(*tenant), device: Some(*device), what }, now)?;
        }
    }
    Ok(ready.len())
}
