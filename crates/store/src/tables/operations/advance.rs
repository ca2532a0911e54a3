//! Steps on their way: results come in, leases go out. One transaction for all of them.

use domain::plan::{self, Action, Receipt, StepRecord, StepState};
use domain::{DeviceKey, DeviceRecord, DeviceState, OperationId, StepKey, TenantId, Timestamp, Version};
use serde::{Deserialize, Serialize};

use super::{OperationStatus, StepRow, journal_step, progress, read_receipt, receipt_columns, steps, word};
use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::error::storable;
use crate::tables::journal::{NewEntry, Pen, What};
use crate::tables::{attributes, devices};

/// The most characters of a fault's message that are kept.
const MOST_MESSAGE_CHARS: usize = 1000;

/// Results to be recorded, and how many steps to claim behind them.
#[derive(Clone, Copy, Debug)]
pub struct Advance<'a> {
    /// What became of steps that were claimed before.
    pub finished: &'a [Finished],
    /// What to claim.
    pub claim: Claim,
}

/// How many steps to claim, and for how long they are ours.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// How many at most.
    pub limit: usize,
    /// How long the lease lasts, in milliseconds.
    pub lease_ms: u64,
}

/// What became of a claimed step.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Which step.
    pub key: StepKey,
    /// The fencing number under which it was claimed.
    pub fence: u64,
    /// How it went.
    pub result: StepResult,
}

/// How a step went.
#[derive(Clone, Debug)]
pub enum StepResult {
    /// It is done; with a receipt where something was made.
    Done(Option<Receipt>),
    /// It is not.
    Fault(StepFault),
}

/// Why a step is not done.
#[derive(Clone, Debug)]
pub struct StepFault {
    /// Whether trying again changes nothing.
    pub permanent: bool,
    /// The fault's code.
    pub code: String,
    /// What happened, for the operator. Never a secret.
    pub message: String,
    /// When it is tried again, in milliseconds from now.
    pub again_in_ms: u64,
}

/// A step that is ours until its lease ends.
#[derive(Clone, Debug)]
pub struct ClaimedStep {
    /// Which.
    pub key: StepKey,
    /// The fencing number to report with.
    pub fence: u64,
    /// How often it was begun, this time included.
    pub attempts: u32,
    /// What it does.
    pub action: Action,
    /// With which connector.
    pub connector: String,
    /// What is to be undone, where that is known.
    pub receipt: Option<Receipt>,
    /// The device.
    pub device: DeviceRecord,
    /// Its label.
    pub label: Option<String>,
    /// The names of its tenant and its profile.
    pub tenant: String,
    /// The name of its profile.
    pub profile: String,
    /// Its attributes, by key; the values are JSON.
    pub attributes: Vec<(String, String)>,
}

/// What came of an [`Advance`].
#[derive(Clone, Debug, Default)]
pub struct Advanced {
    /// Results that came too late: somebody else holds or has finished the step.
    pub refused: Vec<StepKey>,
    /// Where the operations of the accepted results stand.
    pub statuses: Vec<OperationStatus>,
    /// What is ours now.
    pub claimed: Vec<ClaimedStep>,
}

/// Records results, brings their operations to where they stand, and claims what is due.
pub(crate) fn advance(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    advance: &Advance<'_>,
    server: &str,
    now: Timestamp,
) -> Result<Advanced, StoreError> {
    let now = sql.now(now)?;
    let mut advanced = Advanced::default();
    for finished in advance.finished {
        if finish(sql, pen, finished, now)? {
            advanced.statuses.extend(settle(sql, finished.key.operation, now)?);
        } else {
            advanced.refused.push(finished.key);
        }
    }
    if advance.claim.limit > 0 {
        advanced.claimed = claim(sql, advance.claim, server, now)?;
    }
    Ok(advanced)
}

/// Takes up at once what a process of the same name held when it ended: the same step, under the same key. The
/// device's other steps at that connector wait for the end of the lease, for what was sent may still arrive.
pub(crate) fn release_own(sql: Sql<'_>, server: &str, now: Timestamp) -> Result<(), StoreError> {
    let now = sql.now(now)?;
    let text = "UPDATE steps SET due_at = ? WHERE state = 'running' AND server = ?";
    sql.execute(text, params![now, server])?;
    Ok(())
}

// === results ===

