mod devices;
mod explanations;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use domain::admission::Answer;
use domain::decide::Deed;
use domain::profile::NamePattern;
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

    fn present(&self, _: &[DeviceKey]) -> Vec<DeviceKey> {
        Vec::new()
    }

    fn close_others(&self, _: &[(DeviceKey, Option<domain::Generation>)]) {}
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
        let options = store::Options {
            dir: folder.path().to_owned(),
            server: "test".to_owned(),
            backend: store::Backend::Directory,
        };
        let store = Store::open(options, kek, clock.now()).unwrap();
        let closed = Arc::new(Closed::default());
        let ports = Ports { clock: clock.clone(), ..Ports::system(closed.clone()) };
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let changed = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let registry = Registry::new(
            store.clone(),
            ports,
            super::Told { profiles_changed: changed, ..super::Told::nobody() },
        );
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

    fn set(&self, name: &str, change: &ProfileChange) -> (Option<Secret>, ProfileView) {
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
    fn refusal(
        &self,
        registration_id: &str,
        profile: Option<&str>,
        source: Option<&str>,
    ) -> Option<(&'static str, Refusal)> {
        let source = source.map(|source| source.parse().unwrap());
        let supposed = Supposed { registration_id, profile, source };
        self.registry.explain(&server(), &self.home(), &supposed).unwrap()[0].refused_by()
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
            owed: domain::Owed::default(),
            version: Version(1),
        };
        let provision = Provision {
            device,
            replaces: None,
            profile_version: profile.profile.version,
            spends: None,
            deed: Deed::Created,
            generation,
            plan: Vec::new(),
            answered: None,
            initial_attributes: Vec::new(),
            chosen: None,
        };
        let origin = Origin { source: "192.0.2.9".parse().unwrap(), wire: Wire::ThingsboardHttp };
        let entry = store::Entry { provision: &provision, origin };
        assert!(self.store.record(&[entry], self.clock.now()).unwrap()[0].is_ok());
    }

    /// Whether a device that offers `secret` proves itself now, as attestation sees it.
    fn proves(&self, profile: &str, secret: &Secret) -> bool {
        let view = self.registry.profile(&self.home(), profile).unwrap();
        let offered = self.store.keys().unwrap().verifier(secret.expose());
        view.profile.secrets.iter().any(|held| held.verifier == offered && held.is_current(self.clock.now()))
    }
}

fn server() -> Operator {
    Operator::server("test")
}

fn device(name: &str, profile: &str, label: Option<&str>) -> NewDevice {
    let label = label.map(str::to_owned);
    NewDevice { name: name.to_owned(), profile: profile.to_owned(), label, labels: Vec::new() }
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
    let wanted =
        NewOperatorToken { role: domain::Role::Admin, tenant: None, label: "ci", life_ms: Some(DAY_MS) };
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
    let wanted =
        NewOperatorToken { role: domain::Role::Admin, tenant: Some("acme"), label: "", life_ms: None };
    let (secret, _) = house.registry.create_operator_token(&server(), wanted).unwrap();
    let operator = house.registry.authenticate(&secret, None).unwrap();
    assert_eq!(house.registry.tenant(&operator, None).unwrap().name, "acme");
    assert_eq!(house.registry.tenants(&operator).unwrap().len(), 1);
    assert_eq!(code(house.registry.tenant(&operator, Some("zeta"))), "tenant-not-found");
    assert_eq!(code(house.registry.create_tenant(&operator, "mine")), "right-missing");
    let tokens = house.registry.operator_tokens(&operator).unwrap();
    assert!(tokens.iter().all(|token| token.tenant.as_deref() == Some("acme")), "{tokens:?}");
    let server_wide = NewOperatorToken { tenant: None, ..wanted };
    assert_eq!(code(house.registry.create_operator_token(&operator, server_wide)), "right-missing");
}

#[test]
fn the_first_admin_secret_is_entered_once_and_stays_revoked() {
    let house = House::new();
    let secret = Secret::new("mst_first");
    house.registry.clone().with_admin(secret.clone()).ensure_admin().unwrap();
    house.registry.clone().with_admin(secret.clone()).ensure_admin().unwrap();
    let tokens = house.registry.operator_tokens(&server()).unwrap();
    assert_eq!(tokens.len(), 1);
    house.registry.revoke_operator_token(&server(), tokens[0].id).unwrap();
    house.registry.clone().with_admin(secret.clone()).ensure_admin().unwrap();
    assert_eq!(house.registry.authenticate(&secret, None).unwrap_err().code(), "token-revoked");
}

#[test]
fn a_source_that_keeps_failing_is_throttled_and_shuts_no_good_token_out() {
    let house = House::new();
    let secret = Secret::new("mst_admin");
    house.registry.clone().with_admin(secret.clone()).ensure_admin().unwrap();
    let (guesser, other) = (Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()));
    for _ in 0..50 {
        let refusal = house.registry.authenticate(&Secret::new("wrong"), guesser).unwrap_err();
        assert_eq!(refusal.code(), "token-unknown");
    }
    let again = |source| house.registry.authenticate(&Secret::new("wrong"), source).unwrap_err().code();
    assert_eq!((again(guesser), again(other)), ("too-many-attempts", "token-unknown"));
    assert!(house.registry.authenticate(&secret, guesser).is_ok());
    house.later(50);
    assert_eq!((again(guesser), again(guesser)), ("token-unknown", "too-many-attempts"));
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
        house.set("pumps", &ProfileChange { rotation, ..ProfileChange::default() }).0.unwrap()
    };
    let second = rotate(DAY_MS);
    assert!(house.proves("pumps", &first) && house.proves("pumps", &second));
    let third = rotate(DAY_MS);
    assert!(
        !house.proves("pumps", &first) && house.proves("pumps", &second) && house.proves("pumps", &third)
    );
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
    let (_, view) = house.set("pumps", &ProfileChange { rotation, ..ProfileChange::default() });
    let limits = &view.secrets[0].limits;
    assert_eq!((limits.expires_at, limits.uses, limits.networks.len()), (None, Some(5), 1));
    assert_eq!(limits.name_pattern.as_ref().map(NamePattern::text), Some("pump-.*"));
}

#[test]
fn limits_are_set_and_cleared_one_by_one() {
    let house = House::new();
    house.profile("pumps", Strategy::CreateNew);
    let limits = LimitsChange {
        uses: To::Set(3),
        networks: To::Set(vec!["10.0.0.0/8".parse().unwrap()]),
        ..LimitsChange::default()
    };
    let (_, view) = house.set("pumps", &ProfileChange { limits, ..ProfileChange::default() });
    assert_eq!((view.secrets[0].limits.uses, view.secrets[0].limits.networks.len()), (Some(3), 1));
    let limits = LimitsChange { networks: To::Clear, ..LimitsChange::default() };
    let (_, view) = house.set("pumps", &ProfileChange { limits, ..ProfileChange::default() });
    assert_eq!((view.secrets[0].limits.uses, view.secrets[0].limits.networks.len()), (Some(3), 0));
}

#[test]
fn a_change_made_for_an_older_version_is_refused() {
    let house = House::new();
    let (_, view) = house.profile("pumps", Strategy::CreateNew);
    let version = Some(view.profile.version.0);
    let change = || ProfileChange { version, strategy: Some(Strategy::Disabled), ..ProfileChange::default() };
    house.set("pumps", &change());
    assert_eq!(
        code(house.registry.set_profile(&server(), &house.home(), "pumps", &change())),
        "version-changed"
    );
    assert_eq!(
        code(house.registry.set_profile(&server(), &house.home(), "none", &change())),
        "profile-not-found"
    );
}
