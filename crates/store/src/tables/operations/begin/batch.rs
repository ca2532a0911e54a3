//! Many operations begun on a PostgreSQL: one statement for their numbers, one for each table.

use domain::plan::{PlannedStep, StepState};
use domain::{OperationId, Timestamp};

use super::{NewOperation, absorb, drawn, receipt_columns};
use crate::StoreError;
use crate::driver::{Param, Sql, params};
use crate::error::storable;

/// As [`super::begin`], for many devices, in their order. `fresh` says of each whether its device is new, so that
/// there is nothing older to be absorbed.
pub(crate) fn begin(
    sql: Sql<'_>,
    news: &[(NewOperation<'_>, bool)],
    now: Timestamp,
) -> Result<Vec<OperationId>, StoreError> {
    if news.is_empty() {
        return Ok(Vec::new());
    }
    let now = sql.now(now)?;
    for (new, _) in news.iter().filter(|(_, fresh)| !fresh) {
        absorb(sql, new, now)?;
    }
    let first = next_numbers(sql, news.len() as u64)?;
    let ids: Vec<OperationId> = (first..).take(news.len()).map(OperationId).collect();
    let mut operations = Operations::default();
    let mut steps = Steps::default();
    for ((new, _), id) in news.iter().zip(&ids) {
        let (phase, progress) = drawn(new.plan);
        operations.id.push(id.0.cast_signed());
        operations.tenant.push(new.tenant.0.cast_signed());
        operations.device.push(new.device.0.cast_signed());
        operations.kind.push(new.kind.word());
        operations.deed.push(new.deed);
        operations.phase.push(phase.word());
        operations.ended.push((phase == domain::plan::Phase::Done).then_some(now.0));
        operations.grace.push(new.grace_until.map(|until| until.0));
        for (at, (step, progress)) in new.plan.iter().zip(&progress).enumerate() {
            steps.push(*id, at, new, step, progress.state)?;
        }
    }
    operations.insert(sql, now)?;
    steps.insert(sql, now)?;
    Ok(ids)
}

fn next_numbers(sql: Sql<'_>, count: u64) -> Result<u64, StoreError> {
    let text = "UPDATE counters SET next = next + ? WHERE name = 'operation' RETURNING next";
    Ok(sql.one(text, params![count], |row| row.unsigned(0))? - count)
}

/// Operations, column by column.
#[derive(Default)]
struct Operations<'a> {
    id: Vec<i64>,
    tenant: Vec<i64>,
    device: Vec<i64>,
    kind: Vec<&'a str>,
    deed: Vec<&'a str>,
    phase: Vec<&'a str>,
    ended: Vec<Option<i64>>,
    grace: Vec<Option<i64>>,
}

impl Operations<'_> {
    fn insert(&self, sql: Sql<'_>, now: Timestamp) -> Result<(), StoreError> {
        let text = "INSERT INTO operations (began_at, operation, tenant, device, kind, deed, phase, ended_at,
                        grace_until)
                    SELECT ?, new.* FROM UNNEST(?::bigint[], ?::bigint[], ?::bigint[], ?::text[], ?::text[],
                        ?::text[], ?::bigint[], ?::bigint[]) AS new";
        let params = [
            Param::from(now),
            Param::array(&self.id),
            Param::array(&self.tenant),
            Param::array(&self.device),
            Param::array(&self.kind),
            Param::array(&self.deed),
            Param::array(&self.phase),
            Param::array(&self.ended),
            Param::array(&self.grace),
        ];
        sql.execute(text, &params)?;
        Ok(())
    }
}

/// Steps, column by column.
#[derive(Default)]
struct Steps<'a> {
    operation: Vec<i64>,
    step: Vec<i64>,
    tenant: Vec<i64>,
    device: Vec<i64>,
    action: Vec<&'a str>,
    connector: Vec<&'a str>,
    gate: Vec<&'a str>,
    state: Vec<&'a str>,
    external_id: Vec<Option<&'a str>>,
    receipt: Vec<Option<&'a str>>,
}

impl<'a> Steps<'a> {
    fn push(
        &mut self,
        id: OperationId,
        at: usize,
        new: &NewOperation<'a>,
        step: &'a PlannedStep,
        state: StepState,
    ) -> Result<(), StoreError> {
        let (external_id, receipt) = receipt_columns(step.receipt.as_ref())?;
        self.operation.push(id.0.cast_signed());
        self.step.push(at as i64);
        self.tenant.push(new.tenant.0.cast_signed());
        self.device.push(new.device.0.cast_signed());
        self.action.push(step.action.word());
        self.connector.push(storable(&step.connector, "the name of a connector")?);
        self.gate.push(step.gate.word());
        self.state.push(state.word());
        self.external_id.push(external_id);
        self.receipt.push(receipt);
        Ok(())
    }

    fn insert(&self, sql: Sql<'_>, now: Timestamp) -> Result<(), StoreError> {
        let text = "INSERT INTO steps (due_at, changed_at, attempts, lease_until, fence, operation, step, tenant,
                        device, action, connector, gate, state, external_id, receipt)
                    SELECT ?, ?, 0, 0, 0, new.* FROM UNNEST(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[],
                        ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[]) AS new";
        let params = [
            Param::from(now),
            Param::from(now),
            Param::array(&self.operation),
            Param::array(&self.step),
            Param::array(&self.tenant),
            Param::array(&self.device),
            Param::array(&self.action),
            Param::array(&self.connector),
            Param::array(&self.gate),
            Param::array(&self.state),
            Param::array(&self.external_id),
            Param::array(&self.receipt),
        ];
        sql.execute(text, &params)?;
        Ok(())
    }
}
