//! Steps on their way: results come in, leases go out. One transaction for all of them.

use std::collections::BTreeMap;

use domain::plan::{Action, Receipt, StepRecord, StepState};
use domain::{DeviceKey, DeviceRecord, OperationId, StepKey, TenantId, Timestamp};

use super::strangers::{self, Stranger};
use super::{OperationStatus, StepRow, journal_step, leases, read_receipt, receipt_columns, settle, word};
use crate::StoreError;
use crate::driver::{Sql, params};
use crate::error::storable;
use crate::tables::journal::Pen;

/// The most characters of a fault's message that are kept.
const MOST_MESSAGE_CHARS: usize = 1000;

/// Results to be recorded, and how many steps to claim behind them.
#[derive(Clone, Copy, Debug)]
pub struct Advance<'a> {
    /// What became of steps that were claimed before.
    pub finished: &'a [Finished],
    /// What to claim.
    pub claim: Claim<'a>,
}

/// What to claim, and for how long it is ours.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// How much each neighbour takes on.
    pub capacity: &'a Capacity,
    /// How long the lease lasts, in milliseconds.
    pub lease_ms: u64,
}

/// How many more calls each neighbour takes on. Each has its own, so that a slow one keeps nobody else waiting.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    /// By the neighbour's name.
    pub by_name: BTreeMap<String, usize>,
    /// For each one that is not named.
    pub others: usize,
}

impl Capacity {
    /// So many for each.
    pub const fn for_each(most: usize) -> Capacity {
        Capacity { by_name: BTreeMap::new(), others: most }
    }

    pub(crate) fn of(&self, name: &str) -> usize {
        self.by_name.get(name).copied().unwrap_or(self.others)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.others == 0 && self.by_name.values().all(|left| *left == 0)
    }
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
    /// What is due and left to newer servers: one step at most of each connector.
    pub strangers: Vec<Stranger>,
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
    settle::hold_devices(sql, &advance.finished.iter().map(|it| it.key).collect::<Vec<_>>())?;
    for finished in advance.finished {
        if finish(sql, pen, finished, now)? {
            advanced.statuses.extend(settle::settle(sql, finished.key.operation, now)?);
        } else {
            advanced.refused.push(finished.key);
        }
    }
    if !advance.claim.capacity.is_empty() {
        (advanced.claimed, advanced.strangers) = leases::claim(sql, advance.claim, server, now)?;
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

/// `None` also where only a newer server can say where the operation stands: it does the step once more, under the
/// same key.
fn meet(sql: Sql<'_>, key: StepKey) -> Result<Option<Met>, StoreError> {
    let text = format!(
        "SELECT operation, step, action, connector, state, attempts, external_id, receipt, tenant, device,
             fence, absorbed
         FROM steps WHERE operation = ? AND step = ? AND {}{}",
        strangers::all_known("steps.operation"),
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

/// A result under a lease that was lost: the receipt is refused, and what was made, or may have been made where no
/// answer came, is undone where the device has left meanwhile. Else the standing step, under the same key or a
/// later one, has made the same or more.
fn refuse(
    sql: Sql<'_>,
    pen: &mut Pen<'_>,
    met: &Met,
    finished: &Finished,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut record = met.record.clone();
    record.receipt = None;
    if let StepResult::Done(receipt) = &finished.result {
        record.receipt.clone_from(receipt);
        journal_step(pen, met.tenant, met.device, &record, "refused", Some("lease-lost"), now)?;
    }
    if record.action != Action::Ensure {
        return Ok(());
    }
    match newest(sql, met.device, &record.connector)? {
        Some(newest) if newest.action == Action::Retire && newest.key > record.key => {
            retire_stray(sql, &newest, record.receipt.as_ref(), now)
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
    let found = super::known_steps_of(sql, device)?.into_iter().rev().find(of_connector);
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
