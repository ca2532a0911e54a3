//! Operations and their steps: the durable work behind decisions that have a plan.

mod advance;
mod begin;
mod leases;
mod lives;
mod settle;
mod strangers;

use std::collections::HashMap;

use domain::plan::{Action, Gate, OperationKind, Phase, Progress, Receipt, StepRecord, StepState};
use domain::{DeviceKey, Generation, OperationId, StepKey, TenantId, Timestamp};

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Param, Row, Sql, params};
use crate::error::storable;
use crate::tables::devices;
use crate::tables::journal::{NewEntry, Pen, What};

pub use advance::{Advance, Advanced, Capacity, Claim, ClaimedStep, Finished, StepFault, StepResult};
pub(crate) use advance::{advance, release_own};
pub use begin::NewOperation;
pub(crate) use begin::batch::begin as begin_many;
pub(crate) use begin::begin;
pub(crate) use lives::{complete_leaving, connected, end_all, is_leaving_due, is_work_due};
pub use strangers::Stranger;

/// An operation as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRow {
    /// Which.
    pub id: OperationId,
    /// The tenant of its device.
    pub tenant: TenantId,
    /// Its device.
    pub device: DeviceKey,
    /// What it is for.
    pub kind: OperationKind,
    /// Of a join: what it did to the device (`created`, `claimed`, `rotated`); else empty.
    pub deed: String,
    /// Where it stands.
    pub phase: Phase,
    /// When it began.
    pub began_at: Timestamp,
    /// When nothing was left to do.
    pub ended_at: Option<Timestamp>,
    /// Of a leave that can still be taken back: when the name is freed.
    pub grace_until: Option<Timestamp>,
}

/// A step as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// What plans are drawn from.
    pub record: StepRecord,
    /// When it is due.
    pub gate: Gate,
    /// When it can be tried (again).
    pub due_at: Timestamp,
    /// Who holds or held its lease.
    pub server: Option<String>,
    /// The code of the last fault.
    pub fault: Option<String>,
    /// What the last fault said.
    pub fault_message: Option<String>,
    /// When it changed last.
    pub changed_at: Timestamp,
}

/// What an operation's waiting device has to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationStatus {
    /// Which.
    pub id: OperationId,
    /// Its device.
    pub device: DeviceKey,
    /// The generation of the credential that the device holds, or will; `None` where it holds none any more.
    pub generation: Option<Generation>,
    /// Where it stands.
    pub phase: Phase,
    /// Whether a step before the reply is left.
    pub keeps_waiting: bool,
    /// Whether all is over that the answer may wait for.
    pub answerable: bool,
}

/// Which operations to read: the newest first.
#[derive(Clone, Copy, Debug)]
pub struct OperationQuery {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Only those of this device, the ended ones too.
    pub device: Option<DeviceKey>,
    /// Only those that a permanent fault has stopped.
    pub stopped: bool,
    /// Only those older than this one.
    pub before: Option<OperationId>,
    /// How many at most.
    pub limit: usize,
}

const COLUMNS: &str = "operation, tenant, device, kind, deed, phase, began_at, ended_at, grace_until";
const STEP_COLUMNS: &str = "operation, step, action, connector, gate, state, attempts, due_at, server,
    external_id, receipt, fault, fault_message, changed_at";

impl View<'_> {
    /// A page of a tenant's operations: those that are not done, or all of one device.
    ///
    /// # Errors
    /// What the database says.
    pub fn operations(&self, query: &OperationQuery) -> Result<Vec<OperationRow>, StoreError> {
        let narrowed = match (query.device, query.stopped) {
            (Some(_), _) => "device = ?",
            (None, true) => "phase = 'stopped' AND ? = 0",
            (None, false) => "phase <> 'done' AND ? = 0",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM operations WHERE tenant = ? AND {narrowed} AND operation < ?
             ORDER BY operation DESC LIMIT ?"
        );
        let device = query.device.map_or(0, |device| device.0.cast_signed());
        let before = query.before.map_or(i64::MAX, |before| before.0.cast_signed());
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        self.sql.query(&sql, params![query.tenant, device, before, limit], read_operation)
    }

    /// An operation and its steps, if it belongs to that tenant.
    ///
    /// # Errors
    /// What the database says.
    pub fn operation(
        &self,
        tenant: TenantId,
        id: OperationId,
    ) -> Result<Option<(OperationRow, Vec<StepRow>)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operations WHERE operation = ? AND tenant = ?");
        let Some(row) = self.sql.first(&sql, params![id, tenant], read_operation)? else { return Ok(None) };
        Ok(Some((row, steps(self.sql, id)?)))
    }

    /// When the grace of a device's leave is over, while it can be taken back.
    ///
    /// # Errors
    /// What the database says.
    pub fn grace_of(&self, device: DeviceKey) -> Result<Option<Timestamp>, StoreError> {
        let text = "SELECT max(grace_until) FROM operations WHERE device = ?";
        self.sql.one(text, params![device], |row| row.opt_time(0))
    }

    /// Every step that was ever planned for a device.
    ///
    /// # Errors
    /// What the database says.
    pub fn steps_of(&self, device: DeviceKey) -> Result<Vec<StepRow>, StoreError> {
        steps_of(self.sql, device)
    }

    /// The same for many devices; those that none was planned for are not among them.
    ///
    /// # Errors
    /// What the database says.
    pub fn steps_of_each(
        &self,
        devices: &[DeviceKey],
    ) -> Result<HashMap<DeviceKey, Vec<StepRecord>>, StoreError> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        let mut take = |row: &Row<'_>| {
            found.entry(DeviceKey(row.unsigned(14)?)).or_default().push(read_step(row)?.record);
            Ok(true)
        };
        let text = |of: &str| {
            format!("SELECT {STEP_COLUMNS}, device FROM steps WHERE device {of} ORDER BY operation, step")
        };
        if self.sql.is_postgres() {
            let keys: Vec<i64> = devices.iter().map(|device| device.0.cast_signed()).collect();
            self.sql.each(&text("= ANY(?)"), &[Param::array(&keys)], take)?;
        } else {
            let text = text("= ?");
            devices.iter().try_for_each(|device| self.sql.each(&text, params![*device], &mut take))?;
        }
        Ok(found)
    }
}

