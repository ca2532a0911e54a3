//! A plan over every gate, with each of its steps done twice, and with a fault at each of them in turn.

use domain::plan::{Action, Gate, Phase, StepState};
use domain::{DeviceState, Refusal};
use engine::registry::{Operation, Registry};

use crate::house::{House, PLAN, receipts, retired, states};
use crate::neighbour::Failing;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A device whose step at one neighbour fails for good, which has come to rest with it.
fn stopped(house: &House, at: usize) -> (String, Operation) {
    let name = format!("pump-{at}");
    house.neighbours[at].fail(Action::Ensure, Failing::ForGood, 1);
    let operation = house.join(&name);
    assert_eq!(operation.row.phase, Phase::Stopped, "{operation:?}");
    let step = &operation.steps[at];
    assert_eq!((step.record.state, step.record.attempts), (StepState::Failed, 1));
    let said = (step.fault.as_deref(), step.fault_message.as_deref());
    assert_eq!(said, (Some("unfit"), Some("the device is unfit")));
    assert_eq!((house.neighbours[at].holds(&name), &receipts(&operation)[at]), (None, &None));
    (name, operation)
}

fn waits_for(at: usize) -> bool {
    PLAN[at].1 == Gate::BeforeReply
}

/// Everyone holds the device, and the operation tells what they hold.
fn assert_joined(house: &House, name: &str, operation: &Operation) {
    assert_eq!((operation.row.phase, states(operation)), (Phase::Done, vec![StepState::Done; PLAN.len()]));
    let held = house.held(name);
    assert!(held.iter().all(Option::is_some), "{held:?}");
    assert_eq!(receipts(operation), held);
    assert_eq!(house.state(name), DeviceState::Provisioned);
}

/// Nobody holds the device, and it is gone.
fn assert_gone(house: &House, name: &str, leave: &Operation) {
    assert_eq!(leave.row.phase, Phase::Done, "{leave:?}");
    assert!(house.knows_nobody(name), "{:?}", house.held(name));
    house.until_state(name, DeviceState::Decommissioned);
}

fn backwards(first: usize) -> Vec<&'static str> {
    PLAN[..=first].iter().rev().map(|(name, _)| *name).collect()
}

#[test]
fn a_step_that_is_done_twice_changes_nothing_the_second_time() {
    let house = House::new(0);
    for neighbour in &house.neighbours {
        neighbour.fail(Action::Ensure, Failing::Unheard, 1);
        neighbour.fail(Action::Retire, Failing::Unheard, 1);
    }
    let joined = house.join("pump");
    assert_joined(&house, "pump", &joined);
    let held = house.held("pump");
    let left = house.leave("pump");
    assert_gone(&house, "pump", &left);
    for (at, neighbour) in house.neighbours.iter().enumerate() {
        let [made, again, undone, undone_again] = &neighbour.calls("pump")[..] else { panic!("four calls") };
        assert_eq!((made, undone), (again, undone_again), "the same words under the same key");
        assert_eq!((made.key, made.action), (joined.steps[at].record.key, Action::Ensure));
        assert_eq!((undone.action, &undone.external_id), (Action::Retire, &held[at]));
        assert_eq!(neighbour.changes(), 2, "it came once, and it went once");
    }
    let attempts = |it: &Operation| it.steps.iter().map(|step| step.record.attempts).collect::<Vec<_>>();
    assert_eq!((attempts(&joined), attempts(&left)), (vec![2; PLAN.len()], vec![2; PLAN.len()]));
}

#[test]
fn a_fault_that_passes_is_outlasted_at_each_step_of_joining_and_leaving() {
    let house = House::new(0);
    for (at, neighbour) in house.neighbours.iter().enumerate() {
        let name = format!("pump-{at}");
        neighbour.fail(Action::Ensure, Failing::ForNow, 3);
        let joined = house.join(&name);
        assert_joined(&house, &name, &joined);
        let attempts: Vec<u32> = joined.steps.iter().map(|step| step.record.attempts).collect();
        let expected: Vec<u32> = (0..PLAN.len()).map(|step| if step == at { 4 } else { 1 }).collect();
        assert_eq!(attempts, expected, "only it is tried again");
        neighbour.fail(Action::Retire, Failing::ForNow, 3);
        let left = house.leave(&name);
        assert_eq!(retired(&left), backwards(PLAN.len() - 1));
        assert_gone(&house, &name, &left);
    }
}

