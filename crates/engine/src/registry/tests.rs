use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use domain::admission::Answer;
use domain::profile::NamePattern;
use domain::decide::Deed;
use domain::{
    Credential, CredentialKeys, DeviceKey, DeviceRecord, DeviceState, Generation, Origin, Provision, Refusal,
    Reprovision, Strategy, Version, Wire,
};
use parking_lot::Mutex;
use store::secrets::LocalKek;
use zeroize::Zeroizing;

use super::*;
use crate::ports::{Clock, Farewell, Sessions};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
struct Closed(Mutex<Vec<(DeviceKey, Farewell)>>);

impl Sessions for Closed {
    fn close(&self, devices: &[DeviceKey], why: Farewell) {
        self.0.lock().extend(devices.iter().map(|device| (*device, why)));
    }
}

/// A registry over a store in a folder of its own, with a clock that a test moves.
struct House {
    registry: Registry,
    store: Store,
    clock: Arc<Hands>,
    closed: Arc<Closed>,
    told: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
        let kek = Arc::new(LocalKek::new("test", Zeroizing::new([7; 32])));
        let options = store::Options { dir: folder.path().to_owned(), server: "test".to_owned() };
        let store = Store::open(options, kek, clock.now()).unwrap();
        let closed = Arc::new(Closed::default());
        let ports = Ports { clock: clock.clone(), ..Ports::system(closed.clone()) };
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let changed = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let registry = Registry::new(store.clone(), ports, changed);
        House { registry, store, clock, closed, told, _folder: folder }
    }

    fn later(&self, ms: u64) {
        self.clock.0.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
    }

    fn home(&self) -> Tenant {
        self.registry.tenant(&server(), None).unwrap()
    }

    fn profile(&self, name: &str, strategy: Strategy) -> (Secret, ProfileView) {
        self.profile_with(NewProfile { name: name.to_owned(), strategy, ..NewProfile::default() })
    }

    fn profile_with(&self, wanted: NewProfile) -> (Secret, ProfileView) {
        self.registry.create_profile(&server(), &self.home(), wanted).unwrap()
    }

    fn set(&self, name: &str, change: ProfileChange) -> (Option<Secret>, ProfileView) {
        self.registry.set_profile(&server(), &self.home(), name, change).unwrap()
    }

    fn add(&self, name: &str, profile: &str) -> Device {
        self.registry.add_device(&server(), &self.home(), &device(name, profile, None)).unwrap()
    }

    fn import(&self, devices: &[NewDevice]) -> Vec<Result<Imported, &'static str>> {
        let devices: Vec<&NewDevice> = devices.iter().collect();
        let results = self.registry.import_devices(&server(), &self.home(), &devices).unwrap();
        results.into_iter().map(|result| result.map_err(|error| error.code())).collect()
    }

    /// What `explain` says no with, under the first profile that it answers for.
    fn refusal(&self, registration_id: &str, profile: Option<&str>, source: Option<&str>) -> Option<(&'static str, Refusal)> {
        let source = source.map(|source| source.parse().unwrap());
        let supposed = Supposed { registration_id, profile, source };
        self.registry.explain(&self.home(), &supposed).unwrap()[0].refused_by()
    }

    /// What the device path writes when a device comes for the first time.
    fn provisioned(&self, name: &str, profile: &ProfileView) {
        let key = self.store.reserve_device_keys(1).unwrap().start;
        let generation = Generation(17);
        let device = DeviceRecord {
            key: DeviceKey(key),
            tenant: profile.profile.tenant,
            name: name.to_owned(),
            profile: profile.profile.id,
            state: DeviceState::Provisioned,
            state_since: self.clock.now(),
            credential: Credential::Derived(generation),
            gateway: false,
            version: Version(1),
        };
        let provision = Provision {
            device,
            replaces: None,
            profile_version: profile.profile.version,
            spends: None,
            deed: Deed::Created,
            generation,
            chosen: None,
        };
        let origin = Origin { source: "192.0.2.9".parse().unwrap(), wire: Wire::ThingsboardHttp };
        let entry = store::Entry { provision: &provision, origin };
        assert!(self.store.record(&[entry], self.clock.now()).unwrap()[0].is_ok());
    }

    /// Whether a device that offers `secret` proves itself now, as attestation sees it.
    fn proves(&self, profile: &str, secret: &Secret) -> bool {
        let view = self.registry.profile(&self.home(), profile).unwrap();
        let offered = self.store.keys().verifier(secret.expose());
        view.profile.secrets.iter().any(|held| held.verifier == offered && held.is_current(self.clock.now()))
    }
}