/// A step as a result meets it.
struct Met {
    record: StepRecord,
    tenant: TenantId,
    device: DeviceKey,
    fence: u64,
    absorbed: bool,
}

/// Records one result. `false` where the lease it was made under is not the one that stands.
fn finish(sql: Sql<'_>, pen: &mut Pen<'_>, finished: &Finished, now: Timestamp) -> Result<bool, StoreError> {
    let Some(met) = meet(sql, finished.key)? else { return Ok(false) };
    if met.fence == finished.fence && is_recorded(met.record.state) {
        return Ok(true);
    }
    if met.record.state != StepState::Running || met.fence != finished.fence {
        refuse(sql, pen, &met, finished, now)?;
        return Ok(false);
    }
    match &finished.result {
        StepResult::Done(receipt) => done(sql, pen, met, receipt.as_ref(), now)?,
        StepResult::Fault(fault) => failed(sql, pen, &met, fault, now)?,
    }
    Ok(true)
}

/// Whether a result under the standing fence is there already: the answer to its commit was lost.
fn is_recorded(state: StepState) -> bool {
    matches!(state, StepState::Done | StepState::Failed | StepState::Due)
}

fn meet(sql: Sql<'_>, key: StepKey) -> Result<Option<Met>, StoreError> {
    let text = format!(
        "SELECT operation, step, action, connector, state, attempts, external_id, receipt, tenant, device,
             fence, absorbed
         FROM steps WHERE operation = ? AND step = ?{}",
        sql.for_update()
    );
    sql.first(&text, params![key.operation, key.index], |row| {
        let record = StepRecord {
            key: StepKey { operation: OperationId(row.unsigned(0)?), index: row.int(1)? as u32 },
            action: word("the action of a step", row.text(2)?, Action::from_word)?,
            connector: row.string(3)?,
            state: word("the state of a step", row.text(4)?, StepState::from_word)?,
            attempts: row.int(5)? as u32,
            receipt: read_receipt(row, 6)?,
        };
        Ok(Met {
            record,
            tenant: TenantId(row.unsigned(8)?),
            device: DeviceKey(row.unsigned(9)?),
            fence: row.unsigned(10)?,
            absorbed: row.opt_int(11)?.is_some(),
        })
    })
}

fn done(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    mut met: Met,
    receipt: Option<&Receipt>,
    now: Timestamp,
) -> Result<(), StoreError> {
    // What a retirement has undone stays told by its step.
    met.record.receipt = receipt.cloned().or(met.record.receipt);
    let (external_id, detail) = receipt_columns(met.record.receipt.as_ref())?;
    let text =
        "UPDATE steps SET state = 'done', absorbed = NULL, lease_until = 0, external_id = ?, receipt = ?,
                    fault = NULL, fault_message = NULL, changed_at = ?
                WHERE operation = ? AND step = ?";
    let key = met.record.key;
    sql.execute(text, params![external_id, detail, now, key.operation, key.index])?;
    journal_step(pen, met.tenant, met.device, &met.record, "done", None, now)
}

fn failed(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    met: &Met,
    fault: &StepFault,
    now: Timestamp,
) -> Result<(), StoreError> {
    let state = match (met.absorbed, fault.permanent) {
        (true, _) => StepState::Absorbed,
        (false, true) => StepState::Failed,
        (false, false) => StepState::Due,
    };
    let message: String = fault.message.chars().filter(|c| *c != '\0').take(MOST_MESSAGE_CHARS).collect();
    let text = "UPDATE steps SET state = ?, absorbed = NULL, lease_until = 0, due_at = ?, fault = ?,
                    fault_message = ?, changed_at = ?
                WHERE operation = ? AND step = ?";
    let (key, again) = (met.record.key, now.plus_ms(fault.again_in_ms));
    sql.execute(
        text,
        params![
            state.word(),
            again,
            storable(&fault.code, "a fault")?,
            &message,
            now,
            key.operation,
            key.index
        ],
    )?;
    if state == StepState::Failed {
        journal_step(pen, met.tenant, met.device, &met.record, "failed", Some(&fault.code), now)?;
    }
    Ok(())
}