#[test]
fn a_fault_for_good_at_any_step_stops_there_and_resuming_finishes_it() {
    let house = House::new(0);
    for at in 0..PLAN.len() {
        let (name, operation) = stopped(&house, at);
        let state = if waits_for(at) { DeviceState::Failed } else { DeviceState::Provisioned };
        assert_eq!(house.state(&name), state);
        // Before the reply nothing goes on behind it; what nobody waits for stops nobody else.
        let made = house.held(&name).iter().flatten().count();
        assert_eq!(made, if waits_for(at) { at } else { PLAN.len() - 1 });
        if waits_for(at) {
            assert_eq!(house.ask(&name).unwrap_err(), Refusal::OperationStopped, "it waits for the operator");
        }
        let id = operation.row.id.0;
        house.act(|registry, operator, tenant| registry.resume_operation(operator, tenant, id)).unwrap();
        if waits_for(at) {
            house.until_state(&name, DeviceState::Provisioned);
            assert!(house.connect(&house.ask(&name).unwrap()));
        }
        assert_joined(&house, &name, &house.rest(&name));
        assert_eq!(house.neighbours[at].calls(&name).len(), 2);
        let again = house.act(|registry, operator, tenant| registry.resume_operation(operator, tenant, id));
        assert_eq!(again.unwrap_err(), "operation-not-stopped");
    }
}

#[test]
fn what_was_made_before_a_fault_for_good_is_undone_backwards() {
    let house = House::new(0);
    for at in 0..PLAN.len() {
        let (name, operation) = stopped(&house, at);
        let held = house.held(&name);
        let unwind = |registry: &Registry| {
            registry.unwind_operation(&house.operator, &house.tenant, operation.row.id.0)
        };
        let unwound = house.act(|registry, _, _| unwind(registry));
        // Who has had its answer is not unwound: it leaves.
        let undoing = if waits_for(at) {
            unwound.unwrap();
            house.rest(&name)
        } else {
            assert_eq!(unwound.unwrap_err(), "operation-not-stopped");
            house.leave(&name)
        };
        // Also where it failed: what was sent there may have arrived.
        assert_eq!(retired(&undoing), backwards(if waits_for(at) { at } else { PLAN.len() - 1 }));
        let told = held.iter().rev().skip(PLAN.len() - undoing.steps.len());
        assert_eq!(receipts(&undoing), told.cloned().collect::<Vec<_>>());
        assert_gone(&house, &name, &undoing);
        assert!(house.ask(&name).is_ok(), "it may come anew");
    }
}

#[test]
fn a_step_that_is_written_off_lets_the_device_go_on_and_is_undone_when_it_leaves() {
    let house = House::new(0);
    for at in 0..PLAN.len() {
        let (name, operation) = stopped(&house, at);
        let (id, step) = (operation.row.id.0, u32::try_from(at).unwrap());
        house.act(|registry, operator, tenant| registry.write_off_step(operator, tenant, id, step)).unwrap();
        if waits_for(at) {
            assert!(house.connect(&house.ask(&name).unwrap()));
        }
        let ended = house.rest(&name);
        let mut expected = [StepState::Done; PLAN.len()];
        expected[at] = StepState::Abandoned;
        assert_eq!((ended.row.phase, states(&ended)), (Phase::Done, expected.to_vec()));
        assert_eq!(receipts(&ended), house.held(&name), "it has no receipt, and nobody holds it there");
        assert_eq!(house.held(&name)[at], None);
        let left = house.leave(&name);
        assert_eq!(retired(&left), backwards(PLAN.len() - 1));
        assert_gone(&house, &name, &left);
    }
}

#[test]
fn a_fault_for_good_while_a_device_leaves_keeps_its_name_until_it_is_resumed() {
    let house = House::new(0);
    for (at, neighbour) in house.neighbours.iter().enumerate() {
        let name = format!("pump-{at}");
        assert_joined(&house, &name, &house.join(&name));
        neighbour.fail(Action::Retire, Failing::ForGood, 1);
        let left = house.leave(&name);
        assert_eq!(left.row.phase, Phase::Stopped);
        let held: Vec<bool> = house.held(&name).iter().map(Option::is_some).collect();
        assert_eq!(held, (0..PLAN.len()).map(|step| step == at).collect::<Vec<_>>());
        assert_eq!(house.ask(&name).unwrap_err(), Refusal::DeviceLeaving);
        let id = left.row.id.0;
        house.act(|registry, operator, tenant| registry.resume_operation(operator, tenant, id)).unwrap();
        assert_gone(&house, &name, &house.rest(&name));
    }
}

#[test]
fn a_device_is_taken_back_while_its_grace_lasts_and_not_later() {
    let house = House::new(DAY_MS);
    let restore =
        |name: &str| house.act(|registry, operator, tenant| registry.restore_device(operator, tenant, name));
    house.join("kept");
    assert_eq!(restore("kept").unwrap_err(), "device-not-leaving");
    house.leave("kept");
    assert_eq!(restore("kept").unwrap().state, DeviceState::Expected);
    assert_joined(&house, "kept", &house.join("kept"));
    house.join("late");
    house.neighbours[0].fail(Action::Retire, Failing::ForGood, 1);
    house.leave("late");
    house.later(i64::try_from(DAY_MS).unwrap());
    assert_eq!(restore("late").unwrap_err(), "grace-over", "a neighbour knows it, but its time is up");
    assert_eq!(house.state("late"), DeviceState::Decommissioning);
    house.leave("kept");
    house.later(i64::try_from(DAY_MS).unwrap());
    house.until_state("kept", DeviceState::Decommissioned);
    assert_eq!(restore("kept").unwrap_err(), "device-not-found");
}
