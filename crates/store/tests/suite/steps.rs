//! Steps of operations: begun with their devices, claimed under leases, and results that come too late.

use domain::plan::{Action, Gate, Phase, StepState};
use domain::{DeviceState, OperationId, PlannedStep, Provision, Receipt, StepKey, Timestamp};
use store::{Advance, Advanced, Capacity, Change, Claim, ClaimedStep, Finished, StepFault, StepResult};
use testkit::wait::eventually;

use crate::house::{HOME, House, NOW, rotate};
use crate::leaving::leave;

pub(crate) const LONG: u64 = 600_000;
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub(crate) fn step(connector: &str, gate: Gate) -> PlannedStep {
    PlannedStep { action: Action::Ensure, connector: connector.to_owned(), gate, receipt: None }
}

/// A new device that waits for one neighbour before its answer, and is told to another one behind it.
pub(crate) fn joining(house: &House, name: &str) -> Provision {
    let mut provision = house.create(name);
    provision.device.state = DeviceState::Provisioning;
    provision.plan = vec![step("first", Gate::BeforeReply), step("second", Gate::AfterReply)];
    provision.initial_attributes = vec![r#"{"room":"cellar","floor":-1}"#.to_owned()];
    provision
}

pub(crate) fn advance(house: &House, finished: &[Finished], limit: usize, lease_ms: u64) -> Advanced {
    let claim = Claim { capacity: &Capacity::for_each(limit), lease_ms };
    house.store.advance(&Advance { finished, claim }, NOW).unwrap()
}

pub(crate) fn claim(house: &House, limit: usize, lease_ms: u64) -> Vec<ClaimedStep> {
    let mut claimed = advance(house, &[], limit, lease_ms).claimed;
    claimed.sort_by_key(|step| step.key);
    claimed
}

pub(crate) fn done(step: &ClaimedStep, external_id: &str) -> Finished {
    let receipt = Receipt { external_id: external_id.to_owned(), detail: None };
    Finished { key: step.key, fence: step.fence, result: StepResult::Done(Some(receipt)) }
}

pub(crate) fn fault(step: &ClaimedStep, permanent: bool) -> Finished {
    let fault = StepFault { permanent, code: "down".into(), message: "it is\0 down".into(), again_in_ms: 0 };
    Finished { key: step.key, fence: step.fence, result: StepResult::Fault(fault) }
}

pub(crate) fn states(house: &House, operation: OperationId) -> (Phase, Vec<StepState>) {
    let found = house.store.read(|view| view.operation(HOME, operation)).unwrap();
    let (row, steps) = found.unwrap();
    (row.phase, steps.iter().map(|step| step.record.state).collect())
}

#[test]
fn steps_in_words_of_a_newer_server_are_left_to_it_and_keep_no_other_one_waiting() {
    let house = House::new();
    let names = ["action", "gate", "state", "ours", "plain"];
    let results = house.record(&names.map(|name| joining(&house, name)));
    let operations: Vec<_> =
        results.iter().map(|result| result.as_ref().unwrap().operation.unwrap()).collect();
    let ours = claim(&house, 10, 0).into_iter().find(|step| step.device.name == "ours").unwrap();
    for (column, at, step) in [("action", 0, 0), ("gate", 1, 1), ("state", 2, 1), ("action", 3, 1)] {
        let text = format!(
            "UPDATE steps SET {column} = 'levitate' WHERE operation = {} AND step = {step}",
            operations[at]
        );
        house.tamper("main.db", &text);
    }
    let devices: Vec<_> = names.iter().map(|name| house.device(name).unwrap().key).collect();
    let statuses = house.store.operation_statuses(&devices).unwrap();
    assert!(statuses.iter().all(|it| it.unwrap().keeps_waiting));
    let advanced = advance(&house, &[done(&ours, "out-1")], 10, 0);
    assert_eq!(advanced.refused, [ours.key], "the newer server does it once more");
    let claimed: Vec<_> = advanced.claimed.iter().map(|step| &*step.device.name).collect();
    assert_eq!(claimed, ["plain"]);
    assert!(advanced.strangers.iter().all(|it| it.word == "levitate") && !advanced.strangers.is_empty());
    let advanced = advance(&house, &[done(&advanced.claimed[0], "out-2")], 10, LONG);
    assert_eq!(advanced.claimed.len(), 1, "its second step");
    assert!(!house.store.is_work_due(NOW).unwrap(), "nobody is woken for the others");
    // The newer server has done its part.
    house.tamper("main.db", "UPDATE steps SET action = 'ensure' WHERE action = 'levitate'");
    assert!(house.store.is_work_due(NOW).unwrap());
    let claimed = claim(&house, 10, LONG);
    assert_eq!(claimed.iter().map(|step| &*step.device.name).collect::<Vec<_>>(), ["action", "ours"]);
    assert_eq!(advance(&house, &[done(&claimed[1], "out-1")], 10, LONG).claimed.len(), 1, "its second step");
}

#[test]
fn the_operations_of_a_batch_begin_with_their_devices() {
    let house = House::new();
    let mut batch: Vec<_> = (0..20).map(|number| joining(&house, &format!("pump-{number}"))).collect();
    batch.insert(7, house.create("without-a-plan"));
    batch.push(joining(&house, "pump-3"));
    let results = house.record(&batch);
    assert_eq!(results[7].unwrap().operation, None);
    assert!(results[21].is_err());
    for (provision, result) in batch.iter().zip(&results).filter(|(it, _)| !it.plan.is_empty()).take(20) {
        let operation = result.unwrap().operation.unwrap();
        let found = house.store.read(|view| view.operation(HOME, operation)).unwrap();
        assert_eq!(found.unwrap().0.device, provision.device.key);
        assert_eq!(states(&house, operation), (Phase::BeforeReply, vec![StepState::Due, StepState::Waiting]));
    }
    let attributes = house.store.read(|view| view.attributes(batch[4].device.key)).unwrap();
    assert_eq!(attributes, [("floor".into(), "-1".into()), ("room".into(), "\"cellar\"".into())]);
    assert_eq!(claim(&house, 100, LONG).len(), 20);
}

#[test]
fn the_steps_of_many_devices_are_those_of_each() {
    let house = House::new();
    let batch: Vec<_> = (0..5).map(|number| joining(&house, &format!("pump-{number}"))).collect();
    house.record(&batch);
    house.record(&[house.create("without-a-plan")]);
    advance(&house, &[done(&claim(&house, 1, LONG)[0], "out-1")], 0, LONG);
    let keys: Vec<_> = batch.iter().map(|provision| provision.device.key).skip(1).collect();
    let bare = house.device("without-a-plan").unwrap().key;
    let asked = [&keys[..], &[bare]].concat();
    let found = house.store.read(|view| view.steps_of_each(&asked)).unwrap();
    assert_eq!(found.len(), keys.len(), "who has no plan is not among them, nor who was not asked about");
    for key in keys {
        let each = house.store.read(|view| view.steps_of(key)).unwrap();
        assert_eq!(found[&key], each.into_iter().map(|step| step.record).collect::<Vec<_>>());
    }
}

#[test]
fn a_step_that_is_done_lets_the_device_have_its_answer_and_releases_what_is_behind() {
    let house = House::new();
    let operation = house.record(&[joining(&house, "pump")])[0].unwrap().operation.unwrap();
    let [first] = &claim(&house, 10, LONG)[..] else { panic!("one step") };
    assert_eq!((first.key, first.connector.as_str()), (StepKey { operation, index: 0 }, "first"));
    assert_eq!((first.attempts, first.tenant.as_str(), first.profile.as_str()), (1, "default", "pumps"));
    assert_eq!(first.attributes.len(), 2);
    assert!(claim(&house, 10, LONG).is_empty());
    let advanced = advance(&house, &[done(first, "out-1")], 0, LONG);
    assert!(advanced.refused.is_empty() && advanced.statuses[0].answerable, "{advanced:?}");
    assert_eq!(house.device("pump").unwrap().state, DeviceState::Provisioned);
    let [second] = &claim(&house, 10, LONG)[..] else { panic!("one step") };
    advance(&house, &[done(second, "out-2")], 0, LONG);
    assert_eq!(states(&house, operation), (Phase::Done, vec![StepState::Done, StepState::Done]));
    assert_eq!(house.store.verify_journal(None).unwrap().faults, []);
}

#[test]
fn a_fault_comes_again_and_one_for_good_stops_the_operation() {
    let house = House::new();
    let operation = house.record(&[joining(&house, "pump")])[0].unwrap().operation.unwrap();
    let first = claim(&house, 10, LONG).remove(0);
    advance(&house, &[fault(&first, false)], 0, LONG);
    let again = claim(&house, 10, LONG).remove(0);
    assert_eq!((again.key, again.attempts), (first.key, 2));
    assert!(again.fence > first.fence);
    advance(&house, &[fault(&again, true)], 0, LONG);
    assert_eq!(states(&house, operation), (Phase::Stopped, vec![StepState::Failed, StepState::Waiting]));
    assert!(claim(&house, 10, LONG).is_empty());
    assert_eq!(house.device("pump").unwrap().state, DeviceState::Failed);
}

#[test]
fn a_result_under_a_lease_that_was_lost_is_refused() {
    let house = House::new();
    let operation = house.record(&[joining(&house, "pump")])[0].unwrap().operation.unwrap();
    let lost = claim(&house, 10, 0).remove(0);
    let next = eventually("the end of the lease", PATIENCE, || claim(&house, 10, LONG).pop()).unwrap();
    assert_eq!(next.key, lost.key);
    assert_eq!(advance(&house, &[done(&lost, "late")], 0, LONG).refused, [lost.key]);
    assert_eq!(states(&house, operation).1[0], StepState::Running);
    assert!(advance(&house, &[done(&next, "right")], 0, LONG).refused.is_empty());
    let steps = house.store.read(|view| view.steps_of(next.device.key)).unwrap();
    assert_eq!(steps[0].record.receipt.as_ref().unwrap().external_id, "right");
}

#[test]
fn a_newer_operation_absorbs_what_an_older_one_has_still_to_make() {
    let house = House::new();
    let older = house.record(&[joining(&house, "pump")])[0].unwrap().operation.unwrap();
    let mut newer = rotate(&house.device("pump").unwrap(), &house.profile, 9);
    newer.plan = vec![step("first", Gate::BeforeReply)];
    let newer = house.record(&[newer])[0].unwrap().operation.unwrap();
    assert!(newer > older);
    assert_eq!(states(&house, older), (Phase::Done, vec![StepState::Absorbed, StepState::Absorbed]));
    let claimed = claim(&house, 10, LONG);
    assert_eq!(claimed.iter().map(|step| step.key.operation).collect::<Vec<_>>(), [newer]);
}

#[test]
fn a_leave_undoes_what_was_made_and_frees_the_name_when_its_grace_is_over() {
    let house = House::new();
    house.record(&[joining(&house, "pump")]);
    let first = claim(&house, 10, LONG).remove(0);
    advance(&house, &[done(&first, "out-1")], 0, LONG);
    let left =
        house.store.write(|change: &mut Change<'_>| leave(change, "pump", Some(Timestamp(1)))).unwrap();
    let retire = claim(&house, 10, LONG).remove(0);
    assert_eq!((retire.key.operation, retire.action), (left, Action::Retire));
    assert_eq!(retire.receipt.as_ref().unwrap().external_id, "out-1");
    assert_eq!(house.store.complete_leaving(10, NOW).unwrap(), 0);
    advance(&house, &[done(&retire, "out-1")], 0, LONG);
    assert_eq!(house.store.complete_leaving(10, NOW).unwrap(), 1);
    assert!(house.record(&[house.create("pump")])[0].is_ok());
}

#[test]
fn nothing_is_done_any_more_for_a_device_that_is_deleted() {
    let house = House::new();
    let operation = house.record(&[joining(&house, "pump")])[0].unwrap().operation.unwrap();
    let device = house.device("pump").unwrap();
    let deleted: Result<bool, store::StoreError> =
        house.store.write(|change: &mut Change<'_>| change.delete_device(&device, NOW));
    assert!(deleted.unwrap());
    assert!(!house.store.is_work_due(NOW).unwrap());
    assert!(claim(&house, 10, LONG).is_empty());
    assert_eq!(states(&house, operation), (Phase::Done, vec![StepState::Absorbed, StepState::Absorbed]));
    assert_eq!(house.store.read(|view| view.attributes(device.key)).unwrap(), []);
}

#[test]
fn a_neighbour_that_takes_nothing_on_keeps_no_other_one_waiting() {
    let house = House::new();
    let mut batch: Vec<_> = (0..30).map(|number| house.create(&format!("pump-{number}"))).collect();
    for provision in &mut batch {
        provision.plan = vec![step("slow", Gate::AfterReply), step("quick", Gate::AfterReply)];
    }
    house.record(&batch);
    let capacity = Capacity { by_name: [("slow".to_owned(), 2)].into(), others: 20 };
    let claim = Claim { capacity: &capacity, lease_ms: 600_000 };
    let claimed = house.store.advance(&Advance { finished: &[], claim }, NOW).unwrap().claimed;
    let at = |name: &str| claimed.iter().filter(|step| step.connector == name).count();
    assert_eq!((at("slow"), at("quick")), (2, 20));
}
