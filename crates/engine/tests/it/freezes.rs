//! The emergency stop: at once, by tenant, profile or group secret, explained, and lifted again.

use domain::{Refusal, Role};
use engine::registry::{Operator, ProfileChange, Rotation, Stopped, Supposed};

use crate::house::House;

fn whole() -> Stopped {
    Stopped::default()
}

fn profile() -> Stopped {
    Stopped { profile: Some("pumps".to_owned()), secret: None }
}

/// The group secret that devices have.
fn secret(house: &House) -> Stopped {
    let view = house.registry.profile(&house.tenant, "pumps").unwrap();
    Stopped { secret: Some(view.profile.secrets[0].id.0), ..profile() }
}

fn explained(house: &House) -> Option<(&'static str, Refusal)> {
    let supposed = Supposed { registration_id: "another", profile: Some("pumps"), source: None };
    house.registry.explain(&Operator::server("test"), &house.tenant, &supposed).unwrap()[0].refused_by()
}

#[test]
fn whatever_is_stopped_nobody_is_let_in_until_all_of_it_is_lifted() {
    let house = House::new(0);
    assert!(house.ask("first").is_ok());
    let all = [whole(), profile(), secret(&house)];
    for stopped in &all {
        house.registry.freeze(&house.operator, &house.tenant, stopped, "stolen key").unwrap();
        assert_eq!(house.ask("another").unwrap_err(), Refusal::ProvisioningFrozen, "{stopped:?}");
        assert_eq!(explained(&house), Some(("freeze", Refusal::ProvisioningFrozen)), "{stopped:?}");
        house.registry.thaw(&house.operator, &house.tenant, stopped).unwrap();
        assert_eq!(explained(&house), None, "{stopped:?}");
    }
    for stopped in &all {
        house.registry.freeze(&house.operator, &house.tenant, stopped, "stolen key").unwrap();
    }
    assert_eq!(house.registry.freezes(&house.tenant).unwrap().len(), 3);
    for stopped in &all {
        assert_eq!(house.ask("another").unwrap_err(), Refusal::ProvisioningFrozen);
        house.registry.thaw(&house.operator, &house.tenant, stopped).unwrap();
    }
    assert!(house.ask("another").is_ok());
    let lifted = house.registry.thaw(&house.operator, &house.tenant, &whole());
    assert_eq!(lifted.unwrap_err().code(), "freeze-not-found");
}

#[test]
fn a_secret_that_took_the_place_of_a_stopped_one_lets_devices_in() {
    let house = House::new(0);
    house.registry.freeze(&house.operator, &house.tenant, &secret(&house), "").unwrap();
    house.rotate("fresh");
    assert_eq!(house.ask("old").unwrap_err(), Refusal::ProvisioningFrozen);
    assert!(house.ask_by("new", "fresh").is_ok());
}

#[test]
fn a_stop_says_what_who_and_why_and_not_everybody_may_pull_it() {
    let house = House::new(0);
    let security = Operator { role: Role::Security, ..house.operator.clone() };
    let viewer = Operator { role: Role::Viewer, ..house.operator.clone() };
    let refused = house.registry.freeze(&viewer, &house.tenant, &profile(), "");
    assert_eq!(refused.unwrap_err().code(), "role-insufficient");
    house.registry.freeze(&security, &house.tenant, &profile(), "stolen key").unwrap();
    let listed = house.registry.freezes(&house.tenant).unwrap();
    let stopped = &listed[0];
    assert_eq!((&stopped.stopped, stopped.reason.as_str()), (&profile(), "stolen key"));
    assert_eq!(stopped.actor, security.actor);
    assert_eq!(
        house.registry.thaw(&viewer, &house.tenant, &profile()).unwrap_err().code(),
        "role-insufficient"
    );
    let nobody = Stopped { profile: Some("nobody".to_owned()), secret: None };
    let unknown = Stopped { secret: Some(999), ..profile() };
    let loose = Stopped { secret: Some(1), profile: None };
    for (stopped, code) in
        [(nobody, "profile-not-found"), (unknown, "group-secret-not-found"), (loose, "value-invalid")]
    {
        let refused = house.registry.freeze(&security, &house.tenant, &stopped, "");
        assert_eq!(refused.unwrap_err().code(), code, "{stopped:?}");
    }
}

#[test]
fn a_stop_on_a_group_secret_that_is_gone_can_be_lifted() {
    let house = House::new(0);
    let stopped = secret(&house);
    house.registry.freeze(&house.operator, &house.tenant, &stopped, "stolen key").unwrap();
    let rotation = ProfileChange { rotation: Some(Rotation::default()), ..ProfileChange::default() };
    house.registry.set_profile(&house.operator, &house.tenant, "pumps", &rotation).unwrap();
    assert_ne!(secret(&house), stopped);
    house.registry.thaw(&house.operator, &house.tenant, &stopped).unwrap();
    assert!(house.registry.freezes(&house.tenant).unwrap().is_empty());
    let again = house.registry.freeze(&house.operator, &house.tenant, &stopped, "gone");
    assert_eq!(again.unwrap_err().code(), "group-secret-not-found");
}
