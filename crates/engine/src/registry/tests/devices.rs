use super::*;

#[test]
fn a_device_is_added_once() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    let added = house.add(" pump-1 ", "pumps");
    assert_eq!((added.name.as_str(), added.profile.as_str()), ("pump-1", "pumps"));
    let again = house.registry.add_device(&server(), &house.home(), &device("pump-1", "pumps", None));
    assert_eq!(code(again), "device-exists");
    let nowhere = house.registry.add_device(&server(), &house.home(), &device("pump-2", "none", None));
    assert_eq!(code(nowhere), "profile-not-found");
}

#[test]
fn an_import_may_be_repeated_and_says_what_became_of_each_row() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    house.profile("valves", Strategy::CheckPreProvisioned);
    let rows = [device("a", "pumps", Some("one")), device("b", "valves", None), device("b", "valves", None)];
    assert_eq!(house.import(&rows), [Ok(Imported::Created), Ok(Imported::Created), Ok(Imported::Unchanged)]);
    assert_eq!(house.import(&rows), [Ok(Imported::Unchanged); 3]);
    let rows = [
        device("a", "pumps", Some("two")),
        device("b", "pumps", None),
        device("c", "none", None),
        device("  ", "pumps", None),
        device("d", "pumps", Some(&"x".repeat(256))),
        device("a", "pumps", None),
    ];
    let expected = [
        Ok(Imported::Updated),
        Err("device-of-other-profile"),
        Err("profile-not-found"),
        Err("value-invalid"),
        Err("value-invalid"),
        Ok(Imported::Unchanged),
    ];
    assert_eq!(house.import(&rows), expected);
    assert_eq!(house.registry.device(&house.home(), "a").unwrap().label.as_deref(), Some("two"));
}

#[test]
fn a_deleted_device_is_gone_and_its_name_is_free_at_once() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    house.profile("valves", Strategy::CheckPreProvisioned);
    house.add("a", "pumps");
    house.registry.delete_device(&server(), &house.home(), "a").unwrap();
    assert_eq!(house.closed.0.lock().last().map(|(_, why)| *why), Some(Farewell::Deleted));
    assert_eq!(code(house.registry.device(&house.home(), "a")), "device-not-found");
    assert_eq!(code(house.registry.delete_device(&server(), &house.home(), "a")), "device-not-found");
    assert_eq!(house.add("a", "valves").profile, "valves");
}

#[test]
fn disabling_closes_sessions_and_enabling_goes_back() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    let before = house.add("a", "pumps");
    let disabled = house.registry.disable_device(&server(), &house.home(), "a").unwrap();
    assert!(matches!(disabled.state, domain::DeviceState::Disabled { .. }));
    assert_eq!(house.closed.0.lock().len(), 1);
    let after = house.registry.enable_device(&server(), &house.home(), "a").unwrap();
    assert_ne!(after.stand, before.stand);
    assert_eq!(Device { stand: before.stand.clone(), ..after }, before);
}

#[test]
fn a_listing_goes_page_by_page_and_filters_pass_over_the_rest() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    house.profile("valves", Strategy::CheckPreProvisioned);
    let rows: Vec<_> = (0..25)
        .map(|at| device(&format!("d{at:02}"), if at % 5 == 0 { "valves" } else { "pumps" }, None))
        .collect();
    house.import(&rows);
    let all = |profile: Option<&str>, state: Option<&str>| {
        let (profile, state) = (profile.map(str::to_owned), state.map(str::to_owned));
        let selector = Selector { profile, state, ..Selector::default() };
        let mut names = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let query = DeviceQuery { selector: Some(&selector), after: after.as_deref(), limit: Some(4) };
            let page = house.registry.devices(&house.home(), query).unwrap();
            assert!(page.devices.len() <= 4);
            names.extend(page.devices.into_iter().map(|device| device.name));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    };
    assert_eq!(all(None, None), rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>());
    assert_eq!(all(Some("valves"), Some("expected")), ["d00", "d05", "d10", "d15", "d20"]);
    assert!(all(None, Some("disabled")).is_empty());
}

#[test]
fn another_tenants_device_is_not_found() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    house.add("a", "pumps");
    house.registry.create_tenant(&server(), "acme").unwrap();
    let acme = house.registry.tenant(&server(), Some("acme")).unwrap();
    assert_eq!(code(house.registry.device(&acme, "a")), "device-not-found");
    assert_eq!(code(house.registry.delete_device(&server(), &acme, "a")), "device-not-found");
    assert_eq!(house.registry.devices(&acme, DeviceQuery::default()).unwrap().devices.len(), 0);
}

// === The journal ===

