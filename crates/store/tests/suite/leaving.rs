//! How devices leave and are taken back, what waits for their first connection, and what is undone that arrived
//! when its lease was lost.

use domain::plan::{Action, Gate, OperationKind, Phase, StepState};
use domain::{
    Credential, DeviceKey, DeviceState, Generation, OperationId, Owed, Receipt, StepKey, Timestamp,
};
use store::journal::JournalQuery;
use store::{Change, ClaimedStep, NewOperation, StepRow, StoreError};

use crate::house::{HOME, HOUR_MS, House, NOW};
use crate::steps::{LONG, PATIENCE, advance, claim, done, fault, joining, states, step};

/// Over by any clock: on a PostgreSQL grace goes by the database's.
const LONG_AGO: Timestamp = Timestamp(1);

/// A device leaves by what was begun for it.
pub(crate) fn leave(
    change: &mut Change<'_>,
    name: &str,
    grace_until: Option<Timestamp>,
) -> Result<OperationId, StoreError> {
    let mut device = change.device_named(HOME, name)?.unwrap().record;
    device.state = DeviceState::Decommissioning;
    device.version.0 += 1;
    assert!(change.update_device(&device)?);
    let known: Vec<_> = change.steps_of(device.key)?.into_iter().map(|step| step.record).collect();
    let plan = domain::plan::leaving(&known);
    let (kind, deed) = (OperationKind::Leave, "");
    let new = NewOperation { tenant: HOME, device: device.key, kind, deed, plan: &plan, grace_until };
    change.begin_operation(&new, NOW)
}

/// A device that leaves is expected again. `false` where nobody of that name is there any more.
pub(crate) fn take_back(change: &mut Change<'_>, name: &str) -> Result<bool, StoreError> {
    let Some(row) = change.device_named(HOME, name)? else { return Ok(false) };
    let mut device = row.record;
    device.state = DeviceState::Expected;
    device.version.0 += 1;
    assert!(change.update_device(&device)?, "it moved behind the back of who has read it");
    change.end_grace(device.key)?;
    Ok(true)
}

