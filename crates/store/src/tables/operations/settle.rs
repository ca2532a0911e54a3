//! Where an operation and its device stand after its steps have moved.

use domain::plan::{self, StepState};
use domain::{
    DeviceKey, DeviceRecord, DeviceState, Generation, OperationId, StepKey, TenantId, Timestamp, Version,
};

use super::{OperationStatus, progress, steps, strangers};
use crate::StoreError;
use crate::driver::{Param, Sql, params};
use crate::tables::devices;

/// Holds the devices of steps, in the order of their keys, before any of their steps and operations: so does everyone
/// who moves these, and two servers that finish steps of the same devices do not wait in a circle.
pub(super) fn hold_devices(sql: Sql<'_>, steps: &[StepKey]) -> Result<(), StoreError> {
    if steps.is_empty() || !sql.is_postgres() {
        return Ok(());
    }
    let text = "SELECT 1 FROM devices WHERE device IN
                    (SELECT s.device FROM UNNEST(?::bigint[], ?::bigint[]) AS finished (operation, step)
                         JOIN steps s ON s.operation = finished.operation AND s.step = finished.step)
                ORDER BY device FOR UPDATE";
    let operations: Vec<i64> = steps.iter().map(|key| key.operation.0.cast_signed()).collect();
    let indices: Vec<i64> = steps.iter().map(|key| i64::from(key.index)).collect();
    sql.execute(text, &[Param::array(&operations), Param::array(&indices)]).map(drop)
}

/// Brings an operation and its device to where its steps stand: what may begin is due, and the device has moved.
/// Says where a join stands that its device may wait for.
pub(super) fn settle(
    sql: Sql<'_>,
    id: OperationId,
    now: Timestamp,
) -> Result<Option<OperationStatus>, StoreError> {
    let Some((phase, kind, tenant, device)) = standing(sql, id)? else {
        return Err(StoreError::corrupt("steps of no operation", id));
    };
    // A newer operation has taken the place of one that is done: only its receipts still come in.
    if phase == plan::Phase::Done.word() {
        return Ok(None);
    }
    // Where it stands, a newer server will say.
    if strangers::are_in(sql, id)? {
        return Ok(None);
    }
    let mut progress = progress(&steps(sql, id)?);
    for at in plan::released(&progress, false) {
        progress[at].state = StepState::Due;
        let text =
            "UPDATE steps SET state = 'due', due_at = ?, changed_at = ? WHERE operation = ? AND step = ?";
        sql.execute(text, params![now, now, id, at as u64])?;
    }
    let status = OperationStatus::of(id, device, &progress);
    let ended = (status.phase == plan::Phase::Done).then_some(now);
    if status.phase.word() != phase {
        let text = "UPDATE operations SET phase = ?, ended_at = ? WHERE operation = ?";
        sql.execute(text, params![status.phase.word(), ended, id])?;
    }
    if kind != plan::OperationKind::Join.word() {
        return Ok(None);
    }
    let generation = move_device(sql, tenant, device, now, |state| plan::device_state(&progress, state))?;
    Ok(Some(OperationStatus { generation, ..status }))
}

/// Whoever else finishes a step of it waits until we are through, so that the last one sees all of them done.
fn standing(
    sql: Sql<'_>,
    id: OperationId,
) -> Result<Option<(String, String, TenantId, DeviceKey)>, StoreError> {
    let held = sql.for_update();
    let text = format!("SELECT phase, kind, tenant, device FROM operations WHERE operation = ?{held}");
    sql.first(&text, params![id], |row| {
        Ok((row.string(0)?, row.string(1)?, TenantId(row.unsigned(2)?), DeviceKey(row.unsigned(3)?)))
    })
}

/// Moves a device, and says which credential it holds.
fn move_device(
    sql: Sql<'_>,
    tenant: TenantId,
    device: DeviceKey,
    now: Timestamp,
    to: impl Fn(DeviceState) -> DeviceState,
) -> Result<Option<Generation>, StoreError> {
    let Some(record) = devices::held(sql, device)?.filter(|record| record.tenant == tenant) else {
        return Ok(None);
    };
    let generation = record.credential.generation();
    let state = to(record.state);
    if state != record.state {
        let version = Version(record.version.0 + 1);
        let stands = record.version;
        let moved = DeviceRecord { state, state_since: now, version, ..record };
        if !devices::update(sql, &moved, stands)? {
            return Err(StoreError::corrupt("a device that is held was changed", device));
        }
    }
    Ok(generation)
}