/// A result under a lease that was lost: the receipt is refused, and what was made is undone where the device
/// has left meanwhile. Else the standing step, under the same key or a later one, has made the same or more.
fn refuse(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    met: &Met,
    finished: &Finished,
    now: Timestamp,
) -> Result<(), StoreError> {
    let StepResult::Done(receipt) = &finished.result else { return Ok(()) };
    let mut record = met.record.clone();
    record.receipt.clone_from(receipt);
    journal_step(pen, met.tenant, met.device, &record, "refused", Some("lease-lost"), now)?;
    if record.action != Action::Ensure {
        return Ok(());
    }
    match newest(sql, met.device, &record.connector)? {
        Some(newest) if newest.action == Action::Retire && newest.key > record.key => {
            retire_stray(sql, &newest, receipt.as_ref(), now)
        }
        _ => Ok(()),
    }
}

/// The last step of a device at a connector that counts.
fn newest(sql: Sql<'_>, device: DeviceKey, connector: &str) -> Result<Option<StepRecord>, StoreError> {
    let of_connector = |step: &StepRow| {
        let record = &step.record;
        record.connector == connector && (record.state != StepState::Absorbed || record.attempts > 0)
    };
    let found = super::steps_of(sql, device)?.into_iter().rev().find(of_connector);
    Ok(found.map(|step| step.record))
}

/// Undoes once more what arrived behind the retirement, or tells the waiting one what it has to undo.
fn retire_stray(
    sql: Sql<'_>,
    newest: &StepRecord,
    receipt: Option<&Receipt>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (external_id, detail) = receipt_columns(receipt)?;
    let key = newest.key;
    if newest.attempts == 0 {
        let text = "UPDATE steps SET external_id = ?, receipt = ? WHERE operation = ? AND step = ?
                        AND external_id IS NULL";
        sql.execute(text, params![external_id, detail, key.operation, key.index])?;
        return Ok(());
    }
    let text = "INSERT INTO steps (operation, step, tenant, device, action, connector, gate, state, attempts,
                    due_at, lease_until, fence, external_id, receipt, changed_at)
                SELECT operation, (SELECT max(step) + 1 FROM steps WHERE operation = ?), tenant, device, action,
                    connector, gate, 'due', 0, ?, 0, 0, ?, ?, ?
                FROM steps WHERE operation = ? AND step = ?";
    sql.execute(text, params![key.operation, now, external_id, detail, now, key.operation, key.index])?;
    let reopened = "UPDATE operations SET phase = 'obligations', ended_at = NULL WHERE operation = ?";
    sql.execute(reopened, params![key.operation])?;
    Ok(())
}

// === operations ===

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
    move_device(sql, tenant, device, now, |state| plan::device_state(&progress, state))?;
    Ok(Some(status))
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

fn move_device(
    sql: Sql<'_>,
    tenant: TenantId,
    device: DeviceKey,
    now: Timestamp,
    to: impl Fn(DeviceState) -> DeviceState,
) -> Result<(), StoreError> {
    let Some(record) = devices::by_key(sql, device)?.filter(|record| record.tenant == tenant) else {
        return Ok(());
    };
    let state = to(record.state);
    if state != record.state {
        let version = Version(record.version.0 + 1);
        let stands = record.version;
        devices::update(sql, &DeviceRecord { state, state_since: now, version, ..record }, stands)?;
    }
    Ok(())
}

// === leases ===

fn claim(sql: Sql<'_>, claim: Claim, server: &str, now: Timestamp) -> Result<Vec<ClaimedStep>, StoreError> {
    let over = "UPDATE steps SET state = 'absorbed', absorbed = NULL
                WHERE state = 'running' AND due_at <= ? AND absorbed = 1 AND lease_until <= ?";
    sql.execute(over, params![now, now])?;
    let found = due(sql, claim.limit, now)?;
    let mut claimed = Vec::with_capacity(found.len());
    for key in found {
        let until = now.plus_ms(claim.lease_ms);
        let text =
            "UPDATE steps SET state = 'running', fence = fence + 1, attempts = attempts + 1, due_at = ?,
                        lease_until = ?, server = ?, changed_at = ?
                    WHERE operation = ? AND step = ?";
        sql.execute(text, params![until, until, server, now, key.operation, key.index])?;
        claimed.extend(view(sql, key)?);
    }
    Ok(claimed)
}