fn server() -> Operator {
    Operator::server("test")
}

fn device(name: &str, profile: &str, label: Option<&str>) -> NewDevice {
    NewDevice { name: name.to_owned(), profile: profile.to_owned(), label: label.map(str::to_owned) }
}

fn code<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> &'static str {
    result.unwrap_err().code()
}

// === Tenants and operators ===

#[test]
fn a_tenant_has_a_name_of_its_own() {
    let house = House::new();
    house.registry.create_tenant(&server(), "acme").unwrap();
    assert_eq!(code(house.registry.create_tenant(&server(), "acme")), "tenant-exists");
    assert_eq!(code(house.registry.create_tenant(&server(), " ")), "value-invalid");
    let names: Vec<_> = house.registry.tenants(&server()).unwrap().into_iter().map(|it| it.name).collect();
    assert!(names.contains(&"acme".to_owned()), "{names:?}");
}

#[test]
fn a_token_opens_until_it_expires_or_is_revoked() {
    let house = House::new();
    let wanted = NewOperatorToken { tenant: None, label: "ci", life_ms: Some(DAY_MS) };
    let (secret, listed) = house.registry.create_operator_token(&server(), wanted).unwrap();
    assert_eq!(house.registry.authenticate(&secret, None).unwrap().right, Right::Server);
    house.later(DAY_MS);
    let refusal = house.registry.authenticate(&secret, None).unwrap_err();
    assert_eq!(refusal.code(), "token-expired");
    house.registry.revoke_operator_token(&server(), listed.id).unwrap();
    assert_eq!(house.registry.authenticate(&secret, None).unwrap_err().code(), "token-revoked");
    assert_eq!(house.registry.authenticate(&Secret::new("mst_x"), None).unwrap_err().code(), "token-unknown");
    assert_eq!(code(house.registry.revoke_operator_token(&server(), 999)), "operator-token-not-found");
}

#[test]
fn an_operator_of_one_tenant_sees_no_other() {
    let house = House::new();
    house.registry.create_tenant(&server(), "acme").unwrap();
    house.registry.create_tenant(&server(), "zeta").unwrap();
    let wanted = NewOperatorToken { tenant: Some("acme"), label: "", life_ms: None };
    let (secret, _) = house.registry.create_operator_token(&server(), wanted).unwrap();
    let operator = house.registry.authenticate(&secret, None).unwrap();
    assert_eq!(house.registry.tenant(&operator, None).unwrap().name, "acme");
    assert_eq!(house.registry.tenants(&operator).unwrap().len(), 1);
    assert_eq!(code(house.registry.tenant(&operator, Some("zeta"))), "tenant-not-found");
    assert_eq!(code(house.registry.create_tenant(&operator, "mine")), "right-missing");
    assert_eq!(code(house.registry.operator_tokens(&operator)), "right-missing");
}

#[test]
fn the_first_admin_secret_is_entered_once_and_stays_revoked() {
    let house = House::new();
    let secret = Secret::new("mst_first");
    house.registry.ensure_admin(&secret).unwrap();
    house.registry.ensure_admin(&secret).unwrap();
    let tokens = house.registry.operator_tokens(&server()).unwrap();
    assert_eq!(tokens.len(), 1);
    house.registry.revoke_operator_token(&server(), tokens[0].id).unwrap();
    house.registry.ensure_admin(&secret).unwrap();
    assert_eq!(house.registry.authenticate(&secret, None).unwrap_err().code(), "token-revoked");
}

