use domain::profile::NamePattern;
use domain::{DeviceRecord, DeviceState, Profile, Reprovision, Role, Secret, TenantId, Timestamp, Version};
use store::{Change, Freeze, Frozen, Link, NewAccount, NewOperatorToken, SecretLimits, StoreError};

use crate::house::{HOME, House, NOW};

fn write<T>(house: &House, f: impl FnMut(&mut Change<'_>) -> Result<T, StoreError>) -> T {
    house.store.write(f).unwrap()
}

#[test]
fn the_default_tenant_is_there_and_others_are_listed_by_name() {
    let house = House::new();
    let acme = write(&house, |change| change.create_tenant("acme", NOW));
    let names: Vec<_> =
        house.store.read(|view| view.tenants()).unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["acme", "default"]);
    assert_eq!(house.store.read(|view| view.tenant_by_id(acme.id)).unwrap(), Some(acme));
    assert_eq!(house.store.read(|view| view.tenant_by_name("default")).unwrap().unwrap().id, HOME);
}

#[test]
fn a_tenant_whose_name_is_taken_is_not_made() {
    let house = House::new();
    assert!(house.store.write(|change: &mut Change<'_>| change.create_tenant("default", NOW)).is_err());
}

#[test]
fn operator_tokens_are_found_by_verifier_and_stay_revoked() {
    let house = House::new();
    let verifier = house.verifier("mst_1");
    let end = Some(NOW.plus_ms(5));
    let new = NewOperatorToken { tenant: Some(HOME), role: Role::Viewer, label: "ci", expires_at: end };
    let id = write(&house, |change| change.create_operator_token(&verifier, new, NOW));
    let found = || house.store.read(|view| view.operator_token_by_verifier(&verifier)).unwrap().unwrap();
    assert_eq!(
        (found().id, found().tenant, found().role, found().expires_at, found().revoked_at),
        (id, Some(HOME), Role::Viewer, end, None)
    );
    assert!(write(&house, |change| change.revoke_operator_token(id, NOW)));
    assert!(write(&house, |change| change.revoke_operator_token(id, NOW.plus_ms(9))));
    assert_eq!(found().revoked_at, Some(NOW));
    assert!(!write(&house, |change| change.revoke_operator_token(id + 1, NOW)));
    assert_eq!(house.store.read(|view| view.operator_tokens()).unwrap(), [found()]);
    assert_eq!(
        house.store.read(|view| view.operator_token_by_verifier(&house.verifier("mst_2"))).unwrap(),
        None
    );
}

#[test]
fn a_profile_comes_back_with_its_limits_and_its_newest_secret_first() {
    let house = House::new();
    let limits = SecretLimits {
        expires_at: Some(Timestamp(99)),
        uses_left: Some(3),
        networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        name_pattern: Some(NamePattern::parse("pump-[0-9]+").unwrap()),
    };
    let id = house.profile.id;
    write(&house, |change| change.add_group_secret(HOME, id, &Secret::new("second"), &limits, NOW));
    let row = house.store.read(|view| view.profile_by_id(id)).unwrap().unwrap();
    assert_eq!(row.created_at, NOW);
    let [newest, oldest] = &row.profile.secrets[..] else { panic!("two secrets") };
    assert_eq!(oldest.id, house.secret());
    assert_eq!(newest.verifier, house.verifier("second"));
    assert_eq!((newest.expires_at, newest.uses_left), (limits.expires_at, Some(3)));
    assert_eq!(newest.networks, limits.networks);
    assert_eq!(newest.name_pattern.as_ref().unwrap().text(), "pump-[0-9]+");
    assert!(row.profile.version > house.profile.version);
}

#[test]
fn new_limits_take_the_place_of_the_old_ones_and_raise_the_version() {
    let house = House::with(&SecretLimits { uses_left: Some(3), ..SecretLimits::default() });
    let limits = SecretLimits { expires_at: Some(NOW), ..SecretLimits::default() };
    assert!(write(&house, |change| change.limit_group_secret(HOME, house.secret(), &limits)));
    assert!(!write(&house, |change| change.limit_group_secret(TenantId(9), house.secret(), &limits)));
    let profile = house.store.profile_by_provision_key("pumps-key").unwrap().unwrap();
    assert_eq!((profile.secrets[0].uses_left, profile.secrets[0].expires_at), (None, Some(NOW)));
    assert_eq!(profile.version.0, house.profile.version.0 + 1);
}

#[test]
fn a_profile_is_changed_only_over_the_version_that_was_seen() {
    let house = House::new();
    let changed = Profile { reprovision: Reprovision::Rotate, ..house.profile.clone() };
    assert!(write(&house, |change| change.update_profile(&changed)));
    assert!(!write(&house, |change| change.update_profile(&changed)));
    let row = house.store.read(|view| view.profile_by_name(HOME, "pumps")).unwrap().unwrap();
    assert_eq!(row.profile.reprovision, Reprovision::Rotate);
    assert_eq!(
        house.store.read(|view| view.profile_by_name(TenantId(9), "pumps")).unwrap().map(|_| ()),
        None
    );
}

#[test]
fn devices_are_listed_by_name_page_by_page() {
    let house = House::new();
    let provisions: Vec<_> = ["c", "a", "e", "b", "d"].map(|name| house.create(name)).into();
    house.record(&provisions);
    let page = |after: Option<&str>| -> Vec<String> {
        let rows = house.store.read(|view| view.devices_page(HOME, after, 2)).unwrap();
        rows.into_iter().map(|row| row.record.name).collect()
    };
    assert_eq!(page(None), ["a", "b"]);
    assert_eq!(page(Some("b")), ["c", "d"]);
    assert_eq!(page(Some("d")), ["e"]);
    assert_eq!(house.store.read(|view| view.devices_page(TenantId(9), None, 9)).unwrap(), []);
}

#[test]
fn a_device_is_changed_over_the_version_that_stands_and_keeps_its_label() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let present = house.device("pump").unwrap();
    assert!(write(&house, |change| change.set_device_label(HOME, present.key, Some("roof"))));
    assert!(!write(&house, |change| change.set_device_label(TenantId(9), present.key, Some("cellar"))));
    let disabled = DeviceRecord { state: present.state.disable(), version: Version(2), ..present };
    assert!(write(&house, |change| change.update_device(&disabled)));
    assert!(!write(&house, |change| change.update_device(&disabled)));
    let row = house.store.read(|view| view.device_named(HOME, "pump")).unwrap().unwrap();
    assert_eq!((&row.record, row.label.as_deref()), (&disabled, Some("roof")));
    assert!(write(&house, |change| change.set_device_label(HOME, row.record.key, None)));
    assert_eq!(house.store.read(|view| view.device_named(HOME, "pump")).unwrap().unwrap().label, None);
}

#[test]
fn an_expected_device_takes_a_name_once() {
    let house = House::new();
    let expected = |name: &str| DeviceRecord {
        state: DeviceState::Expected,
        credential: domain::Credential::None,
        ..house.create(name).device
    };
    let (first, second) = (expected("pump"), expected("pump"));
    assert!(write(&house, |change| change.insert_expected(&first, None)));
    assert!(!write(&house, |change| change.insert_expected(&second, None)));
    assert_eq!(house.device("pump"), Some(first));
}

#[test]
fn a_device_of_another_tenant_is_not_deleted() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let foreign = DeviceRecord { tenant: TenantId(9), ..house.device("pump").unwrap() };
    assert!(!write(&house, |change| change.delete_device(&foreign, NOW)));
    assert!(house.device("pump").is_some());
}