#[test]
fn every_change_is_journalled_with_who_did_it_and_without_secrets() {
    let house = House::new();
    let (secret, _) = house.profile("pumps", Strategy::CreateNew);
    house.set("pumps", &ProfileChange { rotation: Some(Rotation::default()), ..ProfileChange::default() });
    house.add("a", "pumps");
    house.import(&[device("a", "pumps", Some("noted"))]);
    house.registry.disable_device(&server(), &house.home(), "a").unwrap();
    house.registry.disable_device(&server(), &house.home(), "a").unwrap();
    house.registry.enable_device(&server(), &house.home(), "a").unwrap();
    house.registry.delete_device(&server(), &house.home(), "a").unwrap();
    let everything =
        store::journal::JournalQuery { tenant: None, about: None, kinds: &[], before: None, limit: 100 };
    let mut entries = house.store.read(|view| view.journal(&everything)).unwrap().entries;
    entries.reverse();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    let expected = [
        "profile-created",
        "profile-changed",
        "device-added",
        "device-labelled",
        "device-disabled",
        "device-enabled",
        "device-deleted",
    ];
    assert_eq!(kinds, expected);
    assert!(entries.iter().all(|entry| entry.actor == "server:test"));
    assert!(!format!("{entries:?}").contains(secret.expose()));
    let verification = house.registry.verify_journal(&server(), None).unwrap();
    assert!(verification.faults.is_empty(), "{:?}", verification.faults);
}

#[test]
fn attempts_are_listed_newest_first_within_the_walls_of_a_tenant() {
    let house = House::new();
    let (_, view) = house.profile("pumps", Strategy::CreateNew);
    for name in ["a", "b", "c"] {
        house.provisioned(name, &view);
    }
    let names = |operator: &Operator, query: AttemptQuery<'_>| {
        let page = house.registry.attempts(operator, query).unwrap();
        (page.attempts.into_iter().filter_map(|attempt| attempt.name).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = names(&server(), AttemptQuery { limit: Some(2), ..AttemptQuery::default() });
    assert_eq!(first, ["c", "b"]);
    let query = AttemptQuery { before: next.as_deref(), ..AttemptQuery::default() };
    assert_eq!(names(&server(), query), (vec!["a".to_owned()], None));
    let query = AttemptQuery { name: Some("b"), ..AttemptQuery::default() };
    assert_eq!(names(&server(), query).0, ["b"]);
    house.registry.create_tenant(&server(), "acme").unwrap();
    let acme = house.registry.tenant(&server(), Some("acme")).unwrap();
    let stranger = Operator { right: Right::Tenant(acme.id), ..server() };
    assert!(names(&stranger, AttemptQuery::default()).0.is_empty());
}

#[test]
fn a_device_is_found_by_its_public_id_within_its_tenant() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    let dots = house.add("..", "pumps");
    assert_eq!(house.registry.device(&house.home(), &dots.id).unwrap(), dots);
    house.registry.create_tenant(&server(), "acme").unwrap();
    let acme = house.registry.tenant(&server(), Some("acme")).unwrap();
    assert_eq!(code(house.registry.device(&acme, &dots.id)), "device-not-found");
}

#[test]
fn a_device_that_is_called_like_the_id_of_another_one_does_not_take_its_place() {
    let house = House::new();
    house.profile("pumps", Strategy::CheckPreProvisioned);
    let (home, registry) = (house.home(), &house.registry);
    let pump = house.add("pump", "pumps");
    let decoy = house.add(&pump.id, "pumps");
    assert_eq!((decoy.name.as_str(), decoy.id == pump.id), (pump.id.as_str(), false));
    assert_eq!(registry.device(&home, &pump.id).unwrap().name, "pump");
    registry.disable_device(&server(), &home, &pump.id).unwrap();
    let state = |id: &str| registry.device_by_id(&home, id).unwrap().state;
    assert!(
        matches!(state(&pump.id), DeviceState::Disabled { .. }) && state(&decoy.id) == DeviceState::Expected
    );
    registry.remove_device(&server(), &home, &decoy.id).unwrap();
    assert_eq!(code(registry.device(&home, &decoy.id)), "device-not-found");
    registry.delete_device(&server(), &home, &pump.id).unwrap();
    assert_eq!(code(registry.device(&home, "pump")), "device-not-found");
}

#[test]
fn what_is_found_by_its_name_alone_is_not_called_like_a_step_in_an_address() {
    let house = House::new();
    let registry = &house.registry;
    for name in [".", ".."] {
        let password = Some(Secret::new("a password of some length"));
        let account = NewAccount { name, tenant: None, role: domain::Role::Admin, password };
        let profile = NewProfile { name: name.into(), ..NewProfile::default() };
        assert_eq!(code(registry.create_tenant(&server(), name)), "value-invalid");
        assert_eq!(code(registry.create_account(&server(), &account)), "value-invalid");
        assert_eq!(code(registry.create_profile(&server(), &house.home(), profile)), "value-invalid");
    }
    let told = registry.create_tenant(&server(), &"a".repeat(256)).unwrap_err().to_string();
    assert!(told.contains("255 characters") && !told.contains("registration id"), "{told}");
}
