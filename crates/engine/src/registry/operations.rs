//! Durable work, as operators see it: what it waits for, and what to do where it has stopped.

use domain::plan::{OperationKind, Phase, StepState};
use domain::{Credential, DeviceRecord, DeviceState, OperationId, StepKey, Timestamp, Version};
use serde_json::json;
use store::{Change, NewOperation, OperationQuery, OperationRow, StepRow, StoreError, View};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Tenant, What};
use crate::ports::{Connector, Farewell, Fault, Hook};

const MOST_PER_PAGE: usize = 1000;
const USUAL_PER_PAGE: usize = 100;

/// An operation and its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The operation.
    pub row: OperationRow,
    /// The name of its device.
    pub device: String,
    /// Its steps, in the order of the plan.
    pub steps: Vec<StepRow>,
}

/// Which operations: those that are not done, the newest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperationsWanted<'a> {
    /// All of this device, the ended ones too.
    pub device: Option<&'a str>,
    /// Only those that a permanent fault has stopped.
    pub stopped: bool,
    /// Only those older than this one.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: Option<usize>,
}

/// A neighbour or a hook, and whether it could work right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The name it has in the configuration.
    pub name: String,
    /// Whether it is asked before a device is let in, and is not told of devices.
    pub is_hook: bool,
}

// === impl Registry ===

impl Registry {
    /// A page of operations and the number behind which the next one begins.
    ///
    /// # Errors
    /// `device-not-found`; what the store says.
    pub fn operations(
        &self,
        tenant: &Tenant,
        wanted: &OperationsWanted<'_>,
    ) -> Result<(Vec<Operation>, Option<u64>), RegistryError> {
        let limit = wanted.limit.unwrap_or(USUAL_PER_PAGE).clamp(1, MOST_PER_PAGE);
        let rows = self.store.read(|view| {
            let device = match wanted.device {
                Some(name) => match self.find_departed(view, tenant, name)? {
                    Some(row) => Some(row.record.key),
                    None => return Ok(None),
                },
                None => None,
            };
            let before = wanted.before.map(OperationId);
            let query = OperationQuery { tenant: tenant.id, device, stopped: wanted.stopped, before, limit };
            let rows = view.operations(&query)?;
            rows.into_iter().map(|row| with_steps(view, row)).collect::<Result<Vec<_>, _>>().map(Some)
        })?;
        let missing = || RegistryError::not_found(What::Device, wanted.device.unwrap_or_default());
        let rows = rows.ok_or_else(missing)?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|last| last.row.id.0);
        Ok((rows, next))
    }

    /// One operation.
    ///
    /// # Errors
    /// `operation-not-found`.
    pub fn operation(&self, tenant: &Tenant, id: u64) -> Result<Operation, RegistryError> {
        let found = self.store.read(|view| match view.operation(tenant.id, OperationId(id))? {
            Some((row, _)) => with_steps(view, row).map(Some),
            None => Ok(None),
        })?;
        found.ok_or_else(|| RegistryError::not_found(What::Operation, &id.to_string()))
    }

    /// Lets every failed step of an operation be tried again.
    ///
    /// # Errors
    /// `operation-not-found`; `operation-not-stopped` where no step has failed.
    pub fn resume_operation(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: u64,
    ) -> Result<Operation, RegistryError> {
        let now = self.now();
        self.change_operation(operator, tenant, id, "operation-resumed", |change, operation| {
            let failed = operation.steps.iter().filter(|step| step.record.state == StepState::Failed);
            let keys: Vec<StepKey> = failed.map(|step| step.record.key).collect();
            if keys.is_empty() {
                return Err(RegistryError::NotStopped { operation: id });
            }
            keys.iter().try_for_each(|key| change.resume_step(*key, now).map(drop))?;
            Ok(json!({ "steps": keys.iter().map(|key| key.index).collect::<Vec<_>>() }))
        })
    }

    /// Writes a step off: its receipt says `abandoned`, and the operation goes on without it.
    ///
    /// # Errors
    /// `operation-not-found`; `step-not-open` where there is no such step, or it is over or running now.
    pub fn write_off_step(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: u64,
        index: u32,
    ) -> Result<Operation, RegistryError> {
        let now = self.now();
        self.change_operation(operator, tenant, id, "step-written-off", |change, operation| {
            let key = StepKey { operation: OperationId(id), index };
            if !change.abandon_step(key, now)? {
                return Err(RegistryError::StepNotOpen { operation: id, step: index });
            }
            let step = operation.steps.iter().find(|step| step.record.key == key);
            Ok(json!({ "step": index, "connector": step.map(|step| &step.record.connector) }))
        })
    }

    /// Undoes a join that has stopped before its device was answered: what was made is retired, and the device
    /// is as it was before it came.
    ///
    /// # Errors
    /// `operation-not-found`; `operation-not-stopped` where its device has not failed.
    pub fn unwind_operation(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: u64,
    ) -> Result<Operation, RegistryError> {
        let now = self.now();
        let (unwinding, device) = self.store.write(|change: &mut Change<'_>| {
            let (row, device) = with_device(change, tenant, id)?;
            let failed = |device: &DeviceRecord| device.state.enable() == DeviceState::Failed;
            let device = device.filter(|device| row.phase == Phase::Stopped && failed(device));
            let device = device.ok_or(RegistryError::NotStopped { operation: id })?;
            let gone = row.deed == domain::decide::Deed::Created.word();
            let over = gone.then_some(change.now(now)?);
            let unwinding = leave(change, &device, OperationKind::Unwind, over, now)?;
            if !gone {
                let left = change.device_by_key(tenant.id, device.key)?;
                let left = left.ok_or_else(|| RegistryError::not_found(What::Device, &device.name))?;
                take_back(change, left.record, now)?;
            }
            let detail = json!({ "name": device.name, "operation": id, "by": unwinding.0 });
            self.journal(change, operator, &Deed::on(&device, "operation-unwound", detail))?;
            Ok::<_, RegistryError>((unwinding, device))
        })?;
        self.ports.sessions.close(&[device.key], Farewell::CredentialChanged);
        (self.work_due)();
        self.operation(tenant, unwinding.0)
    }

    /// The neighbours and hooks of this server, by name.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        let connectors = self.ports.connectors.iter().map(|it| (it.name().to_owned(), false));
        let hooks = self.ports.hooks.iter().map(|it| (it.name().to_owned(), true));
        let mut all: Vec<Neighbour> =
            connectors.chain(hooks).map(|(name, is_hook)| Neighbour { name, is_hook }).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Asks a neighbour or a hook whether it could work right now.
    ///
    /// # Errors
    /// `connector-not-found`. What the neighbour says is no error but the answer.
    pub async fn test_neighbour(&self, name: &str) -> Result<Result<(), Fault>, RegistryError> {
        if let Some(connector) = self.ports.connectors.iter().find(|it| it.name() == name) {
            return Ok(Connector::check(&**connector).await);
        }
        let hook = self.ports.hooks.iter().find(|it| it.name() == name);
        let hook = hook.ok_or_else(|| RegistryError::not_found(What::Connector, name))?;
        Ok(Hook::check(&**hook).await)
    }

    fn change_operation(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: u64,
        kind: &'static str,
        mut apply: impl FnMut(&mut Change<'_>, &Operation) -> Result<serde_json::Value, RegistryError>,
    ) -> Result<Operation, RegistryError> {
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            let (row, device) = with_device(change, tenant, id)?;
            let operation = with_steps(change, row)?;
            let mut detail = apply(change, &operation)?;
            change.settle_operation(OperationId(id), now)?;
            if let Some(members) = detail.as_object_mut() {
                members.insert("operation".to_owned(), id.into());
                members.insert("name".to_owned(), operation.device.as_str().into());
            }
            let deed = match &device {
                Some(device) => Deed::on(device, kind, detail),
                None => Deed::of(tenant.id, kind, detail),
            };
            self.journal(change, operator, &deed)
        })?;
        (self.work_due)();
        self.operation(tenant, id)
    }
}