#[test]
fn a_source_that_keeps_failing_is_throttled_and_others_are_not() {
    let house = House::new();
    let secret = Secret::new("mst_admin");
    house.registry.ensure_admin(&secret).unwrap();
    let (guesser, other) = (Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()));
    for _ in 0..50 {
        let refusal = house.registry.authenticate(&Secret::new("wrong"), guesser).unwrap_err();
        assert_eq!(refusal.code(), "token-unknown");
    }
    assert_eq!(house.registry.authenticate(&secret, guesser).unwrap_err().code(), "too-many-attempts");
    assert!(house.registry.authenticate(&secret, other).is_ok());
    house.later(50);
    assert!(house.registry.authenticate(&secret, guesser).is_ok());
}

// === Profiles ===

#[test]
fn key_and_secret_are_made_where_they_are_absent() {
    let house = House::new();
    let (secret, view) = house.profile("pumps", Strategy::CreateNew);
    for text in [secret.expose(), &view.profile.provision_key] {
        assert_eq!(text.len(), 20);
        assert!(text.chars().all(|character| character.is_ascii_alphanumeric()));
    }
    assert_eq!(view.profile.redelivery_window_ms, 600_000);
    assert!(house.proves("pumps", &secret));
    assert_eq!(house.told.load(Ordering::SeqCst), 1);
}

#[test]
fn a_provision_key_is_taken_over_all_tenants_and_a_name_in_its_own() {
    let house = House::new();
    house.registry.create_tenant(&server(), "acme").unwrap();
    let acme = house.registry.tenant(&server(), Some("acme")).unwrap();
    let wanted = |name: &str, key: &str| NewProfile {
        name: name.to_owned(),
        provision_key: Some(key.to_owned()),
        ..NewProfile::default()
    };
    house.profile_with(wanted("pumps", "k1"));
    let create = |tenant: &Tenant, wanted| house.registry.create_profile(&server(), tenant, wanted).map(drop);
    assert_eq!(code(create(&acme, wanted("pumps", "k1"))), "provision-key-in-use");
    assert_eq!(code(create(&house.home(), wanted("pumps", "k2"))), "profile-exists");
    assert_eq!(code(create(&acme, wanted("pumps", ""))), "value-invalid");
    create(&acme, wanted("pumps", "k2")).unwrap();
}

#[test]
fn while_a_secret_is_rotated_two_are_valid_and_never_three() {
    let house = House::new();
    let (first, _) = house.profile("pumps", Strategy::CreateNew);
    let rotate = |overlap_ms| {
        let rotation = Some(Rotation { secret: None, overlap_ms });
        house.set("pumps", ProfileChange { rotation, ..ProfileChange::default() }).0.unwrap()
    };
    let second = rotate(DAY_MS);
    assert!(house.proves("pumps", &first) && house.proves("pumps", &second));
    let third = rotate(DAY_MS);
    assert!(!house.proves("pumps", &first) && house.proves("pumps", &second) && house.proves("pumps", &third));
    house.later(DAY_MS);
    assert!(!house.proves("pumps", &second) && house.proves("pumps", &third));
    let fourth = rotate(0);
    assert!(!house.proves("pumps", &third) && house.proves("pumps", &fourth));
    assert_eq!(house.registry.profile(&house.home(), "pumps").unwrap().secrets.len(), 1);
}

#[test]
fn a_rotation_hands_the_limits_down_except_the_expiry() {
    let house = House::new();
    let limits = Limits {
        expires_at: Some(house.clock.now().plus_ms(DAY_MS)),
        uses: Some(5),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        name_pattern: Some(NamePattern::parse("pump-.*").unwrap()),
    };
    house.profile_with(NewProfile { name: "pumps".to_owned(), limits, ..NewProfile::default() });
    let rotation = Some(Rotation::default());
    let (_, view) = house.set("pumps", ProfileChange { rotation, ..ProfileChange::default() });
    let limits = &view.secrets[0].limits;
    assert_eq!((limits.expires_at, limits.uses, limits.networks.len()), (None, Some(5), 1));
    assert_eq!(limits.name_pattern.as_ref().map(NamePattern::text), Some("pump-.*"));
}

