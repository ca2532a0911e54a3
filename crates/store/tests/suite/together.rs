//! Two servers that work on one operation at the same moment.

use std::sync::Barrier;

use domain::Provision;
use domain::plan::Phase;
use store::{Advance, Capacity, Change, Claim, ClaimedStep, Finished, SecretLimits, Store};

use crate::house::{House, NOW};
use crate::leaving::leave;
use crate::servers::two;
use crate::steps::{LONG, claim, done, joining, states};

fn finish(store: &Store, finished: &[Finished]) {
    let claim = Claim { capacity: &Capacity::for_each(0), lease_ms: LONG };
    let refused = store.advance(&Advance { finished, claim }, NOW).unwrap().refused;
    assert!(refused.is_empty(), "{refused:?}");
}

/// Each server says of some steps that they are done, at the same moment as the other one.
fn finish_together(house: &House, other: &Store, ours: &[&ClaimedStep], theirs: &[&ClaimedStep]) {
    let together = Barrier::new(2);
    std::thread::scope(|scope| {
        for (store, steps) in [(&house.store, ours), (other, theirs)] {
            let finished: Vec<_> = steps.iter().map(|step| done(step, "made")).collect();
            let together = &together;
            scope.spawn(move || {
                together.wait();
                finish(store, &finished);
            });
        }
    });
}

/// Devices that leave two neighbours, whose steps are both claimed: first those at the one, then at the other.
fn leaving(house: &House, count: usize) -> (Vec<ClaimedStep>, Vec<ClaimedStep>) {
    let names: Vec<String> = (0..count).map(|number| format!("pump-{number}")).collect();
    house.record(&names.iter().map(|name| joining(house, name)).collect::<Vec<Provision>>());
    for _ in 0..2 {
        let made: Vec<_> = claim(house, count, LONG).iter().map(|step| done(step, "made")).collect();
        finish(&house.store, &made);
    }
    for name in &names {
        house.store.write(|change: &mut Change<'_>| leave(change, name, None)).unwrap();
    }
    claim(house, 2 * count, LONG).into_iter().partition(|step| step.key.index == 0)
}

#[test]
fn an_operation_ends_whose_last_steps_two_servers_finish_at_once() {
    let (house, other) = two(&SecretLimits::default());
    let (first, second) = leaving(&house, 60);
    for (ours, theirs) in first.iter().zip(&second) {
        finish_together(&house, &other, &[ours], &[theirs]);
        assert_eq!(states(&house, ours.key.operation).0, Phase::Done);
    }
}

#[test]
fn servers_that_finish_steps_of_the_same_devices_do_not_wait_in_a_circle() {
    let (house, other) = two(&SecretLimits::default());
    let (first, second) = leaving(&house, 60);
    let backwards: Vec<_> = second.iter().rev().collect();
    finish_together(&house, &other, &first.iter().collect::<Vec<_>>(), &backwards);
    assert!(first.iter().all(|step| states(&house, step.key.operation).0 == Phase::Done));
}
