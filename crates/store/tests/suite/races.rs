//! What two servers on one database do to the same thing at the same moment.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;

use domain::{DeviceRecord, DeviceState, Timestamp};
use store::{Advance, Capacity, Change, Claim, ClaimedStep, SecretLimits, Store, StoreError, Walk};

use crate::house::{HOME, HOUR_MS, House, NOW};
use crate::keks::{self, Drawer};
use crate::leaving::leave;
use crate::servers::{record, two};
use crate::steps::{done, joining};

#[test]
fn a_device_that_is_disabled_while_its_last_step_is_finished_is_provisioned_once_it_is_enabled() {
    let (house, other) = two(&SecretLimits::default());
    let joining = |number| {
        let mut provision = joining(&house, &format!("pump-{number}"));
        provision.plan.truncate(1);
        provision
    };
    house.record(&(0..100).map(joining).collect::<Vec<_>>());
    let (steps, _) = claimed_by_index(&house);
    together(&steps, |step| disable(&house.store, &step.device), |step| finish(&other, step));
    for step in &steps {
        let device = house.device(&step.device.name).unwrap();
        assert_eq!(device.state.enable(), DeviceState::Provisioned, "{}", device.name);
        assert_ne!(device.state, DeviceState::Provisioned, "the operator's change is lost");
    }
}

#[test]
fn grace_lasts_until_it_is_over_by_the_clock_that_all_servers_share() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let shared = house.store.now(NOW).unwrap();
    let until = Some(shared.plus_ms(HOUR_MS));
    house.store.write(|change: &mut Change<'_>| leave(change, "pump", until)).unwrap();
    assert_eq!(house.store.complete_leaving(10, shared.plus_ms(2 * HOUR_MS)).unwrap(), 0);
    house.tamper("main.db", &format!("UPDATE operations SET grace_until = {}", shared.0));
    assert_eq!(house.store.complete_leaving(10, Timestamp(1)).unwrap(), 1);
    assert_eq!(house.device("pump"), None);
}

#[test]
fn what_is_sealed_by_a_server_that_has_not_heard_of_a_keys_retirement_opens() {
    let drawer = Drawer::holding(&[1]);
    let house = keks::furnished(&drawer, 3);
    let other = keks::open_as("other", &house.place, &drawer);
    drawer.0.lock().push(2);
    house.store.add_kek(None, NOW).unwrap();
    house.store.begin_walk(Walk::Rewrap, 256, NOW).unwrap();
    keks::finish(&house, Walk::Rewrap);
    assert_eq!(house.store.retire_kek("drawer:1", NOW).unwrap(), None);
    let late = house.create_with_token("late", "late-token");
    assert!(record(&other, &[late])[0].is_ok());
    assert_eq!(keks::needing(&house, "drawer:1"), 0);
    assert_eq!(house.store.verify_secrets().unwrap().unreadable, 0);
}

#[test]
fn a_rewrap_is_not_ended_by_a_server_that_has_not_heard_of_the_key_it_was_begun_for() {
    let drawer = Drawer::holding(&[1]);
    let house = keks::furnished(&drawer, 3);
    let other = keks::open_as("other", &house.place, &drawer);
    drawer.0.lock().push(2);
    house.store.add_kek(None, NOW).unwrap();
    house.store.begin_walk(Walk::Rewrap, 256, NOW).unwrap();
    // It walks as well, and has nothing to do by the one key that it knows.
    let ended = || house.store.walks().unwrap().iter().any(|it| it.ended_at.is_some());
    for _ in 0..1000 {
        if !ended() {
            other.walk_on(1, NOW).unwrap();
        }
    }
    assert!(ended());
    assert_eq!(keks::needing(&house, "drawer:1"), 0);
}

/// Does something on two servers for each of many, on both at the same moment.
fn together<T: Sync>(all: &[T], here: impl Fn(&T) + Sync, there: impl Fn(&T) + Sync) {
    let at_once = Barrier::new(2);
    let one_by_one = |act: &(dyn Fn(&T) + Sync)| {
        let mut failed = None;
        for it in all {
            at_once.wait();
            // Whoever fails goes on all the same: the other one waits for it.
            failed = catch_unwind(AssertUnwindSafe(|| act(it))).err().or(failed);
        }
        if let Some(panic) = failed {
            resume_unwind(panic);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one_by_one(&there));
        one_by_one(&here);
    });
}

/// The steps that are due, apart by their place in the plan.
fn claimed_by_index(house: &House) -> (Vec<ClaimedStep>, Vec<ClaimedStep>) {
    let claim = Claim { capacity: &Capacity::for_each(1000), lease_ms: 600_000 };
    let mut claimed = house.store.advance(&Advance { finished: &[], claim }, NOW).unwrap().claimed;
    claimed.sort_by_key(|step| step.key);
    claimed.into_iter().partition(|step| step.key.index == 0)
}

fn finish(store: &Store, step: &ClaimedStep) {
    let claim = Claim { capacity: &Capacity::for_each(0), lease_ms: 0 };
    let finished = [done(step, "out")];
    let advanced = store.advance(&Advance { finished: &finished, claim }, NOW).unwrap();
    assert!(advanced.refused.is_empty());
}

/// As an operator does it.
fn disable(store: &Store, device: &DeviceRecord) {
    let disabled: Result<bool, StoreError> = store.write(|change: &mut Change<'_>| {
        let mut record = change.device_named(HOME, &device.name)?.unwrap().record;
        record.state = record.state.disable();
        record.version.0 += 1;
        change.update_device(&record)
    });
    assert!(disabled.unwrap(), "the device changed under the operator's hand");
}