#[test]
fn limits_are_set_and_cleared_one_by_one() {
    let house = House::new();
    house.profile("pumps", Strategy::CreateNew);
    let limits = LimitsChange { uses: To::Set(3), networks: To::Set(vec!["10.0.0.0/8".parse().unwrap()]), ..LimitsChange::default() };
    let (_, view) = house.set("pumps", ProfileChange { limits, ..ProfileChange::default() });
    assert_eq!((view.secrets[0].limits.uses, view.secrets[0].limits.networks.len()), (Some(3), 1));
    let limits = LimitsChange { networks: To::Clear, ..LimitsChange::default() };
    let (_, view) = house.set("pumps", ProfileChange { limits, ..ProfileChange::default() });
    assert_eq!((view.secrets[0].limits.uses, view.secrets[0].limits.networks.len()), (Some(3), 0));
}

#[test]
fn a_change_made_for_an_older_version_is_refused() {
    let house = House::new();
    let (_, view) = house.profile("pumps", Strategy::CreateNew);
    let version = Some(view.profile.version.0);
    let change = || ProfileChange { version, strategy: Some(Strategy::Disabled), ..ProfileChange::default() };
    house.set("pumps", change());
    assert_eq!(code(house.registry.set_profile(&server(), &house.home(), "pumps", change())), "version-changed");
    assert_eq!(code(house.registry.set_profile(&server(), &house.home(), "none", change())), "profile-not-found");
}

