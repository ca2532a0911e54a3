//! Batches, one at a time: who is answered, and who has to come again.

use domain::attestation::attest;
use domain::{Claim, CredentialKeys, Evidence, Origin, Reprovision, Request, Wire, Wish};
use store::Store;
use store::secrets::LocalKek;
use zeroize::Zeroizing;

use super::*;
use crate::ports::{Clock, Ports, SystemClock};
use crate::registry::{NewProfile, Operator, ProfileChange, Registry, Rotation};
use crate::throttle::Rate;

struct Nobody;

impl Sessions for Nobody {
    fn close(&self, _: &[DeviceKey], _: Farewell) {}

    fn present(&self, _: &[DeviceKey]) -> Vec<DeviceKey> {
        Vec::new()
    }

    fn close_others(&self, _: &[(DeviceKey, Option<domain::Generation>)]) {}
}

/// A batcher over a store of its own, with one profile.
struct Bench {
    batcher: Batcher,
    registry: Registry,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(reprovision: Reprovision) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let kek = Arc::new(LocalKek::new("test", Zeroizing::new([7; 32])));
        let options = store::Options {
            dir: folder.path().to_owned(),
            server: "test".to_owned(),
            backend: store::Backend::Directory,
        };
        let store = Store::open(options, kek, SystemClock.now()).unwrap();
        let ports = Ports::system(Arc::new(Nobody));
        let registry = Registry::new(store.clone(), ports.clone(), crate::registry::Told::nobody());
        let wanted = NewProfile {
            name: "pumps".to_owned(),
            reprovision,
            provision_key: Some("key".to_owned()),
            provision_secret: Some(domain::Secret::new("secret")),
            ..NewProfile::default()
        };
        let tenant = registry.tenant(&Operator::server("test"), None).unwrap();
        registry.create_profile(&Operator::server("test"), &tenant, wanted).unwrap();
        let events = std::sync::mpsc::channel().0;
        let shared = Arc::new(Shared::new(store, Arc::new(SystemClock), Rate::default(), events));
        let batcher = Batcher::new(shared, Arc::new(Nobody), (ports.entropy)(), 600_000);
        Bench { batcher, registry, _folder: folder }
    }

    fn job(&self, name: &str) -> (Job, oneshot::Receiver<Outcome>) {
        let shared = &self.batcher.shared;
        let request = Request {
            claim: Claim { within: None, registration_id: Some(name.to_owned()) },
            evidence: Evidence::GroupSecret {
                key: "key".to_owned(),
                secret: shared.store.keys().unwrap().verifier("secret"),
            },
            wish: Wish::ServerMade,
            gateway: false,
            origin: Origin { source: [192, 0, 2, 1].into(), wire: Wire::ThingsboardHttp },
        };
        let profile = shared.profiles.by_key("key", &shared.store).unwrap();
        let attested = attest(request, &Trust { profile }).unwrap();
        let (reply, answer) = oneshot::channel();
        (Job { attested, reply, asked_at: shared.clock.now() }, answer)
    }

    fn ask(&mut self, names: &[&str]) -> (Vec<Job>, Vec<oneshot::Receiver<Outcome>>) {
        let (jobs, answers) = names.iter().map(|name| self.job(name)).unzip();
        (self.batcher.batch(jobs), answers)
    }
}

/// The outcome that is there already, in a word.
fn word(answer: &mut oneshot::Receiver<Outcome>) -> &'static str {
    match answer.try_recv() {
        Ok(Outcome::Granted(_)) => "granted",
        Ok(Outcome::Refused(refusal)) => refusal.code(),
        Err(_) => "waits",
    }
}

#[test]
fn of_several_for_a_free_name_one_is_let_in_and_the_others_come_again() {
    let mut bench = Bench::new(Reprovision::Refuse);
    let (again, mut answers) = bench.ask(&["a", "a", "b", "a"]);
    assert_eq!(again.len(), 2);
    assert_eq!(answers.iter_mut().map(word).collect::<Vec<_>>(), ["granted", "waits", "granted", "waits"]);
    assert!(bench.batcher.batch(again).is_empty());
    assert_eq!([word(&mut answers[1]), word(&mut answers[3])], ["device-exists"; 2]);
}

#[test]
fn many_requests_for_a_name_that_is_taken_are_answered_at_once() {
    for (policy, told) in [(Reprovision::Refuse, "device-exists"), (Reprovision::ReturnExisting, "granted")] {
        let mut bench = Bench::new(policy);
        bench.ask(&["a"]);
        let (again, mut answers) = bench.ask(&["a"; 100]);
        assert!(again.is_empty(), "{} have to come again", again.len());
        assert!(answers.iter_mut().all(|answer| word(answer) == told));
    }
}

#[test]
fn under_rotate_each_request_waits_for_the_record_of_the_one_before() {
    let mut bench = Bench::new(Reprovision::Rotate);
    bench.ask(&["a"]);
    assert_eq!(bench.ask(&["a"; 3]).0.len(), 2);
}

#[test]
fn a_request_that_a_changed_profile_refuses_is_journalled() {
    let mut bench = Bench::new(Reprovision::Refuse);
    let (job, mut answer) = bench.job("a");
    let tenant = bench.registry.tenant(&Operator::server("test"), None).unwrap();
    let change = ProfileChange { rotation: Some(Rotation::default()), ..ProfileChange::default() };
    bench.registry.set_profile(&Operator::server("test"), &tenant, "pumps", &change).unwrap();
    assert!(bench.batcher.batch(vec![job]).is_empty());
    assert_eq!(word(&mut answer), "proof-invalid");
    let noted = bench.batcher.shared.attempts.drain_all();
    assert_eq!(noted.iter().map(|it| it.attempt.outcome).collect::<Vec<_>>(), ["proof-invalid"]);
}
