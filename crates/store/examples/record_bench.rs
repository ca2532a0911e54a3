//! How fast records are made by the store alone: `record_bench DIR|postgres://… [SECONDS] [PRESENT] [BATCH]`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program that prints a figure")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::decide::Deed;
use domain::{
    Credential, DeviceKey, DeviceRecord, DeviceState, Generation, Origin, ProfileId, Provision, Secret,
    TenantId, Timestamp, Version, Wire,
};
use store::{
    Backend, Change, Entry, LocalKek, NewProfile, Options, Postgres, SecretLimits, Store, StoreError,
};
use zeroize::Zeroizing;

struct Bench {
    store: Store,
    profile: (ProfileId, Version),
    keys: std::ops::Range<u64>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("a directory");
    let seconds: u64 = arguments.next().map_or(10, |text| text.parse().expect("seconds"));
    let present: u64 = arguments.next().map_or(0, |text| text.parse().expect("a number of devices"));
    let kek = Arc::new(LocalKek::new("bench", Zeroizing::new([7; 32])));
    let size: u64 = arguments.next().map_or(64, |text| text.parse().expect("records in a batch"));
    let options = Options { backend: backend(&dir), dir: dir.into(), server: "bench".to_owned() };
    let store = Store::open(options, kek, now()).expect("a store");
    let profile = profile(&store);
    let keeper = store.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            keeper.maintain(now()).expect("maintenance");
        }
    });
    let mut bench = Bench { store, profile, keys: 0..0 };
    bench.fill(present);
    let (begun, mut made) = (Instant::now(), 0);
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let start = Instant::now();
        made += bench.batch(size);
        slowest = slowest.max(start.elapsed());
    }
    let rate = made as f64 / begun.elapsed().as_secs_f64();
    println!("{made} records, {rate:.0}/s in batches of {size}, slowest batch {slowest:?}");
}

fn backend(place: &str) -> Backend {
    if !place.starts_with("postgres") {
        return Backend::Directory;
    }
    Backend::Postgres(Postgres {
        url: Secret::new(place),
        secrets_url: None,
        root_certificate: None,
        connections: 8,
    })
}

fn profile(store: &Store) -> (ProfileId, Version) {
    let made: Result<_, StoreError> = store.write(|change: &mut Change<'_>| {
        let new = NewProfile {
            joining: &domain::profile::Joining::default(),
            grace_period_ms: 0,
            tenant: TenantId::DEFAULT,
            name: "bench",
            provision_key: "bench",
            strategy: domain::Strategy::CreateNew,
            reprovision: domain::Reprovision::Refuse,
            redelivery_window_ms: 0,
            pre_provisioned_credentials: domain::profile::PreProvisionedCredentials::Accept,
        };
        let id = change.create_profile(&new, now())?;
        change.add_group_secret(new.tenant, id, &Secret::new("bench"), &SecretLimits::default(), now())
    });
    made.expect("a profile; the directory is to be a new one");
    let profile = store.profile_by_provision_key("bench").expect("a read").expect("the profile");
    (profile.id, profile.version)
}

impl Bench {
    fn fill(&mut self, present: u64) {
        let mut made = 0;
        while made < present {
            made += self.batch(2000);
        }
    }

    fn batch(&mut self, size: u64) -> u64 {
        let provisions: Vec<Provision> = (0..size).map(|_| provision(self.key(), self.profile)).collect();
        let origin = Origin { source: [127, 0, 0, 1].into(), wire: Wire::ThingsboardHttp };
        let entries: Vec<Entry<'_>> =
            provisions.iter().map(|provision| Entry { provision, origin }).collect();
        let results = self.store.record(&entries, now()).expect("a record");
        assert!(results.iter().all(Result::is_ok));
        size
    }

    fn key(&mut self) -> u64 {
        if self.keys.is_empty() {
            self.keys = self.store.reserve_device_keys(1 << 16).expect("keys");
        }
        self.keys.next().expect("a key")
    }
}

fn provision(key: u64, (profile, profile_version): (ProfileId, Version)) -> Provision {
    // Spread like hashed names: sequential ones would flatter the index.
    let spread = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes().wrapping_mul(0xd6e8_feb8_6659_fd93);
    let generation = Generation(spread);
    Provision {
        device: DeviceRecord {
            key: DeviceKey(key),
            tenant: TenantId::DEFAULT,
            name: format!("device-{spread:016x}"),
            profile,
            state: DeviceState::Provisioned,
            state_since: now(),
            credential: Credential::Derived(generation),
            gateway: false,
            owed: domain::Owed::default(),
            version: Version(1),
        },
        replaces: None,
        profile_version,
        spends: None,
        deed: Deed::Created,
        generation,
        plan: Vec::new(),
        answered: None,
        initial_attributes: Vec::new(),
        chosen: None,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("a clock before the end of time"))
}
