//! What others do in a history: hooks, people who approve, operators.

use domain::DeviceState;
use store::{Capacity, Claim as Lease, HookSaid, Said, StepFault};

use super::history::{DEVICES, History, LEASE_MS};
use super::model::Mark;
use crate::registry::OperationsWanted;

impl History<'_> {
    // === questions ===

    pub(super) fn hook(&mut self, faults: bool) {
        let claim = Lease { capacity: &Capacity::for_each(2), lease_ms: LEASE_MS };
        let claimed = self.world.store.advance_questions(&[], claim, self.world.now()).unwrap();
        self.asked.extend(claimed);
        let Some(question) = self.asked.pop() else { return };
        let said = match if faults { self.chance.below(4) } else { 0 } {
            0 | 1 => Said::Allow(Some(r#"{"line":1}"#.to_owned())),
            2 => Said::Deny("no".to_owned()),
            _ => Said::Nothing(StepFault {
                permanent: false,
                code: "sim".into(),
                message: String::new(),
                again_in_ms: 1000,
            }),
        };
        self.note(format!("hook {} {said:?}", question.row.name));
        let answer = HookSaid { id: question.row.standing.id, fence: question.fence, said };
        let nothing = Lease { capacity: &Capacity::for_each(0), lease_ms: 0 };
        self.world.store.advance_questions(&[answer], nothing, self.world.now()).unwrap();
    }

    pub(super) fn person(&mut self) {
        let (approvals, _) = self.world.registry.approvals(&self.world.tenant, true, None, None).unwrap();
        let ours = |approval: &&crate::registry::Approval| self.names.contains(&approval.row.name);
        let Some(approval) = approvals.iter().find(ours) else { return };
        let (id, way) = (approval.row.standing.id.0, self.chance.below(4));
        let was_decided = approval.row.decided_by.as_ref().is_some_and(|by| !by.starts_with("hook:"));
        let (registry, operator, tenant) = (&self.world.registry, &self.world.operator, &self.world.tenant);
        match way {
            0 => assert_eq!(registry.reject(operator, tenant, id, "no").is_err(), was_decided),
            1 => registry.forget_approval(operator, tenant, id).unwrap(),
            _ => assert_eq!(registry.approve(operator, tenant, id).is_err(), was_decided),
        }
        self.note(format!("person {} way {way}", approval.row.name));
    }

    // === operators ===

    pub(super) fn operator(&mut self) {
        let device = self.chance.below(DEVICES);
        let name = self.names[device].clone();
        let way = self.chance.below(9);
        self.note(format!("operator {device} way {way}"));
        let (registry, operator, tenant) = (&self.world.registry, &self.world.operator, &self.world.tenant);
        let model = &mut self.models[device];
        let there = model.state;
        match way {
            0 => {
                let done = registry.disable_device(operator, tenant, &name).is_ok();
                assert_eq!(done, there.is_some());
                model.state = there.map(DeviceState::disable);
            }
            1 | 2 => {
                let done = registry.enable_device(operator, tenant, &name).is_ok();
                assert_eq!(done, there.is_some());
                model.state = there.map(DeviceState::enable);
            }
            3 | 4 => {
                let done = registry.decommission_device(operator, tenant, &name, None).is_ok();
                assert_eq!(done, there.is_some_and(|state| !state.is_leaving()), "{:?}", self.trace);
                model.state = there.map(|state| state.decommission().unwrap_or(state));
                if done {
                    model.grace_until = Some(self.world.now().plus_ms(self.grace_ms));
                }
            }
            5 => {
                let done = registry.restore_device(operator, tenant, &name).is_ok();
                let in_time = model.grace_until.is_some_and(|until| self.world.now() < until);
                assert_eq!(done, there == Some(DeviceState::Decommissioning) && in_time, "{:?}", self.trace);
                model.state = if done { Some(DeviceState::Expected) } else { there };
            }
            way => self.mend(device, way),
        }
    }

    /// What an operator does where a step has failed for good.
    pub(super) fn mend(&mut self, device: usize, way: usize) {
        let Some(state) = self.models[device].state else { return };
        let (registry, operator, tenant) = (&self.world.registry, &self.world.operator, &self.world.tenant);
        let wanted = OperationsWanted { device: Some(&self.names[device]), ..OperationsWanted::default() };
        let Ok((operations, _)) = registry.operations(tenant, &wanted) else { return };
        let Some(operation) = operations.first() else { return };
        let id = operation.row.id.0;
        let failed: Vec<u32> = operation
            .steps
            .iter()
            .filter(|step| step.record.state == domain::plan::StepState::Failed)
            .map(|step| step.record.key.index)
            .collect();
        let before = state.enable() == DeviceState::Failed;
        let model = &mut self.models[device];
        match way {
            6 if registry.resume_operation(operator, tenant, id).is_ok() => {
                failed.iter().for_each(|step| model.marks(id, *step, Mark::Open));
            }
            7 if registry.unwind_operation(operator, tenant, id).is_ok() => {
                assert!(before && !failed.is_empty(), "{:?}", self.trace);
                let left = operation.row.deed == "created";
                model.state = Some(if left { DeviceState::Decommissioning } else { DeviceState::Expected });
                model.grace_until = Some(self.world.now());
                model.operation = 0;
            }
            8 => {
                for step in failed {
                    registry.write_off_step(operator, tenant, id, step).unwrap();
                    model.marks(id, step, Mark::Off);
                }
            }
            _ => {}
        }
    }
}
