//! A process to be cut off: records provisions and telemetry in the store of a directory, and prints each
//! name only after the store has acknowledged it.
//!
//! ```text
//! crash_writer DIR [--synchronous off|normal|full] [--batches N]     until it is ended, or N batches
//! crash_writer DIR --check                                           reads acknowledged lines from stdin
//! ```
//! A line is `device NAME TOKEN` or `value NAME KEY`. `--check` opens the directory, looks every line up,
//! prints one line of JSON with what was lost or stands there twice, and ends with 1 if there is any.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program whose output is the test")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::decide::Deed;
use domain::{
    Credential, DeviceKey, DeviceRecord, DeviceState, Entropy, Generation, Origin, ProfileId, Provision,
    Secret, TenantId, Timestamp, Version, Wire,
};
use store::{
    Change, Entry, LocalKek, NewProfile, Options, Sample, Scope, SecretLimits, Store, StoreError,
    TestSynchronous, Value,
};
use zeroize::Zeroizing;

const BATCH: u64 = 8;

/// Differs from run to run, so that names never come twice.
struct Noise(std::hash::RandomState, u64);

impl Entropy for Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        use std::hash::BuildHasher;
        for chunk in bytes.chunks_mut(8) {
            self.1 += 1;
            let random = self.0.hash_one(self.1).to_ne_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = arguments.first().expect("a directory");
    let option = |name: &str| arguments.iter().position(|it| it == name).and_then(|at| arguments.get(at + 1));
    let synchronous = match option("--synchronous").map(String::as_str) {
        Some("off") => TestSynchronous::Off,
        Some("normal") => TestSynchronous::Normal,
        _ => TestSynchronous::Full,
    };
    let kek = Arc::new(LocalKek::new("crash", Zeroizing::new([7; 32])));
    let options = Options { dir: dir.into(), server: "crash".to_owned(), backend: store::Backend::Directory };
    let store = Store::open_unsynced(options, kek, now(), synchronous).expect("a store");
    if arguments.iter().any(|it| it == "--check") {
        return check(&store);
    }
    let batches = option("--batches").map_or(u64::MAX, |text| text.parse().expect("a number"));
    work(&store, Path::new(dir), batches);
    ExitCode::SUCCESS
}

fn work(store: &Store, dir: &Path, batches: u64) {
    let profile = profile(store);
    // Synced after each batch, so that there is a moment to cut at even where the store syncs nothing.
    let rounds = File::create(dir.join("rounds")).expect("a file");
    let mut noise = Noise(std::hash::RandomState::new(), 0);
    for round in 0..batches {
        let keys = store.reserve_device_keys(BATCH).expect("keys");
        let provisions: Vec<Provision> = keys.map(|key| provision(key, profile, &mut noise)).collect();
        let origin = Origin { source: [127, 0, 0, 1].into(), wire: Wire::ThingsboardHttp };
        let entries: Vec<Entry<'_>> =
            provisions.iter().map(|provision| Entry { provision, origin }).collect();
        let results = store.record(&entries, now()).expect("a record");
        assert!(results.iter().all(Result::is_ok), "nobody else has these names");
        provisions.iter().for_each(|provision| acknowledge_device(store, provision));
        let samples: Vec<Sample> =
            provisions.iter().map(|it| sample(it.device.key, format!("round-{round}"))).collect();
        store.telemetry().append(&samples, now()).expect("telemetry");
        provisions
            .iter()
            .zip(&samples)
            .for_each(|(it, sample)| acknowledge("value", &it.device.name, &sample.key));
        rounds.write_all_at(&round.to_be_bytes(), 0).and_then(|()| rounds.sync_all()).expect("a sync");
        if round % 16 == 15 {
            store.maintain(now()).expect("maintenance");
        }
    }
}

fn acknowledge_device(store: &Store, provision: &Provision) {
    let device = &provision.device;
    let token = store.keys().expect("keys").mint(device.tenant, device.key, provision.generation);
    acknowledge("device", &device.name, token.expose());
}

fn acknowledge(what: &str, name: &str, more: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {name} {more}").and_then(|()| out.flush()).expect("a line");
}

fn check(store: &Store) -> ExitCode {
    let (mut lines, mut lost, mut twice) = (0_u64, Vec::new(), Vec::new());
    let mut keys: HashMap<String, DeviceKey> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split(' ').collect();
        let [what, name, more] = words[..] else { continue };
        lines += 1;
        let times = match what {
            "device" => opened_by(store, name, more).map_or(0, |key| {
                keys.insert(name.to_owned(), key);
                1
            }),
            _ => keys
                .get(name)
                .map_or(0, |key| store.telemetry().history(*key, Some(more), 10).expect("a read").len()),
        };
        match times {
            0 => lost.push(line),
            1 => {}
            _ => twice.push(line),
        }
    }
    let faults = store.verify_journal(None).expect("a read").faults.len();
    println!(
        "{{\"acknowledged\":{lines},\"lost\":{},\"twice\":{},\"journal_faults\":{faults}}}",
        lost.len(),
        twice.len()
    );
    if lost.is_empty() && twice.is_empty() && faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The device of that name, if the token it was told opens it.
fn opened_by(store: &Store, name: &str, token: &str) -> Option<DeviceKey> {
    let device = store.gather(&[(TenantId::DEFAULT, name)]).expect("a read").pop()??;
    let resolved = store.keys().ok()?.resolve(token)?;
    store.keys().ok()?.confirms(&resolved, &device).then_some(device.key)
}

fn profile(store: &Store) -> (ProfileId, Version) {
    let made: Result<(), StoreError> = store.write(|change: &mut Change<'_>| {
        if change.provision_key_is_taken("crash")? {
            return Ok(());
        }
        let new = NewProfile {
            joining: &domain::profile::Joining::default(),
            grace_period_ms: 0,
            tenant: TenantId::DEFAULT,
            name: "crash",
            provision_key: "crash",
            strategy: domain::Strategy::CreateNew,
            reprovision: domain::Reprovision::Refuse,
            redelivery_window_ms: 0,
            pre_provisioned_credentials: domain::profile::PreProvisionedCredentials::Accept,
        };
        let id = change.create_profile(&new, now())?;
        change.add_group_secret(new.tenant, id, &Secret::new("crash"), &SecretLimits::default(), now())?;
        Ok(())
    });
    made.expect("a profile");
    let profile = store.profile_by_provision_key("crash").expect("a read").expect("the profile");
    (profile.id, profile.version)
}

fn provision(key: u64, (profile, profile_version): (ProfileId, Version), noise: &mut Noise) -> Provision {
    let generation = Generation(noise.next_u64());
    Provision {
        device: DeviceRecord {
            key: DeviceKey(key),
            tenant: TenantId::DEFAULT,
            name: domain::name::Name::random(noise).as_str().to_owned(),
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

fn sample(device: DeviceKey, key: String) -> Sample {
    Sample { device, scope: Scope::Timeseries, key, at: now(), value: Value::Double(21.5) }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("a clock before the end of time"))
}
