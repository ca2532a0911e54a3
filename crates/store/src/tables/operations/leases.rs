//! Steps go out under a lease: one at a time for each device and connector, and always with the same words.

use domain::plan::{Action, Receipt};
use domain::{DeviceKey, OperationId, StepKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::advance::{Claim, ClaimedStep};
use super::strangers::{self, Stranger};
use super::{read_receipt, word};
use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::tables::{self, attributes, devices};

pub(super) fn claim(
    sql: Sql<'_>,
    claim: Claim<'_>,
    server: &str,
    now: Timestamp,
) -> Result<(Vec<ClaimedStep>, Vec<Stranger>), StoreError> {
    let (mut claimed, mut left) = (Vec::new(), Vec::new());
    for connector in wanted(sql)? {
        end_absorbed(sql, &connector, now)?;
        let limit = claim.capacity.of(&connector);
        let due = due(sql, &connector, limit, now)?;
        // Where more is due than is taken up, what is left over would have to be searched.
        if due.len() < limit {
            left.extend(strangers::one_due(sql, &connector, now)?);
        }
        for key in due {
            let Some(mut step) = view(sql, key)? else { continue };
            take(sql, &mut step, now.plus_ms(claim.lease_ms), server, now)?;
            claimed.push(step);
        }
    }
    Ok((claimed, left))
}

/// What is open, spelt as in the index `steps_due`: SQLite concludes nothing from a narrower condition.
const OPEN: &str = "state IN ('due', 'running')";

fn wanted(sql: Sql<'_>) -> Result<Vec<String>, StoreError> {
    let wanted = tables::wanted("steps", "connector", OPEN);
    let text = format!("{wanted} SELECT name FROM wanted WHERE name IS NOT NULL");
    sql.query(&text, params![], |row| row.string(0))
}

/// Whether anything can be taken up at any connector.
pub(super) fn is_any_due(sql: Sql<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let wanted = tables::wanted("steps", "connector", OPEN);
    let known = strangers::all_known("steps.operation");
    let due =
        format!("SELECT 1 FROM steps WHERE {OPEN} AND connector = wanted.name AND due_at <= ? AND {known}");
    sql.exists(&format!("{wanted} SELECT 1 FROM wanted WHERE EXISTS ({due})"), params![now])
}

/// What a newer operation has taken the place of is over once its lease is.
fn end_absorbed(sql: Sql<'_>, connector: &str, now: Timestamp) -> Result<(), StoreError> {
    let text = format!(
        "UPDATE steps SET state = 'absorbed', absorbed = NULL
         WHERE {OPEN} AND connector = ? AND due_at <= ? AND absorbed = 1 AND state = 'running'
             AND lease_until <= ?"
    );
    sql.execute(&text, params![connector, now, now])?;
    Ok(())
}

/// What can be done now. At one connector a device's steps go one after the other: not while another is under
/// a lease, and not before an earlier one.
fn due(sql: Sql<'_>, connector: &str, limit: usize, now: Timestamp) -> Result<Vec<StepKey>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT s.operation, s.step FROM steps s
         WHERE s.state IN ('due', 'running') AND s.connector = ? AND s.due_at <= ? AND s.absorbed IS NULL
             AND NOT EXISTS
             (SELECT 1 FROM steps e WHERE e.device = s.device AND e.connector = s.connector
                 AND (e.operation <> s.operation OR e.step <> s.step)
                 AND ((e.state = 'running' AND e.lease_until > ?)
                     OR (e.state IN ('due', 'running') AND e.absorbed IS NULL
                         AND (e.operation < s.operation OR (e.operation = s.operation AND e.step < s.step)))))
             AND {}
         ORDER BY s.due_at LIMIT ?{}",
        strangers::all_known("s.operation"),
        sql.skip_locked("s")
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let key =
        |row: &Row<'_>| Ok(StepKey { operation: OperationId(row.unsigned(0)?), index: row.int(1)? as u32 });
    sql.query(&text, params![connector, now, now, limit], key)
}

/// Makes a step ours until its lease ends.
fn take(
    sql: Sql<'_>,
    step: &mut ClaimedStep,
    until: Timestamp,
    server: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "UPDATE steps SET state = 'running', fence = fence + 1, attempts = attempts + 1, due_at = ?,
                    lease_until = ?, server = ?, told = ?, changed_at = ?
                WHERE operation = ? AND step = ?";
    let told = Told { label: step.label.clone(), attributes: step.attributes.clone() };
    let told =
        serde_json::to_string(&told).map_err(|_| StoreError::Unstorable("what a neighbour is told"))?;
    sql.execute(text, params![until, until, server, &told, now, step.key.operation, step.key.index])?;
    step.fence += 1;
    step.attempts += 1;
    Ok(())
}

/// A step with all that its connector is told.
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
    let Some(told) = told else {
        step.attributes = attributes::of(sql, step.device.key)?;
        return Ok(());
    };
    let told: Told =
        serde_json::from_str(&told).map_err(|_| StoreError::corrupt("what a step tells", step.key))?;
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