// === Devices ===

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
    assert_eq!(house.registry.enable_device(&server(), &house.home(), "a").unwrap(), before);
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
    let all = |profile, state| {
        let mut names = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let query = DeviceQuery { profile, state, after: after.as_deref(), limit: Some(4) };
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

// === Explanations ===

#[test]
fn explain_names_the_check_that_says_no() {
    let house = House::new();
    let expected_only = |name: &str| house.profile(name, Strategy::CheckPreProvisioned);
    expected_only("pumps");
    expected_only("valves");
    house.profile("closed", Strategy::Disabled);
    house.add("v1", "valves");
    house.add("off", "pumps");
    house.registry.disable_device(&server(), &house.home(), "off").unwrap();
    let limited = |name: &str, limits| {
        house.profile_with(NewProfile { name: name.to_owned(), limits, ..NewProfile::default() })
    };
    limited("expiring", Limits { expires_at: Some(house.clock.now().plus_ms(1)), ..Limits::default() });
    limited("inside", Limits { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Limits::default() });
    limited("named", Limits { name_pattern: Some(NamePattern::parse("x-[0-9]+").unwrap()), ..Limits::default() });
    limited("used-up", Limits { uses: Some(0), ..Limits::default() });
    house.later(1);
    let again = |name: &str, strategy, reprovision| {
        let wanted = NewProfile { name: name.to_owned(), strategy, reprovision, ..NewProfile::default() };
        let view = house.profile_with(wanted).1;
        house.provisioned(&format!("{name}-1"), &view);
    };
    again("once", Strategy::CheckPreProvisioned, Reprovision::Refuse);
    again("first", Strategy::CreateNew, Reprovision::Refuse);
    again("retold", Strategy::CreateNew, Reprovision::ReturnExisting);
    let cases = [
        ("once-1", None, None, Some(("device", Refusal::AlreadyProvisioned))),
        ("first-1", None, None, Some(("device", Refusal::DeviceExists))),
        ("retold-1", None, None, None),
        ("new", Some("closed"), None, Some(("strategy", Refusal::ProvisioningDisabled))),
        ("new", Some("expiring"), None, Some(("secret-expiry", Refusal::SecretExpired))),
        ("new", Some("inside"), Some("192.0.2.1"), Some(("secret-networks", Refusal::SourceNotAllowed))),
        ("new", Some("inside"), Some("10.1.2.3"), None),
        ("new", Some("named"), None, Some(("secret-name-pattern", Refusal::NameNotAllowed))),
        ("x-1", Some("named"), None, None),
        ("new", Some("used-up"), None, Some(("secret-uses", Refusal::UsesExhausted))),
        ("new", Some("pumps"), None, Some(("device", Refusal::DeviceUnknown))),
        ("v1", Some("pumps"), None, Some(("device", Refusal::DeviceOfOtherProfile))),
        ("v1", None, None, None),
        ("off", None, None, Some(("device", Refusal::DeviceDisabled))),
        ("<b>", Some("pumps"), None, Some(("name", Refusal::NameMalformed))),
        ("", Some("pumps"), None, Some(("device", Refusal::NameMissing))),
    ];
    for (name, profile, source, expected) in cases {
        assert_eq!(house.refusal(name, profile, source), expected, "{name} {profile:?} {source:?}");
    }
}

#[test]
fn a_device_that_was_disabled_and_enabled_is_not_told_the_same_again_after_its_window() {
    let house = House::new();
    let reprovision = Reprovision::ReturnExisting;
    let view = house.profile_with(NewProfile { name: "retold".to_owned(), reprovision, ..NewProfile::default() }).1;
    house.provisioned("r", &view);
    house.later(600_000);
    house.registry.disable_device(&server(), &house.home(), "r").unwrap();
    house.registry.enable_device(&server(), &house.home(), "r").unwrap();
    assert_eq!(house.refusal("r", None, None), Some(("device", Refusal::DeviceExists)));
}

// === The journal ===

#[test]
fn every_change_is_journalled_with_who_did_it_and_without_secrets() {
    let house = House::new();
    let (secret, _) = house.profile("pumps", Strategy::CreateNew);
    house.set("pumps", ProfileChange { rotation: Some(Rotation::default()), ..ProfileChange::default() });
    house.add("a", "pumps");
    house.import(&[device("a", "pumps", Some("noted"))]);
    house.registry.disable_device(&server(), &house.home(), "a").unwrap();
    house.registry.disable_device(&server(), &house.home(), "a").unwrap();
    house.registry.enable_device(&server(), &house.home(), "a").unwrap();
    house.registry.delete_device(&server(), &house.home(), "a").unwrap();
    let everything = store::journal::JournalQuery { tenant: None, kinds: &[], before: None, limit: 100 };
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
fn explain_cannot_judge_the_proof_and_says_so() {
    let house = House::new();
    house.profile("pumps", Strategy::CreateNew);
    let supposed = Supposed { registration_id: "new", profile: None, source: None };
    let explained = house.registry.explain(&house.home(), &supposed).unwrap();
    let proof = explained[0].checks.iter().find(|check| check.check == "proof").unwrap();
    assert_eq!(proof.answer, Answer::Unknown);
    assert!(proof.hint().unwrap().contains("attempts"));
    assert!(explained[0].is_open());
}

#[test]
fn explain_answers_for_each_profile_when_nobody_knows_the_device() {
    let house = House::new();
    let supposed = Supposed { registration_id: "new", profile: None, source: None };
    let none = house.registry.explain(&house.home(), &supposed).unwrap();
    assert_eq!(none[0].refused_by(), Some(("profile", Refusal::ProfileUnknown)));
    house.profile("pumps", Strategy::CreateNew);
    house.profile("valves", Strategy::CheckPreProvisioned);
    let explained = house.registry.explain(&house.home(), &supposed).unwrap();
    let verdicts: Vec<_> = explained.iter().map(|it| (it.profile.as_deref(), it.refused_by().is_some())).collect();
    assert_eq!(verdicts, [(Some("pumps"), false), (Some("valves"), true)]);
    let supposed = Supposed { profile: Some("none"), ..supposed };
    assert_eq!(code(house.registry.explain(&house.home(), &supposed)), "profile-not-found");
}
