//! Where an operation and its device stand after its steps have moved.

use domain::plan::{self, StepState};
use domain::{DeviceKey, DeviceRecord, DeviceState, Generation, OperationId, TenantId, Timestamp, Version};

use super::{OperationStatus, progress, steps};
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::tables::devices;

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

fn standing(
    sql: Sql<'_>,
    id: OperationId,
) -> Result<Option<(String, String, TenantId, DeviceKey)>, StoreError> {
    let text = "SELECT phase, kind, tenant, device FROM operations WHERE operation = ?";
    sql.first(text, params![id], |row| {
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
    let Some(record) = devices::by_key(sql, device)?.filter(|record| record.tenant == tenant) else {
        return Ok(None);
    };
    let generation = record.credential.generation();
    let state = to(record.state);
    if state != record.state {
        let version = Version(record.version.0 + 1);
        let stands = record.version;
        devices::update(sql, &DeviceRecord { state, state_since: now, version, ..record }, stands)?;
    }
    Ok(generation)
}