/// An operation that stays as it is read, and its device, unless that is deleted: the device is held first.
fn with_device(
    change: &Change<'_>,
    tenant: &Tenant,
    id: u64,
) -> Result<(OperationRow, Option<DeviceRecord>), RegistryError> {
    let read = || change.operation(tenant.id, OperationId(id)).map(|found| found.map(|(row, _)| row));
    let missing = || RegistryError::not_found(What::Operation, &id.to_string());
    let device = read()?.ok_or_else(missing)?.device;
    let device = change.device_by_key(tenant.id, device)?.map(|row| row.record);
    Ok((read()?.ok_or_else(missing)?, device))
}

fn with_steps(view: &View<'_>, row: OperationRow) -> Result<Operation, StoreError> {
    let device = view.device_by_key(row.tenant, row.device)?.map(|row| row.record.name).unwrap_or_default();
    let steps = view.operation(row.tenant, row.id)?.map(|(_, steps)| steps).unwrap_or_default();
    Ok(Operation { row, device, steps })
}

/// A device leaves: its credentials are void, and everyone who may know it is told. The one way out, whoever
/// opens it.
pub(super) fn leave(
    change: &mut Change<'_>,
    device: &DeviceRecord,
    kind: OperationKind,
    grace_until: Option<Timestamp>,
    now: Timestamp,
) -> Result<OperationId, RegistryError> {
    let state =
        device.state.decommission().ok_or_else(|| RegistryError::Leaving { name: device.name.clone() })?;
    let left = DeviceRecord {
        state,
        state_since: now,
        credential: Credential::None,
        owed: domain::Owed::default(),
        version: Version(device.version.0 + 1),
        ..device.clone()
    };
    change.void_credential(device);
    change.update_device(&left)?;
    let known: Vec<_> = change.steps_of(device.key)?.into_iter().map(|step| step.record).collect();
    let plan = domain::plan::leaving(&known);
    let (tenant, device) = (device.tenant, device.key);
    let new = NewOperation { tenant, device, kind, deed: "", plan: &plan, grace_until };
    Ok(change.begin_operation(&new, now)?)
}

/// A device that left is expected again, as if it had never come, unless its grace is over.
pub(super) fn take_back(
    change: &mut Change<'_>,
    device: DeviceRecord,
    now: Timestamp,
) -> Result<DeviceRecord, RegistryError> {
    let state = device.state.restore();
    let state = state.ok_or_else(|| RegistryError::NotLeaving { name: device.name.clone() })?;
    let shared_now = change.now(now)?;
    if change.grace_of(device.key)?.is_some_and(|until| until <= shared_now) {
        return Err(RegistryError::GraceOver { name: device.name });
    }
    let version = Version(device.version.0 + 1);
    let owed = domain::Owed { return_home: true, ..domain::Owed::default() };
    let restored = DeviceRecord { state, state_since: now, owed, version, ..device };
    change.update_device(&restored)?;
    change.end_grace(restored.key)?;
    Ok(restored)
}
