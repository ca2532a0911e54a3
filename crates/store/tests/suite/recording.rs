use domain::credentials::BasicParts;
use domain::{Credential, DeviceRecord, DeviceState, Generation, Version};
use store::{Change, Lost, SecretLimits};

use crate::house::{HOME, House, NOW, make_profile, rotate};

#[test]
fn a_recorded_device_is_found_by_name_and_by_key_as_it_was_decided() {
    let house = House::new();
    let mut provision = house.create("pump");
    provision.device.gateway = true;
    assert!(house.record(std::slice::from_ref(&provision))[0].is_ok());
    assert_eq!(house.device("pump").as_ref(), Some(&provision.device));
    let by_key = house.store.devices_by_key(&[provision.device.key]).unwrap();
    assert_eq!(by_key, vec![Some(provision.device)]);
    assert_eq!(house.device("Pump"), None);
}

#[test]
fn a_second_device_with_the_same_name_in_one_batch_is_lost_and_its_neighbours_are_not() {
    let house = House::new();
    let results = house.record(&[house.create("a"), house.create("a"), house.create("b")]);
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(results[1], Err(Lost::NameTaken));
    assert!(house.device("b").is_some());
}

#[test]
fn the_same_name_may_be_used_in_another_tenant() {
    let mut house = House::new();
    house.record(&[house.create("a")]);
    let acme = house.store.write(|change: &mut Change<'_>| change.create_tenant("acme", NOW)).unwrap();
    house.profile = make_profile(&house.store, acme.id, "valves", &SecretLimits::default());
    assert!(house.record(&[house.create("a")])[0].is_ok());
}

#[test]
fn a_rotation_is_recorded_only_over_the_version_it_saw() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let seen = house.device("pump").unwrap();
    let both = [rotate(&seen, &house.profile, 1), rotate(&seen, &house.profile, 2)];
    let results = house.record(&both);
    assert!(results[0].is_ok());
    assert_eq!(results[1], Err(Lost::DeviceChanged));
    let now = house.device("pump").unwrap();
    assert_eq!((now.credential, now.version), (Credential::Derived(Generation(1)), Version(2)));
}

#[test]
fn a_rotation_of_another_tenants_device_is_lost() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let mut foreign = house.device("pump").unwrap();
    let acme = house.store.write(|change: &mut Change<'_>| change.create_tenant("acme", NOW)).unwrap();
    let profile = make_profile(&house.store, acme.id, "valves", &SecretLimits::default());
    (foreign.tenant, foreign.profile) = (acme.id, profile.id);
    assert_eq!(house.record(&[rotate(&foreign, &profile, 1)]), [Err(Lost::DeviceChanged)]);
}

