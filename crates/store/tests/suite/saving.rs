//! Devices and profiles as operators save them: whole, counted, searched.

use domain::{Credential, DeviceRecord, DeviceState, Generation, Held, Secret, Version};
use store::secrets::ToSeal;
use store::{Change, DeviceOrder, DeviceSearch, SecretLimits, StoreError};

use crate::house::{HOME, House, NOW, make_profile};

fn write<T>(house: &House, mut f: impl FnMut(&mut Change<'_>) -> Result<T, StoreError>) -> T {
    house.store.write(|change: &mut Change<'_>| f(change)).unwrap()
}

fn expected(house: &House, name: &str) -> DeviceRecord {
    DeviceRecord { state: DeviceState::Expected, credential: Credential::None, ..house.create(name).device }
}

fn add(house: &House, name: &str, label: Option<&str>) -> DeviceRecord {
    let device = expected(house, name);
    assert!(write(house, |change| change.insert_device(&device, label, Some(r#"{"a":1}"#))));
    device
}

#[test]
fn a_saved_device_has_what_was_said_of_it_and_counts_its_saves() {
    let house = House::new();
    let device = add(&house, "pump", Some("roof"));
    add(&house, "valve", None);
    let other = make_profile(&house.store, HOME, "valves", &SecretLimits::default());
    let renamed = |name: &str| DeviceRecord {
        name: name.to_owned(),
        profile: other.id,
        gateway: true,
        version: Version(2),
        ..device.clone()
    };
    assert!(!write(&house, |change| change.save_device(&renamed("valve"), Version(1), None, None)));
    assert!(!write(&house, |change| change.save_device(&renamed("tank"), Version(7), None, None)));
    assert!(write(&house, |change| change.save_device(&renamed("tank"), Version(1), Some("cellar"), None)));
    let row = house.store.read(|view| view.device_by_key(HOME, device.key)).unwrap().unwrap();
    assert_eq!(row.record, renamed("tank"));
    assert_eq!((row.label.as_deref(), row.additional_info, row.saves), (Some("cellar"), None, 1));
    assert_eq!(row.created_at, NOW);
    assert!(house.store.read(|view| view.device_named(HOME, "pump")).unwrap().is_none());
}

#[test]
fn a_device_was_made_when_it_was_made_wherever_it_goes_later() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let present = house.device("pump").unwrap();
    let later = domain::Timestamp(NOW.0 + 5000);
    let moved = DeviceRecord { state_since: later, version: Version(2), ..present };
    assert!(write(&house, |change| change.update_device(&moved)));
    let row = house.store.read(|view| view.device_by_key(HOME, moved.key)).unwrap().unwrap();
    assert_eq!((row.created_at, row.record.state_since), (NOW, later));
}

#[test]
fn credentials_that_were_set_come_back_in_clear_and_belong_to_one_device() {
    let house = House::new();
    let (one, other) = (add(&house, "one", None), add(&house, "other", None));
    let generation = Generation(77);
    let held = Held::Token(Secret::new("chosen"));
    let sealed = ToSeal { tenant: HOME, device: one.key, generation, held };
    house.store.seal_credentials(&[sealed], NOW).unwrap();
    let credential = Credential::Token(generation, house.verifier("chosen"));
    let with = |device: &DeviceRecord| DeviceRecord { credential, version: Version(2), ..device.clone() };
    assert!(write(&house, |change| change.save_credential(&with(&one))));
    assert!(!write(&house, |change| change.save_credential(&with(&other))));
    let Some(Held::Token(clear)) = house.store.credential_in_clear(&with(&one)).unwrap() else { panic!() };
    assert_eq!(clear.expose(), "chosen");
    let row = house.store.read(|view| view.device_by_key(HOME, one.key)).unwrap().unwrap();
    assert_eq!((row.credential_saves, row.saves), (1, 0));
    let holder = house.store.read(|view| view.credential_holder(&house.verifier("chosen"))).unwrap();
    assert_eq!(holder.map(|holder| holder.key), Some(one.key));
    assert!(house.store.credential_in_clear(&other).unwrap().is_none());
}

#[test]
fn a_certificate_comes_back_as_it_was_and_shares_one_index_with_tokens() {
    let house = House::new();
    let (one, other) = (add(&house, "one", None), add(&house, "other", None));
    let text = "M".repeat(domain::credentials::MAX_CERTIFICATE_CHARS);
    let sealed = ToSeal {
        tenant: HOME,
        device: one.key,
        generation: Generation(77),
        held: Held::Certificate(text.clone()),
    };
    house.store.seal_credentials(&[sealed], NOW).unwrap();
    let verifier = house.verifier("its hash");
    let with = |device: &DeviceRecord, credential| DeviceRecord {
        credential,
        version: Version(2),
        ..device.clone()
    };
    let holds = with(&one, Credential::Certificate(Generation(77), verifier));
    assert!(write(&house, |change| change.save_credential(&holds)));
    assert_eq!(house.device("one"), Some(holds.clone()));
    assert_eq!(house.store.devices_by_verifier(&[verifier]).unwrap(), [Some(holds.clone())]);
    let same_as_token = with(&other, Credential::Token(Generation(78), verifier));
    assert!(!write(&house, |change| change.save_credential(&same_as_token)));
    let Some(Held::Certificate(clear)) = house.store.credential_in_clear(&holds).unwrap() else { panic!() };
    assert_eq!(clear, text);
    assert!(write(&house, |change| {
        change.void_credential(&holds);
        Ok(true)
    }));
    assert!(house.store.credential_in_clear(&holds).is_err());
}

#[test]
fn devices_are_found_by_text_profile_and_order() {
    let house = House::new();
    for (name, label) in [("b-100%", Some("roof")), ("A-1", None), ("c_2", Some("ROOF two"))] {
        add(&house, name, label);
    }
    let found = |search: DeviceSearch<'_>, offset, limit| -> Vec<String> {
        let found = house.store.read(|view| view.searched(HOME, &search, offset, limit)).unwrap();
        found.rows.into_iter().map(|row| row.record.name).collect()
    };
    let named = DeviceSearch { order: DeviceOrder::Name, ..DeviceSearch::default() };
    let made = DeviceSearch { order: DeviceOrder::Created, ..DeviceSearch::default() };
    assert_eq!(found(made, 0, 9), ["b-100%", "A-1", "c_2"]);
    assert_eq!(found(named, 1, 1), ["b-100%"]);
    assert_eq!(found(DeviceSearch { descending: true, ..named }, 0, 2), ["c_2", "b-100%"]);
    let text = |text| DeviceSearch { text: Some(text), ..named };
    assert_eq!(found(text("Roof"), 0, 9), ["b-100%", "c_2"]);
    assert_eq!(found(text("%"), 0, 9), ["b-100%"]);
    assert_eq!(found(text("_"), 0, 9), ["c_2"]);
    assert_eq!(found(text("pumps"), 0, 9), Vec::<String>::new());
    let by_profile = DeviceSearch { in_profile_names: true, order: DeviceOrder::Profile, ..text("PUMPS") };
    assert_eq!(found(by_profile, 0, 9).len(), 3);
    let count =
        |search: DeviceSearch<'_>| house.store.read(|view| view.searched(HOME, &search, 0, 1)).unwrap().total;
    assert_eq!((count(named), count(text("roof"))), (3, 2));
    let keys: Vec<_> = ["c_2", "A-1"].map(|name| house.device(name).unwrap().key).into();
    for order in [DeviceOrder::Name, DeviceOrder::Created, DeviceOrder::Profile, DeviceOrder::Label] {
        let among =
            |wanted| DeviceSearch { order, among: Some((&keys[..], wanted)), ..DeviceSearch::default() };
        let mut these = found(among(true), 0, 9);
        these.sort();
        assert_eq!((these, count(among(true))), (vec!["A-1".to_owned(), "c_2".to_owned()], 2));
        assert_eq!((found(among(false), 0, 9), count(among(false))), (vec!["b-100%".to_owned()], 1));
        assert_eq!(found(among(true), 1, 9).len(), 1);
    }
    let both = DeviceSearch { among: Some((&keys[..], true)), ..text("roof") };
    assert_eq!((found(both, 0, 9), count(both)), (vec!["c_2".to_owned()], 1));
    let neither = DeviceSearch { among: Some((&keys[..], false)), ..text("roof") };
    assert_eq!((found(neither, 0, 9), count(neither)), (vec!["b-100%".to_owned()], 1));
    let leaving = house.device("c_2").unwrap();
    let left = DeviceRecord { state: DeviceState::Decommissioning, version: Version(2), ..leaving };
    let operation = store::NewOperation {
        tenant: HOME,
        device: left.key,
        kind: domain::plan::OperationKind::Leave,
        deed: "",
        plan: &[],
        grace_until: Some(domain::Timestamp(NOW.0 + 1000)),
    };
    assert!(write(&house, |change| change.update_device(&left)));
    write(&house, |change| change.begin_operation(&operation, NOW));
    assert_eq!((count(named), count(text("roof"))), (2, 1));
    assert_eq!(found(named, 0, 9), ["A-1", "b-100%"]);
}

#[test]
fn a_tenant_has_one_default_profile_and_one_that_has_devices_is_known_to() {
    let house = House::new();
    let valves = make_profile(&house.store, HOME, "valves", &SecretLimits::default());
    add(&house, "pump", None);
    write(&house, |change| change.mark_default_profile(HOME, house.profile.id));
    write(&house, |change| change.set_default_profile(HOME, valves.id));
    let default = house.store.read(|view| view.default_profile(HOME)).unwrap().unwrap();
    assert_eq!((default.profile.id, default.saves), (valves.id, 1));
    let used = |id| house.store.read(|view| view.profile_has_devices(HOME, id)).unwrap();
    assert_eq!((used(house.profile.id), used(valves.id)), (true, false));
    assert_eq!(house.store.read(|view| view.profiles_in_use(HOME)).unwrap(), [house.profile.id]);
    let saved = domain::Profile { name: "taps".into(), provision_key: "taps-key".into(), ..default.profile };
    assert!(write(&house, |change| change.save_profile(&saved, Some("{}"))));
    assert!(!write(&house, |change| change.save_profile(&saved, None)));
    let row = house.store.read(|view| view.profile_by_name(HOME, "taps")).unwrap().unwrap();
    assert_eq!((row.notes.as_deref(), row.profile.provision_key.as_str()), (Some("{}"), "taps-key"));
    let secret = row.profile.secrets[0].id;
    assert!(house.store.group_secret_in_clear(HOME, secret).unwrap().is_some());
    assert!(write(&house, |change| change.delete_profile(HOME, valves.id)));
    assert!(house.store.group_secret_in_clear(HOME, secret).unwrap().is_none());
    assert!(house.store.read(|view| view.profile_by_id(valves.id)).unwrap().is_none());
}
