//! A store in a folder of its own, with one profile, and devices to record in it.

use domain::decide::Deed;
use domain::profile::PreProvisionedCredentials;
use domain::{
    Credential, CredentialKeys, DeviceKey, DeviceRecord, DeviceState, Generation, Held, Origin, Profile,
    Provision, Reprovision, Secret, SecretId, Strategy, TenantId, Timestamp, Verifier, Version, Wire,
};
use store::{Change, Entry, Lost, NewProfile, Recorded, SecretLimits, Store, StoreError};

use crate::place::Place;

pub(crate) const HOUR_MS: u64 = 60 * 60 * 1000;
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
pub(crate) const HOME: TenantId = TenantId::DEFAULT;

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) profile: Profile,
    pub(crate) place: Place,
}

impl House {
    pub(crate) fn new() -> House {
        House::with(&SecretLimits::default())
    }

    pub(crate) fn with(limits: &SecretLimits) -> House {
        House::within(Place::new(), limits)
    }

    pub(crate) fn within(place: Place, limits: &SecretLimits) -> House {
        let store = place.open("kek", 7).unwrap();
        let profile = make_profile(&store, HOME, "pumps", limits);
        House { store, profile, place }
    }

    /// Closes the store, lets `f` at its files, and opens it again.
    pub(crate) fn reopened(self, f: impl FnOnce(&std::path::Path)) -> House {
        let House { store, profile, place } = self;
        drop(store);
        f(place.folder.path());
        let store = place.open("kek", 7).unwrap();
        House { store, profile, place }
    }

    pub(crate) fn keys(&self, count: u64) -> Vec<DeviceKey> {
        self.store.reserve_device_keys(count).unwrap().map(DeviceKey).collect()
    }

    pub(crate) fn key(&self) -> DeviceKey {
        self.keys(1)[0]
    }

    /// A new device with a token of the server's making.
    pub(crate) fn create(&self, name: &str) -> Provision {
        let mut provision = self.create_without_key(name);
        provision.device.key = self.key();
        provision
    }

    /// The same, before it has a key.
    pub(crate) fn create_without_key(&self, name: &str) -> Provision {
        let generation = Generation(u64::MAX - 5);
        Provision {
            device: DeviceRecord {
                key: DeviceKey(0),
                tenant: self.profile.tenant,
                name: name.to_owned(),
                profile: self.profile.id,
                state: DeviceState::Provisioned,
                state_since: NOW,
                credential: Credential::Derived(generation),
                gateway: false,
                owed: domain::Owed::default(),
                version: Version(1),
            },
            replaces: None,
            profile_version: self.profile.version,
            spends: None,
            deed: Deed::Created,
            generation,
            plan: Vec::new(),
            answered: None,
            initial_attributes: Vec::new(),
            chosen: None,
        }
    }

    /// A new device with a token of its own.
    pub(crate) fn create_with_token(&self, name: &str, token: &str) -> Provision {
        let mut provision = self.create(name);
        let verifier = self.verifier(token);
        provision.device.credential = Credential::Token(provision.generation, verifier);
        provision.chosen = Some(Held::Token(Secret::new(token)));
        provision
    }

    /// A new device that takes a use of the profile's secret.
    pub(crate) fn create_spending(&self, name: &str) -> Provision {
        Provision { spends: Some(self.secret()), ..self.create(name) }
    }

    pub(crate) fn secret(&self) -> SecretId {
        self.profile.secrets[0].id
    }

    pub(crate) fn verifier(&self, text: &str) -> Verifier {
        self.store.keys().unwrap().verifier(text)
    }

    pub(crate) fn record(&self, provisions: &[Provision]) -> Vec<Result<Recorded, Lost>> {
        self.try_record(provisions).unwrap()
    }

    pub(crate) fn try_record(
        &self,
        provisions: &[Provision],
    ) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        let entries: Vec<Entry<'_>> =
            provisions.iter().map(|it| Entry { provision: it, origin: origin() }).collect();
        self.store.record(&entries, NOW)
    }

    pub(crate) fn device(&self, name: &str) -> Option<DeviceRecord> {
        self.store.gather(&[(self.profile.tenant, name)]).unwrap().remove(0)
    }

    /// Runs SQL on one of the files or schemas, behind the store's back.
    pub(crate) fn tamper(&self, file: &str, sql: &str) -> usize {
        self.place.tamper(file, sql)
    }

    pub(crate) fn count(&self, file: &str, sql: &str) -> i64 {
        self.place.count(file, sql)
    }

    /// Whether a text stands in clear in any file.
    pub(crate) fn holds_in_clear(&self, text: &str) -> bool {
        self.place.holds_in_clear(text)
    }
}

/// The same device with a new token, as a rotation decides it.
pub(crate) fn rotate(device: &DeviceRecord, profile: &Profile, generation: u64) -> Provision {
    let generation = Generation(generation);
    Provision {
        device: DeviceRecord {
            credential: Credential::Derived(generation),
            version: Version(device.version.0 + 1),
            ..device.clone()
        },
        replaces: Some(device.version),
        profile_version: profile.version,
        spends: None,
        deed: Deed::Rotated,
        generation,
        plan: Vec::new(),
        answered: None,
        initial_attributes: Vec::new(),
        chosen: None,
    }
}

pub(crate) fn make_profile(store: &Store, tenant: TenantId, name: &str, limits: &SecretLimits) -> Profile {
    let key = format!("{name}-key");
    let joining = domain::profile::Joining::default();
    let new = NewProfile {
        joining: &joining,
        grace_period_ms: 1000,
        tenant,
        name,
        provision_key: &key,
        strategy: Strategy::CreateNew,
        reprovision: Reprovision::Refuse,
        redelivery_window_ms: 600_000,
        pre_provisioned_credentials: PreProvisionedCredentials::Accept,
    };
    let made: Result<SecretId, StoreError> = store.write(|change: &mut Change<'_>| {
        let id = change.create_profile(&new, NOW)?;
        change.add_group_secret(tenant, id, &Secret::new(format!("{name}-secret")), limits, NOW)
    });
    made.unwrap();
    store.profile_by_provision_key(&key).unwrap().unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin { source: [192, 0, 2, 1].into(), wire: Wire::ThingsboardHttp }
}
