//! Two servers and more on one database, and a database that comes and goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use domain::plan::{Action, StepState};
use domain::{DeviceKey, DeviceState, Provision, Secret, Timestamp};
use serde_json::json;
use store::journal::{
    ATTRIBUTES_DELETED, ATTRIBUTES_SAVED, Fault, JournalQuery, NewEntry, Position, What, Wrong,
};
use store::{
    Advance, Backend, Capacity, Change, Changes, Claim, Entry, LocalKek, Lost, Options, SecretLimits, Store,
    StoreError,
};
use testkit::postgres::Postgres;
use zeroize::Zeroizing;

use crate::house::{HOME, House, NOW, make_profile, origin, rotate};
use crate::leaving::{leave, take_back};
use crate::place::{Database, Place};
use crate::steps::joining;

pub(crate) fn record(store: &Store, provisions: &[Provision]) -> Vec<Result<store::Recorded, Lost>> {
    try_record(store, provisions).unwrap()
}

fn try_record(
    store: &Store,
    provisions: &[Provision],
) -> Result<Vec<Result<store::Recorded, Lost>>, StoreError> {
    let entries: Vec<Entry<'_>> =
        provisions.iter().map(|provision| Entry { provision, origin: origin() }).collect();
    store.record(&entries, NOW)
}

/// Records batches one after the other; says how many were recorded, and the others were lost as told.
fn recorded(store: &Store, batches: &[Vec<Provision>], lost: Lost) -> usize {
    let results = batches.iter().flat_map(|batch| record(store, batch));
    results.inspect(|it| assert!(it.is_ok() || *it == Err(lost), "{it:?}")).flatten().count()
}

fn count_devices(house: &House) -> i64 {
    house.count("main.db", "SELECT count(*) FROM devices")
}

/// A store whose server is called `test`, and a second one beside it.
pub(crate) fn two(limits: &SecretLimits) -> (House, Store) {
    let house = House::with(limits);
    let other = house.place.open_as("other", "kek", 7).unwrap();
    (house, other)
}

fn audit(kind: &str, device: Option<DeviceKey>) -> NewEntry {
    let what = What::Audit { kind: kind.into(), actor: "operator:1".into(), detail: json!({}) };
    NewEntry { tenant: Some(HOME), device, what }
}

#[test]
fn servers_that_start_first_at_once_agree_on_everything() {
    let place = Place::new();
    let names = ["a", "b", "c", "d"];
    let stores: Vec<Store> = std::thread::scope(|scope| {
        let opened = names.map(|name| scope.spawn(|| place.open_as(name, "kek", 7).unwrap()));
        opened.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let tokens: Vec<String> = stores
        .iter()
        .map(|store| {
            store.keys().unwrap().mint(HOME, DeviceKey(1), domain::Generation(2)).expose().to_owned()
        })
        .collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    let mut ranges: Vec<_> = stores.iter().map(|store| store.reserve_device_keys(10).unwrap()).collect();
    ranges.sort_by_key(|range| range.start);
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{ranges:?}");
    assert_eq!(stores[0].read(|view| view.tenants()).unwrap().len(), 1);
    let profile = make_profile(&stores[1], HOME, "pumps", &SecretLimits::default());
    assert_eq!(stores[3].profile_by_provision_key("pumps-key").unwrap().unwrap().id, profile.id);
}

#[test]
fn who_leaves_while_another_server_begins_a_step_is_retired_there() {
    let (house, other) = two(&SecretLimits::default());
    let devices: Vec<Provision> = (0..150).map(|number| joining(&house, &format!("pump-{number}"))).collect();
    assert!(record(&house.store, &devices).iter().all(Result::is_ok));
    let left = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let claim = Claim { capacity: &Capacity::for_each(2), lease_ms: 600_000 };
            while !left.load(Ordering::Relaxed) {
                other.advance(&Advance { finished: &[], claim }, NOW).unwrap();
            }
        });
        for device in &devices {
            house.store.write(|change: &mut Change<'_>| leave(change, &device.device.name, None)).unwrap();
        }
        left.store(true, Ordering::Relaxed);
    });
    for device in &devices {
        let steps = house.store.read(|view| view.steps_of(device.device.key)).unwrap();
        let begun = |action| steps.iter().any(|it| it.record.action == action && it.record.attempts > 0);
        let retired = steps.iter().any(|it| it.record.action == Action::Retire);
        assert!(retired || !begun(Action::Ensure), "an attempt that nobody undoes: {steps:?}");
        let lost = |it: &&store::StepRow| it.record.state == StepState::Absorbed && it.record.attempts > 0;
        assert_eq!(steps.iter().find(lost), None, "a lease that nobody waits for");
    }
}

