//! Questions to a hook that does not answer, while others want to be answered and the server wants to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::profile::Joining;
use domain::{
    Claim, DeviceKey, Evidence, Generation, Origin, Outcome, Refusal, Request, Secret, StepKey, Strategy,
    Timestamp, Wire, Wish,
};
use engine::registry::{NewProfile, Operator};
use engine::{Asked, Engine, Farewell, Fault, Hook, HookAnswer, Ports, Registry, Sessions, Settings, Task};
use store::secrets::LocalKek;
use store::{Backend, Capacity, Options, Store};
use testkit::wait::eventually;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(60);

struct Nobody;

impl Sessions for Nobody {
    fn close(&self, _: &[DeviceKey], _: Farewell) {}

    fn present(&self, _: &[DeviceKey]) -> Vec<DeviceKey> {
        Vec::new()
    }

    fn close_others(&self, _: &[(DeviceKey, Option<Generation>)]) {}
}

/// Counts who asks, and answers nobody.
#[derive(Default)]
struct Silent(AtomicUsize);

impl Hook for Silent {
    fn name(&self) -> &str {
        "gate"
    }

    fn ask<'a>(&'a self, _: &'a Asked, _: &'a StepKey) -> Task<'a, Result<HookAnswer, Fault>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn check(&self) -> Task<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}

struct House {
    engine: Engine,
    registry: Registry,
    hook: Arc<Silent>,
    runtime: Runtime,
    folder: tempfile::TempDir,
}

fn now() -> Timestamp {
    Ports::system(Arc::new(Nobody)).clock.now()
}

fn open(folder: &tempfile::TempDir, server: &str) -> Store {
    let kek = Arc::new(LocalKek::new("test", Zeroizing::new([7; 32])));
    let (dir, server) = (folder.path().to_owned(), server.to_owned());
    Store::open(Options { dir, server, backend: Backend::Directory }, kek, now()).unwrap()
}

impl House {
    fn new() -> House {
        House::with_seats(Settings::default().waiting)
    }

    fn with_seats(waiting: [usize; Wire::ALL.len()]) -> House {
        let folder = tempfile::tempdir().unwrap();
        let (store, hook) = (open(&folder, "test"), Arc::new(Silent::default()));
        let ports = Ports {
            hooks: vec![Arc::clone(&hook) as Arc<dyn Hook>].into(),
            ..Ports::system(Arc::new(Nobody))
        };
        let long = Duration::from_secs(1 << 30);
        let settings = Settings { lease: long, patience: long, waiting, ..Settings::default() };
        let engine = Engine::start(store.clone(), settings, &ports).unwrap();
        let registry = Registry::new(store, ports, engine.told());
        House { engine, registry, hook, runtime: Runtime::new().unwrap(), folder }
    }

    /// A profile whose hook is asked, in a tenant of its own.
    fn add_profile(&self, key: &str) {
        let operator = Operator::server("test");
        let tenant = self.registry.create_tenant(&operator, key).unwrap();
        let wanted = NewProfile {
            name: "pumps".to_owned(),
            strategy: Strategy::CreateNew,
            provision_key: Some(key.to_owned()),
            provision_secret: Some(Secret::new("secret")),
            joining: Joining { hook: Some("gate".to_owned()), ..Joining::default() },
            ..NewProfile::default()
        };
        self.registry.create_profile(&operator, &tenant, wanted).unwrap();
    }

    fn ask(&self, key: &str, name: &str) -> JoinHandle<Outcome> {
        let secret = self.engine.provisioner.keys().unwrap().verifier("secret");
        let source = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let request = Request {
            claim: Claim { within: None, registration_id: Some(name.to_owned()) },
            evidence: Evidence::GroupSecret { key: key.to_owned(), secret },
            wish: Wish::ServerMade,
            gateway: false,
            origin: Origin { source, wire: Wire::ThingsboardHttp },
        };
        let provisioner = self.engine.provisioner.clone();
        self.runtime.spawn(async move { provisioner.provision(request).await })
    }

    fn until_asked(&self, times: usize) {
        eventually("the hook's call", PATIENCE, || {
            (self.hook.0.load(Ordering::SeqCst) >= times).then_some(())
        })
        .unwrap();
    }
}

#[test]
fn what_a_server_asks_when_it_ends_can_be_asked_by_others_at_once() {
    let house = House::new();
    house.add_profile("acme");
    let waits = house.ask("acme", "pump");
    house.until_asked(1);
    house.engine.stop();
    let told = house.runtime.block_on(waits).unwrap();
    assert!(matches!(told, Outcome::Refused(Refusal::ShuttingDown)), "{told:?}");
    let House { engine, registry, folder, .. } = house;
    drop((engine, registry));
    let other = open(&folder, "other");
    let claim = store::Claim { capacity: &Capacity::for_each(1), lease_ms: 600_000 };
    assert_eq!(other.advance_questions(&[], claim, now()).unwrap().len(), 1);
}

#[test]
fn a_tenant_whose_hook_is_slow_leaves_others_their_seats_and_its_questions_stay() {
    let house = House::with_seats([4, 1]);
    house.add_profile("acme");
    house.add_profile("umbrella");
    let acme: Vec<_> = (0..6).map(|at| house.ask("acme", &format!("pump-{at}"))).collect();
    let told = |waits: &[JoinHandle<Outcome>]| waits.iter().filter(|it| it.is_finished()).count();
    let until_told = |most: usize| {
        eventually("word to come again", PATIENCE, || (told(&acme) >= most).then_some(())).unwrap();
    };
    until_told(2);
    // Who asks while others wait for the same has no seat either.
    let again = house.ask("acme", "pump-0");
    eventually("word to come again", PATIENCE, || again.is_finished().then_some(())).unwrap();
    let umbrella = house.ask("umbrella", "pump-0");
    until_told(3);
    house.until_asked(7);
    assert_eq!((told(&acme), umbrella.is_finished()), (3, false));
    for waits in acme.into_iter().filter(JoinHandle::is_finished).chain([again]) {
        let told = house.runtime.block_on(waits).unwrap();
        assert!(matches!(told, Outcome::Refused(Refusal::HookPending)), "{told:?}");
    }
    house.engine.stop();
    let told = house.runtime.block_on(umbrella).unwrap();
    assert!(matches!(told, Outcome::Refused(Refusal::ShuttingDown)), "{told:?}");
}
