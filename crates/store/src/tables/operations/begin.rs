//! The first write of an operation: in the transaction that changes its device.

pub(crate) mod batch;

use domain::plan::{self, Action, OperationKind, Phase, PlannedStep, Progress, StepState};
use domain::{DeviceKey, OperationId, TenantId, Timestamp};

use super::receipt_columns;
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::error::storable;

/// An operation to be begun.
#[derive(Clone, Copy, Debug)]
pub struct NewOperation<'a> {
    /// The tenant of the device.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceKey,
    /// What it is for.
    pub kind: OperationKind,
    /// Of a join: what it does to the device; else empty.
    pub deed: &'a str,
    /// Its steps.
    pub plan: &'a [PlannedStep],
    /// Of a leave: when the name is freed.
    pub grace_until: Option<Timestamp>,
}

/// Begins an operation, and absorbs what older ones of the device have not done. Its number is taken after the
/// device's row was written, so that of two operations of one device the later has the larger number.
pub(crate) fn begin(sql: Sql<'_>, new: &NewOperation<'_>, now: Timestamp) -> Result<OperationId, StoreError> {
    // When a step is due, and how long it is somebody's, go by one clock.
    let now = sql.now(now)?;
    absorb(sql, new, now)?;
    let id = next_number(sql)?;
    let (phase, progress) = drawn(new.plan);
    insert(sql, id, new, phase, now)?;
    for (at, (step, progress)) in new.plan.iter().zip(&progress).enumerate() {
        insert_step(sql, id, at, new, step, progress.state, now)?;
    }
    Ok(id)
}

/// Where a plan stands when it begins.
fn drawn(steps: &[PlannedStep]) -> (Phase, Vec<Progress>) {
    let mut progress: Vec<Progress> =
        steps.iter().map(|step| Progress { gate: step.gate, state: StepState::Waiting }).collect();
    for at in plan::released(&progress, false) {
        progress[at].state = StepState::Due;
    }
    (plan::phase(&progress), progress)
}

/// What older operations have still to make is not made any more; what they have to undo is undone all the same,
/// unless the new plan speaks of that neighbour. A running step is absorbed once its result is there, or its
/// lease is over.
fn absorb(sql: Sql<'_>, new: &NewOperation<'_>, now: Timestamp) -> Result<(), StoreError> {
    for step in open_steps(sql, new.device)? {
        let record = &step.record;
        let spoken_of = new.plan.iter().any(|planned| planned.connector == record.connector);
        if record.state.is_over() || (record.action == Action::Retire && !spoken_of) {
            continue;
        }
        let text = match record.state {
            StepState::Running => {
                "UPDATE steps SET absorbed = 1, changed_at = ? WHERE operation = ? AND step = ?"
            }
            _ => "UPDATE steps SET state = 'absorbed', changed_at = ? WHERE operation = ? AND step = ?",
        };
        sql.execute(text, params![now, record.key.operation, record.key.index])?;
    }
    let over = "UPDATE operations SET phase = 'done', ended_at = ?
                WHERE device = ? AND phase <> 'done' AND NOT EXISTS
                    (SELECT 1 FROM steps s WHERE s.operation = operations.operation AND s.absorbed IS NULL
                         AND s.state IN ('waiting', 'due', 'running', 'failed'))";
    sql.execute(over, params![now, new.device])?;
    let text = "UPDATE operations SET grace_until = NULL WHERE device = ? AND grace_until IS NOT NULL";
    sql.execute(text, params![new.device])?;
    Ok(())
}

/// The steps of a device's operations that are not done, held until the transaction ends. However many it has
/// behind it, they are not read.
fn open_steps(sql: Sql<'_>, device: DeviceKey) -> Result<Vec<super::StepRow>, StoreError> {
    let held = sql.for_update();
    let text = format!(
        "SELECT {} FROM steps
         WHERE operation IN (SELECT o.operation FROM operations o WHERE o.device = ? AND o.phase <> 'done')
         ORDER BY operation, step{held}",
        super::STEP_COLUMNS
    );
    sql.query(&text, params![device], super::read_step)
}

fn next_number(sql: Sql<'_>) -> Result<OperationId, StoreError> {
    let text = "UPDATE counters SET next = next + 1 WHERE name = 'operation' RETURNING next - 1";
    Ok(OperationId(sql.one(text, params![], |row| row.unsigned(0))?))
}

fn insert(
    sql: Sql<'_>,
    id: OperationId,
    new: &NewOperation<'_>,
    phase: Phase,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "INSERT INTO operations (operation, tenant, device, kind, deed, phase, began_at, ended_at,
                    grace_until)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let ended = (phase == Phase::Done).then_some(now);
    sql.execute(
        text,
        params![
            id,
            new.tenant,
            new.device,
            new.kind.word(),
            new.deed,
            phase.word(),
            now,
            ended,
            new.grace_until
        ],
    )?;
    Ok(())
}

fn insert_step(
    sql: Sql<'_>,
    id: OperationId,
    at: usize,
    new: &NewOperation<'_>,
    step: &PlannedStep,
    state: StepState,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "INSERT INTO steps (operation, step, tenant, device, action, connector, gate, state, attempts,
                    due_at, lease_until, fence, external_id, receipt, changed_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, ?, ?, ?)";
    let (external_id, receipt) = receipt_columns(step.receipt.as_ref())?;
    sql.execute(
        text,
        params![
            id,
            at as u64,
            new.tenant,
            new.device,
            step.action.word(),
            storable(&step.connector, "the name of a connector")?,
            step.gate.word(),
            state.word(),
            now,
            external_id,
            receipt,
            now,
        ],
    )?;
    Ok(())
}