fn left(house: &House, name: &str, grace_until: Timestamp) -> OperationId {
    house.store.write(|change: &mut Change<'_>| leave(change, name, Some(grace_until))).unwrap()
}

fn taken_back(house: &House, name: &str) -> bool {
    house.store.write(|change: &mut Change<'_>| take_back(change, name)).unwrap()
}

fn steps_of(house: &House, step: &ClaimedStep) -> Vec<StepRow> {
    house.store.read(|view| view.steps_of(step.device.key)).unwrap()
}

/// A login of the device with what it holds now.
fn shown(house: &House) -> (DeviceKey, Generation) {
    let device = house.device("pump").unwrap();
    (device.key, device.credential.generation().unwrap())
}

/// A device with one step before its answer, which somebody begins and does not report.
fn begun(house: &House, lease_ms: u64) -> ClaimedStep {
    let mut provision = joining(house, "pump");
    provision.plan = vec![step("first", Gate::BeforeReply)];
    house.record(&[provision]);
    claim(house, 1, lease_ms).remove(0)
}

/// The retirement, once the lease of what was begun is over.
fn retirement(house: &House) -> ClaimedStep {
    let claimed = || claim(house, 10, LONG).pop();
    let retire = testkit::wait::eventually("the retirement", PATIENCE, claimed).unwrap();
    assert_eq!(retire.action, Action::Retire);
    retire
}

#[test]
fn a_device_can_be_taken_back_until_its_grace_is_over() {
    let house = House::new();
    house.record(&["kept", "gone"].map(|name| house.create(name)));
    let now = house.store.now(NOW).unwrap();
    let until = now.plus_ms(HOUR_MS);
    for name in ["kept", "gone"] {
        left(&house, name, until);
    }
    assert_eq!(house.store.complete_leaving(10, now.plus_ms(HOUR_MS - 1)).unwrap(), 0);
    assert!(taken_back(&house, "kept"));
    let gone = house.device("gone").unwrap();
    let over = format!("UPDATE operations SET grace_until = {} WHERE grace_until IS NOT NULL", now.0);
    house.tamper("main.db", &over);
    assert_eq!(house.store.complete_leaving(10, now).unwrap(), 1);
    assert_eq!(house.device("kept").unwrap().state, DeviceState::Expected);
    assert_eq!((house.device("gone"), taken_back(&house, "gone")), (None, false));
    let departed = house.store.read(|view| view.device_departed(HOME, "gone")).unwrap().unwrap();
    assert_eq!((departed.record.key, departed.record.state), (gone.key, DeviceState::Decommissioned));
    assert_eq!(house.store.complete_leaving(10, NOW.plus_ms(1 << 40)).unwrap(), 0);
    assert_ne!(house.record(&[house.create("gone")])[0].map(drop), Err(store::Lost::NameTaken));
}

#[test]
fn a_name_is_not_free_while_a_neighbour_has_still_to_be_told() {
    let house = House::new();
    let first = begun(&house, LONG);
    advance(&house, &[done(&first, "out-1")], 0, LONG);
    left(&house, "pump", LONG_AGO);
    assert_eq!(house.store.complete_leaving(10, NOW.plus_ms(1 << 40)).unwrap(), 0);
    let retire = retirement(&house);
    advance(&house, &[fault(&retire, false)], 0, LONG);
    assert_eq!(house.store.complete_leaving(10, NOW.plus_ms(1 << 40)).unwrap(), 0);
    let retire = retirement(&house);
    advance(&house, &[done(&retire, "out-1")], 0, LONG);
    assert_eq!(house.store.complete_leaving(10, NOW.plus_ms(1 << 40)).unwrap(), 1);
}

#[test]
fn a_first_connection_settles_what_was_owed_and_later_ones_change_nothing() {
    let house = House::new();
    let mut provision = house.create("pump");
    provision.device.owed = Owed { answer: true, steps: true, return_home: false };
    provision.plan = vec![step("first", Gate::OnFirstConnection), step("second", Gate::OnFirstConnection)];
    let operation = house.record(&[provision])[0].unwrap().operation.unwrap();
    let login = shown(&house);
    assert!(claim(&house, 10, LONG).is_empty(), "nobody has connected yet");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| house.store.connected(&[login, login], NOW).unwrap());
        }
    });
    let settled = house.device("pump").unwrap();
    assert_eq!((settled.owed, settled.version.0), (Owed::default(), 2));
    let claimed = claim(&house, 10, LONG);
    assert_eq!(claimed.iter().map(|step| step.key.index).collect::<Vec<_>>(), [0, 1]);
    advance(&house, &[done(&claimed[0], "out-1")], 0, LONG);
    house.store.connected(&[login], NOW).unwrap();
    assert!(claim(&house, 10, LONG).is_empty(), "what is done or running is not due again");
    advance(&house, &[done(&claimed[1], "out-2")], 0, LONG);
    house.store.connected(&[login], NOW).unwrap();
    assert_eq!(states(&house, operation), (Phase::Done, vec![StepState::Done; 2]));
    assert_eq!(house.device("pump").unwrap().version.0, 2);
}

#[test]
fn a_login_with_the_credentials_of_before_a_rotation_settles_nothing_of_the_new_ones() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let before = shown(&house);
    // A login under way holds what is replaced while it is noted.
    let stands = house.device("pump").unwrap();
    let mut rotated = house.create("pump");
    rotated.replaces = Some(stands.version);
    rotated.device.key = stands.key;
    rotated.device.version.0 = stands.version.0 + 1;
    rotated.device.credential = Credential::Derived(Generation(before.1.0 + 1));
    rotated.device.owed = Owed { answer: true, steps: true, return_home: false };
    rotated.plan = vec![step("first", Gate::OnFirstConnection)];
    house.record(&[rotated])[0].unwrap();
    house.store.connected(&[before], NOW).unwrap();
    assert!(house.device("pump").unwrap().owed.answer, "it has not shown what it was given");
    assert!(claim(&house, 10, LONG).is_empty(), "it has not come with what it was given");
    house.store.connected(&[before, shown(&house)], NOW).unwrap();
    assert_eq!(house.device("pump").unwrap().owed, Owed::default());
    assert_eq!(claim(&house, 10, LONG).len(), 1);
}