#[test]
fn a_device_is_taken_back_by_one_server_or_gone_by_another_and_never_both() {
    let (house, other) = two(&SecretLimits::default());
    for round in 0..60 {
        let name = format!("pump-{round}");
        house.record(&[house.create(&name)]);
        house.store.write(|change: &mut Change<'_>| leave(change, &name, Some(Timestamp(1)))).unwrap();
        let begin = Barrier::new(2);
        let taken = std::thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                other.complete_leaving(1, NOW).unwrap()
            });
            begin.wait();
            house.store.write(|change: &mut Change<'_>| take_back(change, &name)).unwrap()
        });
        let state = house.device(&name).map(|device| device.state);
        assert_eq!(state, taken.then_some(DeviceState::Expected), "{name}");
    }
}

#[test]
fn a_name_is_for_one_process_as_long_as_it_lives() {
    let place = Place::new();
    let first = place.open_as("a", "kek", 7).unwrap();
    let error = place.open_as("a", "kek", 7).err().unwrap();
    assert!(matches!(&error, StoreError::InUse(what) if what.contains("`a`")), "{error}");
    let other = place.open_as("b", "kek", 7).unwrap();
    drop(first);
    assert!(place.open_as("a", "kek", 7).is_ok());
    drop(other);
    // One that was killed leaves its row behind, and nobody renews it.
    place
        .tamper("main.db", "INSERT INTO servers VALUES ('c', 'killed', clock_timestamp(), pg_backend_pid())");
    assert!(place.open_as("c", "kek", 7).is_ok());
}

#[test]
fn whose_name_was_taken_writes_nothing_any_more() {
    let (house, _other) = two(&SecretLimits::default());
    house.tamper("main.db", "UPDATE servers SET process = 'another' WHERE server = 'test'");
    let refused = testkit::wait::eventually("the refusal", std::time::Duration::from_secs(60), || {
        house.store.append(&[audit("x", None)], NOW).err()
    });
    assert!(matches!(refused.unwrap(), StoreError::InUse(_)));
}

#[test]
fn of_two_servers_that_record_the_same_names_each_name_has_one_device() {
    let (house, other) = two(&SecretLimits::default());
    let batch = |number: usize| -> Vec<Provision> {
        (0..40).map(|name| house.create(&format!("{number}-{name}"))).collect()
    };
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..10).map(|number| (batch(number), batch(number))).unzip();
    let (won, won_there) = std::thread::scope(|scope| {
        let there = scope.spawn(|| recorded(&other, &theirs, Lost::NameTaken));
        (recorded(&house.store, &ours, Lost::NameTaken), there.join().unwrap())
    });
    assert_eq!(won + won_there, 400);
    assert_eq!(house.count("main.db", "SELECT count(*) FROM devices"), 400);
    let verification = house.store.verify_journal(None).unwrap();
    assert_eq!((verification.entries, verification.faults), (400, vec![]));
    assert_eq!(verification.heads.len(), 2);
}

#[test]
fn uses_are_counted_over_all_servers() {
    let (house, other) = two(&SecretLimits { uses_left: Some(50), ..SecretLimits::default() });
    let batch = |who: &str, number: usize| -> Vec<Provision> {
        (0..20).map(|name| house.create_spending(&format!("{who}-{number}-{name}"))).collect()
    };
    let ours: Vec<_> = (0..5).map(|number| batch("a", number)).collect();
    let theirs: Vec<_> = (0..5).map(|number| batch("b", number)).collect();
    let won = std::thread::scope(|scope| {
        let there = scope.spawn(|| recorded(&other, &theirs, Lost::UsesExhausted));
        recorded(&house.store, &ours, Lost::UsesExhausted) + there.join().unwrap()
    });
    assert_eq!(won, 50);
    assert_eq!(other.uses_left(&[house.secret()]).unwrap(), [Some(0)]);
}

#[test]
fn two_servers_that_rotate_one_device_at_once_do_it_once() {
    let (house, other) = two(&SecretLimits::default());
    house.record(&[house.create("pump")]);
    let device = house.device("pump").unwrap();
    let (ours, theirs) = (rotate(&device, &house.profile, 5), rotate(&device, &house.profile, 6));
    let results = std::thread::scope(|scope| {
        let there = scope.spawn(|| record(&other, &[theirs]));
        [record(&house.store, &[ours]), there.join().unwrap()].concat()
    });
    assert_eq!(results.iter().flatten().count(), 1, "{results:?}");
    assert!(results.contains(&Err(Lost::DeviceChanged)), "{results:?}");
}