impl Change<'_> {
    /// Begins an operation over a device that this transaction has changed; what older ones have not begun is
    /// absorbed. Its steps are due at once, as far as their gates allow.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin_operation(
        &mut self,
        new: &NewOperation<'_>,
        now: Timestamp,
    ) -> Result<OperationId, StoreError> {
        begin(self.sql, new, now)
    }

    /// All steps of a device, as [`View::steps_of`]; none of them is claimed or finished before this transaction
    /// ends. What leaves by them would else miss an attempt that begins meanwhile.
    ///
    /// # Errors
    /// What the database says.
    pub fn steps_of(&self, device: DeviceKey) -> Result<Vec<StepRow>, StoreError> {
        steps_held(self.sql, device)
    }

    /// Lets a failed step be tried again. `false` where it has not failed.
    ///
    /// # Errors
    /// What the database says.
    pub fn resume_step(&mut self, key: StepKey, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE steps SET state = 'due', due_at = ?, changed_at = ?
                   WHERE operation = ? AND step = ? AND state = 'failed'";
        let now = self.sql.now(now)?;
        let changed = self.sql.execute(sql, params![now, now, key.operation, key.index])?;
        Ok(changed > 0)
    }

    /// Writes a step off that is not over: what it was for is nobody's business any more. `false` where it is
    /// over, or running at this moment.
    ///
    /// # Errors
    /// What the database says.
    pub fn abandon_step(&mut self, key: StepKey, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE steps SET state = 'abandoned', changed_at = ?
                   WHERE operation = ? AND step = ?
                     AND (state IN ('waiting', 'due', 'failed') OR (state = 'running' AND due_at <= ?))";
        let now = self.sql.now(now)?;
        Ok(self.sql.execute(sql, params![now, key.operation, key.index, now])? > 0)
    }

    /// Brings an operation and its device to where its steps stand, after some of them were changed.
    ///
    /// # Errors
    /// What the database says.
    pub fn settle_operation(&mut self, id: OperationId, now: Timestamp) -> Result<(), StoreError> {
        settle::settle(self.sql, id, now).map(drop)
    }

    /// Ends the grace period of a device's leave: it was taken back.
    ///
    /// # Errors
    /// What the database says.
    pub fn end_grace(&mut self, device: DeviceKey) -> Result<(), StoreError> {
        self.sql.execute("UPDATE operations SET grace_until = NULL WHERE device = ?", params![device])?;
        Ok(())
    }
}

/// The steps of an operation, in the order of the plan.
pub(crate) fn steps(sql: Sql<'_>, id: OperationId) -> Result<Vec<StepRow>, StoreError> {
    let text = format!("SELECT {STEP_COLUMNS} FROM steps WHERE operation = ? ORDER BY step");
    sql.query(&text, params![id], read_step)
}

pub(crate) fn steps_of(sql: Sql<'_>, device: DeviceKey) -> Result<Vec<StepRow>, StoreError> {
    let text = format!("SELECT {STEP_COLUMNS} FROM steps WHERE device = ? ORDER BY operation, step");
    sql.query(&text, params![device], read_step)
}

/// The same, without those that only newer servers know.
fn known_steps_of(sql: Sql<'_>, device: DeviceKey) -> Result<Vec<StepRow>, StoreError> {
    let known = strangers::known("");
    let text =
        format!("SELECT {STEP_COLUMNS} FROM steps WHERE device = ? AND {known} ORDER BY operation, step");
    sql.query(&text, params![device], read_step)
}

/// The same, for whoever decides by them: they stay as they are read until the transaction ends.
fn steps_held(sql: Sql<'_>, device: DeviceKey) -> Result<Vec<StepRow>, StoreError> {
    let held = sql.for_update();
    let text = format!("SELECT {STEP_COLUMNS} FROM steps WHERE device = ? ORDER BY operation, step{held}");
    sql.query(&text, params![device], read_step)
}