/// What can be done now. At one connector a device's steps go one after the other: not while another is under
/// a lease, and not before an earlier one.
fn due(sql: Sql<'_>, limit: usize, now: Timestamp) -> Result<Vec<StepKey>, StoreError> {
    let text = format!(
        "SELECT s.operation, s.step FROM steps s
         WHERE s.state IN ('due', 'running') AND s.due_at <= ? AND s.absorbed IS NULL AND NOT EXISTS
             (SELECT 1 FROM steps e WHERE e.device = s.device AND e.connector = s.connector
                 AND (e.operation <> s.operation OR e.step <> s.step)
                 AND ((e.state = 'running' AND e.lease_until > ?)
                     OR (e.state IN ('due', 'running') AND e.absorbed IS NULL
                         AND (e.operation < s.operation OR (e.operation = s.operation AND e.step < s.step)))))
         ORDER BY s.due_at LIMIT ?{}",
        sql.skip_locked("s")
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let key =
        |row: &Row<'_>| Ok(StepKey { operation: OperationId(row.unsigned(0)?), index: row.int(1)? as u32 });
    sql.query(&text, params![now, now, limit], key)
}

/// A claimed step with all that its connector is told.
fn view(sql: Sql<'_>, key: StepKey) -> Result<Option<ClaimedStep>, StoreError> {
    let text =
        "SELECT s.device, s.fence, s.attempts, s.action, s.connector, s.external_id, s.receipt, t.name,
                    p.name, d.label, s.told
                FROM steps s JOIN devices d ON d.device = s.device JOIN tenants t ON t.id = s.tenant
                    JOIN profiles p ON p.id = d.profile
                WHERE s.operation = ? AND s.step = ?";
    let found = sql.first(text, params![key.operation, key.index], |row| {
        let device = DeviceKey(row.unsigned(0)?);
        let record = devices::by_key(sql, device)?
            .ok_or_else(|| StoreError::corrupt("a step of no device", device))?;
        let step = ClaimedStep {
            key,
            fence: row.unsigned(1)?,
            attempts: row.int(2)? as u32,
            action: word("the action of a step", row.text(3)?, Action::from_word)?,
            connector: row.string(4)?,
            receipt: read_receipt(row, 5)?,
            device: record,
            label: row.opt_string(9)?,
            tenant: row.string(7)?,
            profile: row.string(8)?,
            attributes: Vec::new(),
        };
        Ok((step, row.opt_string(10)?))
    })?;
    let Some((mut step, told)) = found else { return Ok(None) };
    told_as_before(sql, &mut step, told)?;
    if step.action == Action::Retire && step.receipt.is_none() {
        step.receipt = last_receipt(sql, &step)?;
    }
    Ok(Some(step))
}

/// What may change of what a neighbour is told, in the shape in which it rests.
#[derive(Serialize, Deserialize)]
struct Told {
    label: Option<String>,
    attributes: Vec<(String, String)>,
}

/// Under one key a neighbour is told the same at each try, whatever an operator has changed meanwhile.
fn told_as_before(sql: Sql<'_>, step: &mut ClaimedStep, told: Option<String>) -> Result<(), StoreError> {
    let unstorable = |_| StoreError::Unstorable("what a neighbour is told");
    let told = if let Some(text) = told {
        serde_json::from_str(&text).map_err(|_| StoreError::corrupt("what a step tells", step.key))?
    } else {
        let told = Told { label: step.label.take(), attributes: attributes::of(sql, step.device.key)? };
        let text = serde_json::to_string(&told).map_err(unstorable)?;
        let sql_text = "UPDATE steps SET told = ? WHERE operation = ? AND step = ?";
        sql.execute(sql_text, params![&text, step.key.operation, step.key.index])?;
        told
    };
    (step.label, step.attributes) = (told.label, told.attributes);
    Ok(())
}

/// The receipt of what was made last, also where it came after the retirement was planned.
fn last_receipt(sql: Sql<'_>, step: &ClaimedStep) -> Result<Option<Receipt>, StoreError> {
    let text = "SELECT external_id, receipt FROM steps
                WHERE device = ? AND connector = ? AND action = 'ensure' AND external_id IS NOT NULL
                ORDER BY operation DESC, step DESC LIMIT 1";
    let found = sql.first(text, params![step.device.key, &step.connector], |row| read_receipt(row, 0))?;
    Ok(found.flatten())
}

// === first connection and the end ===

/// Devices have shown that they hold their credentials: what was owed to them until then is settled.
pub(crate) fn connected(sql: Sql<'_>, devices: &[DeviceKey], now: Timestamp) -> Result<(), StoreError> {
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