#[test]
fn what_an_attempt_without_an_answer_may_have_made_behind_the_retirement_is_undone() {
    let house = House::new();
    let lost = begun(&house, 0);
    let leave = left(&house, "pump", LONG_AGO);
    let retire = retirement(&house);
    advance(&house, &[done(&retire, "")], 0, LONG);
    assert_eq!(states(&house, leave).0, Phase::Done);
    // Its server comes back: it has no answer, but what it sent may have arrived behind the retirement.
    assert_eq!(advance(&house, &[fault(&lost, false)], 0, LONG).refused, [lost.key]);
    assert_eq!(states(&house, leave), (Phase::Obligations, vec![StepState::Done, StepState::Due]));
    assert_eq!(house.store.complete_leaving(10, NOW).unwrap(), 0, "somebody may still know it");
    let again = retirement(&house);
    assert_eq!((again.key, again.receipt.clone()), (StepKey { operation: leave, index: 1 }, None));
    advance(&house, &[done(&again, "")], 0, LONG);
    assert_eq!(house.store.complete_leaving(10, NOW).unwrap(), 1);
    assert_eq!(house.store.verify_journal(None).unwrap().faults, []);
}

#[test]
fn a_receipt_that_comes_after_the_retirement_is_refused_and_what_it_tells_of_is_undone() {
    let house = House::new();
    let lost = begun(&house, 0);
    let leave = left(&house, "pump", LONG_AGO);
    let retire = retirement(&house);
    advance(&house, &[done(&retire, "")], 0, LONG);
    assert_eq!(house.store.complete_leaving(10, NOW).unwrap(), 1);
    // The device is gone, and its history is still answered for.
    assert_eq!(advance(&house, &[done(&lost, "stray")], 0, LONG).refused, [lost.key]);
    let again = retirement(&house);
    let stray = Receipt { external_id: "stray".to_owned(), detail: None };
    assert_eq!((again.key.operation, again.receipt.clone()), (leave, Some(stray)));
    advance(&house, &[done(&again, "stray")], 0, LONG);
    assert_eq!(states(&house, leave).0, Phase::Done);
    let query = JournalQuery { tenant: None, about: None, kinds: &["step"], before: None, limit: 100 };
    let told = house.store.read(|view| view.journal(&query)).unwrap().entries;
    let outcomes: Vec<_> = told.iter().map(|it| it.detail.as_ref().unwrap()["outcome"].clone()).collect();
    assert_eq!(outcomes, ["done", "refused", "done"]);
}

#[test]
fn a_receipt_that_comes_before_the_retirement_begins_is_what_it_undoes() {
    let house = House::new();
    let lost = begun(&house, 0);
    testkit::wait::eventually("the end of the lease", PATIENCE, || claim(&house, 1, LONG).pop()).unwrap();
    left(&house, "pump", LONG_AGO);
    assert_eq!(advance(&house, &[done(&lost, "stray")], 0, LONG).refused, [lost.key]);
    let steps = steps_of(&house, &lost);
    let retire = steps.iter().find(|step| step.record.action == Action::Retire).unwrap();
    assert_eq!(retire.record.receipt.as_ref().unwrap().external_id, "stray");
    assert_eq!(steps.len(), 2, "one retirement is enough: {steps:?}");
}

#[test]
fn a_lost_lease_of_a_device_that_stays_undoes_nothing() {
    let house = House::new();
    let lost = begun(&house, 0);
    let next = || claim(&house, 1, LONG).pop();
    let next = testkit::wait::eventually("the end of the lease", PATIENCE, next).unwrap();
    assert_eq!(advance(&house, &[fault(&lost, true)], 0, LONG).refused, [lost.key]);
    assert_eq!(steps_of(&house, &lost).len(), 1);
    advance(&house, &[done(&next, "out-1")], 0, LONG);
    assert_eq!(house.device("pump").unwrap().state, DeviceState::Provisioned);
}