#[test]
fn an_account_is_found_by_name_and_each_change_ends_its_sessions() {
    let house = House::new();
    let password = Secret::new("$argon2id$...");
    let new =
        NewAccount { tenant: Some(HOME), name: "ann@b", password: Some(&password), role: Role::Operator };
    let id = write(&house, |change| change.create_account(new, NOW));
    assert!(house.store.write(|change: &mut Change<'_>| change.create_account(new, NOW)).is_err());
    let found = || house.store.read(|view| view.account_by_name("ann@b")).unwrap().unwrap();
    let mut account = found();
    assert_eq!((account.id, account.tenant, account.role), (id, Some(HOME), Role::Operator));
    let epoch = account.epoch;
    assert_eq!(account.password.as_ref().map(Secret::expose), Some(password.expose()));
    (account.role, account.disabled_at) = (Role::Viewer, Some(NOW));
    write(&house, |change| change.set_account(&account, NOW.plus_ms(5)));
    assert_eq!((found().role, found().disabled_at), (Role::Viewer, Some(NOW)));
    assert!(found().epoch > epoch);
    assert_eq!((found().created_at, found().changed_at), (NOW, NOW.plus_ms(5)));
    assert_eq!(house.store.read(|view| view.accounts()).unwrap().len(), 1);
    write(&house, |change| change.delete_account(id, NOW));
    assert!(house.store.read(|view| view.account(id)).unwrap().is_none());
    assert!(house.store.read(|view| view.account_by_name("a\0b")).unwrap().is_none());
    let again = write(&house, |change| change.create_account(new, NOW));
    assert!(again > id, "a number is not used twice");
}

#[test]
fn an_account_that_a_provider_opens_follows_its_word_until_it_is_removed() {
    let house = House::new();
    let link = Link { issuer: "https://id".into(), subject: "42".into(), vouched_at: NOW };
    let make = |name| {
        house.store.write(|change: &mut Change<'_>| {
            let new = NewAccount { tenant: None, name, password: None, role: Role::Viewer };
            let id = change.create_account(new, NOW)?;
            change.link_account(id, &link).map(|()| id)
        })
    };
    let id = make("ann@b").unwrap();
    assert!(make("other").is_err(), "one subject has one account");
    let found = || house.store.read(|view| view.account_of_subject("https://id", "42")).unwrap();
    let account = found().unwrap();
    assert_eq!((account.id, account.link.as_ref()), (id, Some(&link)));
    write(&house, |change| change.vouch(id, Role::Viewer, None, NOW.plus_ms(1), NOW));
    let again = found().unwrap();
    assert_eq!((again.epoch, again.link.unwrap().vouched_at), (account.epoch, NOW.plus_ms(1)));
    write(&house, |change| change.vouch(id, Role::Viewer, Some(HOME), NOW.plus_ms(2), NOW));
    let moved = found().unwrap();
    assert!(moved.tenant == Some(HOME) && moved.epoch > account.epoch, "its sessions have ended");

    let removed = || house.store.read(|view| view.subject_removed_at("https://id", "42")).unwrap();
    assert_eq!(removed(), None);
    write(&house, |change| change.withdraw(&moved, NOW.plus_ms(2), NOW));
    assert!(removed() == Some(NOW.plus_ms(2)) && found().unwrap().epoch > moved.epoch);
    write(&house, |change| change.delete_account(id, NOW.plus_ms(3)));
    assert!(found().is_none() && removed() == Some(NOW.plus_ms(3)));
    let id = make("ann@b").unwrap();
    write(&house, |change| change.delete_account(id, NOW.plus_ms(9)));
    assert_eq!(removed(), Some(NOW.plus_ms(9)));

    // The provider's clock is ahead of ours, and ours was set back since: neither brings an old word back.
    let id = make("ann@b").unwrap();
    write(&house, |change| change.vouch(id, Role::Viewer, None, NOW.plus_ms(30), NOW));
    write(&house, |change| change.delete_account(id, NOW.plus_ms(10)));
    assert_eq!(removed(), Some(NOW.plus_ms(30)));
    let id = make("ann@b").unwrap();
    let early = found().unwrap();
    write(&house, |change| change.withdraw(&early, NOW.plus_ms(5), NOW));
    assert_eq!(removed(), Some(NOW.plus_ms(30)));
    write(&house, |change| change.delete_account(id, NOW));
    assert_eq!(removed(), Some(NOW.plus_ms(30)));
}

#[test]
fn a_session_stays_ended_until_its_tokens_would_have_expired() {
    let house = House::new();
    let ended = |session: &str| house.store.read(|view| view.session_has_ended(session)).unwrap();
    write(&house, |change| change.end_session("one", NOW.plus_ms(5), NOW));
    write(&house, |change| change.end_session("one", NOW.plus_ms(5), NOW));
    assert!(ended("one") && !ended("two"));
    write(&house, |change| change.end_session("two", NOW.plus_ms(99), NOW.plus_ms(6)));
    assert!(!ended("one") && ended("two"), "what has expired by itself is forgotten");
}

#[test]
fn who_announced_a_device_is_kept() {
    let house = House::new();
    let [one, two] = [house.key(), house.key()];
    write(&house, |change| change.announce(HOME, one, "token:1"));
    write(&house, |change| change.announce(HOME, two, "token:2"));
    let by = |installer: &str| house.store.read(|view| view.announced_by(HOME, installer)).unwrap();
    assert_eq!((by("token:1"), by("token:3")), (vec![one], vec![]));
    let has = |device| house.store.read(|view| view.has_announced(device, "token:1")).unwrap();
    assert!(has(one) && !has(two));
}

#[test]
fn what_is_stopped_shows_in_the_profile_and_outdates_what_was_decided() {
    let house = House::new();
    let profile = || house.store.read(|view| view.profile_by_id(house.profile.id)).unwrap().unwrap().profile;
    let secret = profile().secrets[0].id;
    let whole = Frozen { tenant: HOME, profile: None, secret: None };
    let of_profile = Frozen { profile: Some(house.profile.id), ..whole };
    let of_secret = Frozen { secret: Some(secret), ..of_profile };
    let stop = |frozen| Freeze { frozen, since: NOW, actor: "ann".to_owned(), reason: "lost".to_owned() };
    for (frozen, all, one) in [(whole, true, false), (of_profile, true, false), (of_secret, false, true)] {
        let version = profile().version;
        write(&house, |change| change.freeze(&stop(frozen)));
        write(&house, |change| change.freeze(&stop(frozen)));
        assert_eq!((profile().frozen, profile().secrets[0].frozen), (all, one), "{frozen:?}");
        assert!(profile().version > version);
        assert_eq!(house.store.read(|view| view.freezes(HOME)).unwrap(), [stop(frozen)]);
        let version = profile().version;
        assert!(write(&house, |change| change.thaw(&frozen)));
        assert!(!write(&house, |change| change.thaw(&frozen)));
        assert!(profile().version > version && !profile().frozen && !profile().secrets[0].frozen);
    }
}