#[test]
fn a_step_is_claimed_by_one_server_at_a_time() {
    let (house, other) = two(&SecretLimits::default());
    let batch: Vec<Provision> = (0..200).map(|number| joining(&house, &format!("pump-{number}"))).collect();
    house.record(&batch);
    let claim_all = |store: &Store| {
        let claim = Claim { capacity: &Capacity::for_each(16), lease_ms: 600_000 };
        let all = std::iter::from_fn(|| {
            let claimed = store.advance(&Advance { finished: &[], claim }, NOW).unwrap().claimed;
            (!claimed.is_empty()).then_some(claimed)
        });
        all.flatten().map(|step| step.key).collect::<Vec<_>>()
    };
    let mut claimed = std::thread::scope(|scope| {
        let there = scope.spawn(|| claim_all(&other));
        [claim_all(&house.store), there.join().unwrap()].concat()
    });
    claimed.sort();
    assert!(claimed.windows(2).all(|pair| pair[0] != pair[1]));
    // Who found everything locked has gone home.
    claimed.extend(claim_all(&house.store));
    assert_eq!(claimed.len(), 200);
}

#[test]
fn shared_attributes_that_one_server_changed_the_other_one_knows_by_key() {
    let (house, other) = two(&SecretLimits::default());
    let entry = |kind: &str, scope: &str| {
        let detail = json!({ "name": "pump", "scope": scope, "keys": ["a", "b"] });
        let what = What::Audit { kind: kind.into(), actor: "operator:1".into(), detail };
        NewEntry { tenant: Some(HOME), device: Some(DeviceKey(17)), what }
    };
    let entries = [
        entry(ATTRIBUTES_SAVED, "shared"),
        entry(ATTRIBUTES_SAVED, "server"),
        entry(ATTRIBUTES_DELETED, "shared"),
    ];
    other.changes().unwrap();
    house.store.append(&entries, NOW).unwrap();
    let told = || (DeviceKey(17), vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(other.changes().unwrap(), Changes { shared: vec![told(), told()], ..Changes::default() });
    assert_eq!(house.store.changes().unwrap(), Changes::default());
}

#[test]
fn what_one_server_changed_the_other_one_sees() {
    let (house, other) = two(&SecretLimits::default());
    assert_eq!(other.changes().unwrap(), Changes::default());
    house.record(&[house.create("pump")]);
    let key = house.device("pump").unwrap().key;
    assert_eq!(
        other.changes().unwrap(),
        Changes { settings: false, devices: vec![key], ..Changes::default() }
    );
    assert_eq!(other.changes().unwrap(), Changes::default());
    house.store.append(&[audit("profile-changed", None), audit("device-disabled", Some(key))], NOW).unwrap();
    assert_eq!(
        other.changes().unwrap(),
        Changes { settings: true, devices: vec![key], ..Changes::default() }
    );
    assert_eq!(house.store.changes().unwrap(), Changes::default());
    other.append(&[audit("profile-changed", None)], NOW).unwrap();
    assert_eq!(
        house.store.changes().unwrap(),
        Changes { settings: true, devices: vec![], ..Changes::default() }
    );
}

#[test]
fn the_tail_of_one_chain_is_missed_by_the_tie_of_another() {
    let (house, other) = two(&SecretLimits::default());
    other.append(&[audit("a", None), audit("b", None), audit("c", None)], NOW).unwrap();
    house.store.maintain(NOW).unwrap();
    let verification = house.store.verify_journal(None).unwrap();
    assert_eq!((verification.entries, verification.faults), (4, vec![]));
    let (ours, theirs) = (1, 2);
    let first = (theirs << 40) + 1_i64;
    assert_eq!(
        house.tamper("main.db", &format!("DELETE FROM journal WHERE position > {first} AND kind <> 'tie'")),
        2
    );
    let cut = Fault { position: Position { writer: 2, number: 3 }, wrong: Wrong::Cut };
    assert_eq!(house.store.verify_journal(None).unwrap().faults, [cut]);
    // The tie is part of a chain itself.
    house.tamper("main.db", &format!("UPDATE journal SET at = 7 WHERE position = {}", (ours << 40) + 1_i64));
    let changed = Fault { position: Position { writer: 1, number: 1 }, wrong: Wrong::Changed };
    assert_eq!(house.store.verify_journal(None).unwrap().faults, [changed]);
}

#[test]
fn chains_that_do_not_go_on_are_not_tied_again_and_again() {
    let (house, other) = two(&SecretLimits::default());
    house.record(&[house.create("pump")]);
    for round in 0..6 {
        let now = NOW.plus_ms(round * 10_000);
        house.store.maintain(now).unwrap();
        other.maintain(now).unwrap();
    }
    let ties = house.count("main.db", "SELECT count(*) FROM journal WHERE kind = 'tie'");
    assert!((2..=4).contains(&ties), "{ties}");
    assert_eq!(house.store.verify_journal(None).unwrap().faults, []);
}

#[test]
fn the_entries_of_all_servers_are_listed_in_the_order_of_their_times() {
    let (house, other) = two(&SecretLimits::default());
    for number in 0..60 {
        let store = if number % 3 == 0 { &other } else { &house.store };
        store.append(&[audit(&format!("kind-{number}"), None)], NOW.plus_ms(number)).unwrap();
    }
    let (mut kinds, mut before) = (Vec::new(), None);
    loop {
        let query =
            JournalQuery { tenant: Some(HOME), about: None, kinds: &[], before: before.as_ref(), limit: 7 };
        let page = house.store.read(|view| view.journal(&query)).unwrap();
        kinds.extend(page.entries.into_iter().map(|entry| entry.kind));
        // A cursor travels as text.
        let Some(next) = page.next else { break };
        before = Some(next.to_string().parse().unwrap());
        other.append(&[audit("later", None)], NOW.plus_ms(1000)).unwrap();
    }
    let expected: Vec<String> = (0..60).rev().map(|number| format!("kind-{number}")).collect();
    assert_eq!(kinds, expected);
}

#[test]
fn a_row_that_the_database_refuses_is_lost_alone() {
    let house = House::new();
    house.tamper("main.db", "ALTER TABLE devices ADD CONSTRAINT poison CHECK (name_key <> 'poison')");
    let results = house.record(&["a", "b", "poison", "c", "d"].map(|name| house.create(name)));
    let lost: Vec<_> = results.iter().map(|result| result.as_ref().err().copied()).collect();
    assert_eq!(lost, [None, None, Some(Lost::Unstorable), None, None]);
    assert_eq!(house.store.verify_journal(None).unwrap().faults, []);
}

#[test]
fn a_database_that_ends_and_comes_back_costs_errors_and_nothing_that_was_acknowledged() {
    let server = Arc::new(Postgres::start().unwrap());
    let place =
        Place { folder: tempfile::tempdir().unwrap(), database: Some(Database::on(Arc::clone(&server))) };
    let house = House::within(place, &SecretLimits::default());
    let stop = AtomicBool::new(false);
    let (acknowledged, failed) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut acknowledged, mut failed) = (Vec::new(), 0);
            let keys = house.keys(200_000);
            for (number, key) in keys.into_iter().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("device-{number}");
                let mut provision = house.create_without_key(&name);
                provision.device.key = key;
                match try_record(&house.store, &[provision]) {
                    Ok(results) => {
                        assert!(results[0].is_ok(), "{results:?}");
                        acknowledged.push(name);
                    }
                    Err(StoreError::Unavailable(_)) => failed += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            (acknowledged, failed)
        });
        for round in 0..4 {
            let goes_on = count_devices(&house);
            testkit::wait::eventually("devices", std::time::Duration::from_secs(60), || {
                (count_devices(&house) > goes_on + 20).then_some(())
            })
            .unwrap();
            if round % 2 == 0 {
                server.kill().unwrap();
            } else {
                server.stop().unwrap();
            };
            assert!(house.store.gather(&[(HOME, "device-0")]).is_err());
            server.resume().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(failed > 0 && acknowledged.len() > 80, "{failed} {}", acknowledged.len());
    for name in &acknowledged {
        assert!(house.device(name).is_some(), "{name}");
    }
    let verification = house.store.verify_journal(None).unwrap();
    assert_eq!(verification.faults, []);
    // What was not acknowledged may be there or not, but never without its entry.
    let provisions = house.count("main.db", "SELECT count(*) FROM journal WHERE kind = 'provision'");
    assert_eq!(provisions, count_devices(&house));
}