#[test]
fn a_decision_under_an_older_profile_is_lost() {
    let house = House::new();
    let provision = house.create("pump");
    let changed = house.store.write(|change: &mut Change<'_>| change.update_profile(&house.profile));
    assert!(changed.unwrap());
    assert_eq!(house.record(&[provision]), [Err(Lost::ProfileChanged)]);
    assert_eq!(house.device("pump"), None);
}

#[test]
fn credentials_belong_to_one_device_of_all_tenants() {
    let mut house = House::new();
    assert!(house.record(&[house.create_with_token("a", "tok")])[0].is_ok());
    let same = house.create_with_token("b", "tok");
    assert_eq!(house.record(&[same]), [Err(Lost::CredentialsTaken { elsewhere: false })]);
    let acme = house.store.write(|change: &mut Change<'_>| change.create_tenant("acme", NOW)).unwrap();
    house.profile = make_profile(&house.store, acme.id, "valves", &SecretLimits::default());
    let elsewhere = house.create_with_token("b", "tok");
    assert_eq!(house.record(&[elsewhere]), [Err(Lost::CredentialsTaken { elsewhere: true })]);
    let holder = house.store.devices_by_verifier(&[house.verifier("tok"), house.verifier("tuk")]).unwrap();
    assert_eq!(
        holder.into_iter().map(|it| it.map(|device| device.name)).collect::<Vec<_>>(),
        [Some("a".into()), None]
    );
}

#[test]
fn a_rotation_to_credentials_that_are_taken_is_lost() {
    let house = House::new();
    house.record(&[house.create_with_token("a", "tok"), house.create("b")]);
    let mut wanted = rotate(&house.device("b").unwrap(), &house.profile, 3);
    wanted.device.credential = Credential::Token(Generation(3), house.verifier("tok"));
    assert_eq!(house.record(&[wanted]), [Err(Lost::CredentialsTaken { elsewhere: false })]);
}

#[test]
fn basic_credentials_come_back_with_the_parts_that_count() {
    let house = House::new();
    let [one, two] = ["one", "two"].map(|text| Some(house.verifier(text)));
    let all = [
        BasicParts { client_id: one, user_name: None, password: None },
        BasicParts { client_id: None, user_name: one, password: two },
        BasicParts { client_id: one, user_name: two, password: one },
    ];
    for (number, parts) in all.into_iter().enumerate() {
        let name = format!("device-{number}");
        let mut provision = house.create(&name);
        provision.device.credential = Credential::Basic(provision.generation, house.verifier(&name), parts);
        assert!(house.record(std::slice::from_ref(&provision))[0].is_ok());
        assert_eq!(house.device(&name), Some(provision.device));
    }
}

#[test]
fn of_64_in_one_batch_with_10_uses_left_exactly_10_are_recorded() {
    let house = House::with(&SecretLimits { uses_left: Some(10), ..SecretLimits::default() });
    let provisions: Vec<_> =
        (0..64).map(|number| house.create_spending(&format!("device-{number}"))).collect();
    let results = house.record(&provisions);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 10);
    assert!(results[10..].iter().all(|result| *result == Err(Lost::UsesExhausted)));
    assert_eq!(house.count("main.db", "SELECT count(*) FROM devices"), 10);
    assert_eq!(house.store.uses_left(&[house.secret()]).unwrap(), [Some(0)]);
}

#[test]
fn a_lost_race_for_a_name_spends_no_use_and_is_told_as_such_even_without_uses() {
    let house = House::with(&SecretLimits { uses_left: Some(2), ..SecretLimits::default() });
    let results =
        house.record(&[house.create_spending("a"), house.create_spending("a"), house.create_spending("b")]);
    assert_eq!(results[1], Err(Lost::NameTaken));
    assert!(results[2].is_ok());
    let late = house.record(&[house.create_spending("a"), house.create_spending("c")]);
    assert_eq!(late, [Err(Lost::NameTaken), Err(Lost::UsesExhausted)]);
    assert_eq!(house.device("c"), None);
}

#[test]
fn without_uses_a_claimed_device_stays_as_it_was() {
    let house = House::with(&SecretLimits { uses_left: Some(0), ..SecretLimits::default() });
    let expected = DeviceRecord {
        state: DeviceState::Expected,
        credential: Credential::None,
        ..house.create("pump").device
    };
    let added = house.store.write(|change: &mut Change<'_>| change.insert_expected(&expected, Some("roof")));
    assert!(added.unwrap());
    let mut claim = rotate(&expected, &house.profile, 9);
    claim.spends = Some(house.secret());
    assert_eq!(house.record(&[claim]), [Err(Lost::UsesExhausted)]);
    assert_eq!(house.device("pump"), Some(expected));
}

#[test]
fn a_secret_without_a_limit_is_not_counted() {
    let house = House::new();
    house.record(&[house.create_spending("a")]);
    assert_eq!(house.store.uses_left(&[house.secret()]).unwrap(), [None]);
}

#[test]
fn device_keys_are_handed_out_once_over_restarts_and_restores() {
    let house = House::new();
    let before = house.keys(10);
    let house = house.reopened(|_| {});
    assert!(house.key() > before[9]);
    // A restored main database is older than the other two files.
    let told = store::Sample {
        device: domain::DeviceKey(70_000),
        scope: store::Scope::Timeseries,
        key: "t".into(),
        at: NOW,
        value: store::Value::Bool(true),
    };
    house.store.telemetry().append(&[told], NOW).unwrap();
    let house = house.reopened(|_| {});
    assert_eq!(house.key().0, 70_001);
    let mut chosen = house.create_with_token("a", "tok");
    chosen.device.key = domain::DeviceKey(900_000);
    house.record(&[chosen]);
    house.tamper("main.db", "DELETE FROM devices");
    let house = house.reopened(|_| {});
    assert_eq!(house.key().0, 900_001);
}

#[test]
fn one_that_the_database_does_not_take_is_lost_alone() {
    let house = House::new();
    let names = ["a", "b", "c\0", "d", "e"];
    let results = house.record(&names.map(|name| house.create(name)));
    let lost: Vec<_> = results.iter().map(|result| result.err()).collect();
    assert_eq!(lost, [None, None, Some(Lost::Unstorable), None, None]);
    assert_eq!(house.store.verify_journal(None).unwrap().entries, 4);
    for name in ["a", "b", "d", "e"] {
        assert!(house.device(name).is_some(), "{name}");
    }
    assert_eq!(house.device("c\0"), None);
}

#[test]
fn operators_write_while_devices_are_recorded() {
    let house = House::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50 {
                let results = house.record(&[house.create(&format!("device-{number}"))]);
                assert!(results[0].is_ok());
            }
        });
        for number in 0..50 {
            let made = house
                .store
                .write(|change: &mut Change<'_>| change.create_tenant(&format!("tenant-{number}"), NOW));
            made.unwrap();
        }
    });
    assert!(house.store.verify_journal(None).unwrap().faults.is_empty());
    assert_eq!(house.store.read(|view| view.devices_page(HOME, None, 100)).unwrap().len(), 50);
}
