//! The ends of waiting: a first connection, a grace period, work that is due.

use domain::{DeviceKey, Generation, OperationId, TenantId, Timestamp};

use super::leases;
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::tables::journal::{NewEntry, Pen, What};
use crate::tables::{attributes, devices, questions};

/// Devices have shown that they hold credentials of a generation: what was owed to them until then is settled. A login
/// with credentials that have been replaced meanwhile tells nothing of the new ones.
pub(crate) fn connected(
    sql: Sql<'_>,
    logins: &[(DeviceKey, Generation)],
    now: Timestamp,
) -> Result<(), StoreError> {
    // When a step is due goes by the clock that claims it.
    let now = sql.now(now)?;
    for (device, generation) in logins {
        let settled = "UPDATE devices SET owed = NULL, version = version + 1
                       WHERE device = ? AND generation = ? AND owed IS NOT NULL";
        if sql.execute(settled, params![*device, generation.0])? > 0 {
            let text = "UPDATE steps SET state = 'due', due_at = ?, changed_at = ?
                        WHERE device = ? AND state = 'waiting' AND gate = 'on-first-connection'";
            sql.execute(text, params![now, now, *device])?;
        }
    }
    Ok(())
}

/// A device is deleted: nothing is begun for it any more, and nothing of it waits for a time.
pub(crate) fn end_all(sql: Sql<'_>, device: DeviceKey, now: Timestamp) -> Result<(), StoreError> {
    let steps = "UPDATE steps SET state = 'absorbed', absorbed = NULL, changed_at = ?
                 WHERE device = ? AND state IN ('waiting', 'due', 'running', 'failed')";
    sql.execute(steps, params![now, device])?;
    let operations =
        "UPDATE operations SET phase = 'done', ended_at = coalesce(ended_at, ?), grace_until = NULL
                      WHERE device = ? AND (phase <> 'done' OR grace_until IS NOT NULL)";
    sql.execute(operations, params![now, device])?;
    Ok(())
}

/// Whether a step or a question can be taken up.
pub(crate) fn is_work_due(sql: Sql<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let now = sql.now(now)?;
    Ok(leases::is_any_due(sql, now)? || questions::is_any_due(sql, now)?)
}

/// Whether the grace of a leave is over.
pub(crate) fn is_leaving_due(sql: Sql<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let text = "SELECT 1 FROM operations WHERE grace_until <= ? AND phase = 'done' LIMIT 1";
    sql.exists(text, params![sql.now(now)?])
}

/// Ends the leaves whose grace is over and whose neighbours all know: the name is free, the history stays.
pub(crate) fn complete_leaving(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    limit: usize,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let now = sql.now(now)?;
    // The device is held first, as everywhere; what stood of its operation until then is asked once more.
    let text = format!(
        "SELECT o.operation, o.tenant, o.device FROM operations o JOIN devices d ON d.device = o.device
         WHERE o.grace_until <= ? AND o.phase = 'done' ORDER BY o.grace_until LIMIT ?{}",
        sql.skip_locked("d")
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ready = sql.query(&text, params![now, limit], |row| {
        Ok((OperationId(row.unsigned(0)?), TenantId(row.unsigned(1)?), DeviceKey(row.unsigned(2)?)))
    })?;
    let over = "UPDATE operations SET grace_until = NULL
                WHERE operation = ? AND grace_until <= ? AND phase = 'done'";
    for (operation, tenant, device) in &ready {
        if sql.execute(over, params![*operation, now])? > 0 && devices::depart(sql, *tenant, *device, now)? {
            attributes::forget(sql, *device)?;
            let detail = serde_json::json!({ "operation": operation.0 });
            let (kind, actor) = ("device-decommissioned".to_owned(), "server:steps".to_owned());
            let what = What::Audit { kind, actor, detail };
            pen.append(&NewEntry { tenant: Some(*tenant), device: Some(*device), what }, now)?;
        }
    }
    Ok(ready.len())
}