#[test]
fn secrets_may_have_a_role_of_their_own_that_the_main_one_cannot_read() {
    let server = crate::place::shared();
    let name = server.database().unwrap();
    let role = |suffix: &str| format!("{name}_{suffix}");
    for role in [role("main"), role("secrets")] {
        server
            .query(&name, &format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {name} TO {role}"))
            .unwrap();
    }
    let database = Database { server: Arc::clone(&server), name: name.clone() };
    let mut postgres = database.postgres(&server.tcp_url(&role("main"), &name));
    postgres.secrets_url = Some(Secret::new(server.tcp_url(&role("secrets"), &name)));
    let store = open(&Backend::Postgres(postgres)).unwrap();
    make_profile(&store, HOME, "pumps", &SecretLimits::default());
    let as_main = |sql: &str| server.query(&name, &format!("SET ROLE {}; {sql}", role("main")));
    assert_eq!(as_main("SELECT count(*) FROM muster.profiles").unwrap(), "1");
    let refused = as_main("SELECT count(*) FROM muster_secrets.sealed").unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
}

#[test]
fn an_address_that_leads_nowhere_is_told_without_its_password() {
    let database = Database { server: crate::place::shared(), name: "postgres".to_owned() };
    for (url, wanted) in [
        ("postgres://u:geheim@127.0.0.1:1/muster", "refused"),
        (&*format!("postgres://nobody:geheim@127.0.0.1:{}/muster", database.server.port()), "nobody"),
    ] {
        let error = open(&Backend::Postgres(database.postgres(url))).err().unwrap().to_string();
        assert!(error.contains(wanted) && !error.contains("geheim"), "{error}");
    }
}

#[test]
fn the_certificate_of_the_database_is_verified_as_far_as_was_asked() {
    let (roots, certificate, key) = certificate("127.0.0.1");
    let (strangers, ..) = certificate_of("127.0.0.1", "a stranger");
    let server = Arc::new(Postgres::start().unwrap());
    server.stop().unwrap();
    server.put("server.crt", &certificate).unwrap();
    server.put("server.key", &key).unwrap();
    let access = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
    server.put("pg_hba.conf", access).unwrap();
    server.put("postgresql.auto.conf", "ssl = on\n").unwrap();
    server.resume().unwrap();
    let database = Database::on(Arc::clone(&server));
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (roots, strangers) = (put("roots.pem", &roots), put("strangers.pem", &strangers));
    let by_name = server.tcp_url("postgres", &database.name);
    let as_localhost = by_name.replace("127.0.0.1", "localhost");
    for (url, mode, root, wanted) in [
        (&by_name, "disable", None, false),
        (&by_name, "prefer", None, true),
        (&by_name, "require", None, true),
        (&by_name, "require", Some(&strangers), false),
        (&by_name, "verify-full", Some(&roots), true),
        (&by_name, "verify-full", Some(&strangers), false),
        (&as_localhost, "verify-ca", Some(&roots), true),
        (&as_localhost, "verify-full", Some(&roots), false),
    ] {
        let mut postgres = database.postgres(&format!("{url}?sslmode={mode}"));
        postgres.root_certificate = root.cloned();
        let opened = open(&Backend::Postgres(postgres)).map(drop);
        assert_eq!(opened.is_ok(), wanted, "{url} {mode} {root:?}: {opened:?}");
    }
}

fn open(backend: &Backend) -> Result<Store, StoreError> {
    let kek = Arc::new(LocalKek::new("kek", Zeroizing::new([7; 32])));
    let options = Options { dir: "unused".into(), server: "test".to_owned(), backend: backend.clone() };
    Store::open(options, kek, NOW)
}

fn certificate(name: &str) -> (String, String, String) {
    certificate_of(name, "an authority")
}

/// An authority's certificate, and a server's certificate and key that it signed.
fn certificate_of(name: &str, authority: &str) -> (String, String, String) {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    root.distinguished_name.push(rcgen::DnType::CommonName, authority);
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap();
    (root_certificate.pem(), certificate.pem(), key.serialize_pem())
}

#[test]
fn a_panic_in_the_middle_of_a_change_leaves_nothing_behind() {
    let house = House::new();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _: Result<(), StoreError> = house.store.write(|change: &mut Change<'_>| {
            change.create_tenant("acme", NOW)?;
            panic!("on purpose")
        });
    }));
    assert!(result.is_err());
    assert_eq!(house.store.read(|view| view.tenant_by_name("acme")).unwrap(), None);
    assert!(house.store.write(|change: &mut Change<'_>| change.create_tenant("acme", NOW)).is_ok());
}

#[test]
fn texts_have_their_index_wherever_the_extension_stands() {
    let database = Database::on(crate::place::shared());
    let elsewhere = "CREATE SCHEMA elsewhere; CREATE EXTENSION pg_trgm SCHEMA elsewhere";
    database.server.query(&database.name, elsewhere).unwrap();
    open(&database.backend()).unwrap();
    let indexes = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'devices_by_%_text'";
    assert_eq!(database.server.query(&database.name, indexes).unwrap().trim(), "2");
}