/// Where the joins of devices stand, in the order of `devices`; `None` where one's last operation is none.
pub(crate) fn statuses(
    sql: Sql<'_>,
    devices: &[DeviceKey],
) -> Result<Vec<Option<OperationStatus>>, StoreError> {
    devices.iter().map(|device| status(sql, *device)).collect()
}

fn status(sql: Sql<'_>, device: DeviceKey) -> Result<Option<OperationStatus>, StoreError> {
    let text = "SELECT operation, kind FROM operations WHERE device = ? ORDER BY operation DESC LIMIT 1";
    let last = sql.first(text, params![device], |row| Ok((OperationId(row.unsigned(0)?), row.string(1)?)))?;
    let Some((id, _)) = last.filter(|(_, kind)| kind == OperationKind::Join.word()) else { return Ok(None) };
    let generation = devices::by_key(sql, device)?.and_then(|record| record.credential.generation());
    if strangers::are_in(sql, id)? {
        return Ok(Some(OperationStatus::untold(id, device)));
    }
    let status = OperationStatus::of(id, device, &progress(&steps(sql, id)?));
    Ok(Some(OperationStatus { generation, ..status }))
}

impl OperationStatus {
    /// Only a newer server knows where it stands: the device waits, and comes again.
    fn untold(id: OperationId, device: DeviceKey) -> OperationStatus {
        let phase = Phase::BeforeReply;
        OperationStatus { id, device, generation: None, phase, keeps_waiting: true, answerable: false }
    }

    pub(crate) fn of(id: OperationId, device: DeviceKey, steps: &[Progress]) -> OperationStatus {
        let keeps_waiting = steps.iter().any(|step| step.gate == Gate::BeforeReply && !step.state.is_over());
        let answerable = domain::plan::is_answerable(steps);
        let phase = domain::plan::phase(steps);
        OperationStatus { id, device, generation: None, phase, keeps_waiting, answerable }
    }
}

fn progress(steps: &[StepRow]) -> Vec<Progress> {
    steps.iter().map(|step| Progress { gate: step.gate, state: step.record.state }).collect()
}

/// Journals what became of a step.
fn journal_step(
    pen: &mut Pen<'_>,
    tenant: TenantId,
    device: DeviceKey,
    step: &StepRecord,
    outcome: &str,
    more: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail = serde_json::json!({
        "operation": step.key.operation.0,
        "step": step.key.index,
        "action": step.action.word(),
        "connector": step.connector,
        "outcome": outcome,
        "external_id": step.receipt.as_ref().map(|receipt| &receipt.external_id),
        "fault": more,
    });
    let what = What::Audit { kind: "step".to_owned(), actor: "server:steps".to_owned(), detail };
    pen.append(&NewEntry { tenant: Some(tenant), device: Some(device), what }, now)
}

fn read_operation(row: &Row<'_>) -> Result<OperationRow, StoreError> {
    Ok(OperationRow {
        id: OperationId(row.unsigned(0)?),
        tenant: TenantId(row.unsigned(1)?),
        device: DeviceKey(row.unsigned(2)?),
        kind: word("the kind of an operation", row.text(3)?, OperationKind::from_word)?,
        deed: row.string(4)?,
        phase: word("the phase of an operation", row.text(5)?, Phase::from_word)?,
        began_at: row.time(6)?,
        ended_at: row.opt_time(7)?,
        grace_until: row.opt_time(8)?,
    })
}

fn read_step(row: &Row<'_>) -> Result<StepRow, StoreError> {
    let record = StepRecord {
        key: StepKey { operation: OperationId(row.unsigned(0)?), index: row.int(1)? as u32 },
        action: word("the action of a step", row.text(2)?, Action::from_word)?,
        connector: row.string(3)?,
        state: word("the state of a step", row.text(5)?, StepState::from_word)?,
        attempts: row.int(6)? as u32,
        receipt: read_receipt(row, 9)?,
    };
    Ok(StepRow {
        record,
        gate: word("the gate of a step", row.text(4)?, Gate::from_word)?,
        due_at: row.time(7)?,
        server: row.opt_string(8)?,
        fault: row.opt_string(11)?,
        fault_message: row.opt_string(12)?,
        changed_at: row.time(13)?,
    })
}

fn read_receipt(row: &Row<'_>, column: usize) -> Result<Option<Receipt>, StoreError> {
    let Some(external_id) = row.opt_string(column)? else { return Ok(None) };
    Ok(Some(Receipt { external_id, detail: row.opt_string(column + 1)? }))
}

/// The columns of a receipt that may be stored.
fn receipt_columns(receipt: Option<&Receipt>) -> Result<(Option<&str>, Option<&str>), StoreError> {
    let Some(receipt) = receipt else { return Ok((None, None)) };
    let detail = receipt.detail.as_deref().map(|detail| storable(detail, "a receipt")).transpose()?;
    Ok((Some(storable(&receipt.external_id, "a receipt")?), detail))
}

fn word<T>(what: &str, word: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
    parse(word).ok_or_else(|| StoreError::corrupt(what, word))
}

impl From<OperationId> for Param<'_> {
    fn from(operation: OperationId) -> Self {
        Param::Int(operation.0.cast_signed())
    }
}
