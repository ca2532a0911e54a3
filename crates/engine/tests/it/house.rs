//! An engine over a store in a folder of its own, with a clock that a test moves, and a profile whose devices join
//! a neighbour at every gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::plan::{Action, Gate, StepRule, StepState};
use domain::profile::Joining;
use domain::{
    Claim, DeviceKey, DeviceState, Evidence, Generation, Held, Origin, Outcome, Refusal, Request, Secret,
    Strategy, Timestamp, Wire, Wish,
};
use engine::registry::{
    NewProfile, Operation, OperationsWanted, Operator, ProfileChange, RegistryError, Rotation, Tenant, Told,
};
use engine::{Clock, Connector, Engine, Farewell, Ports, Registry, Sessions, Settings};
use store::secrets::LocalKek;
use store::{Backend, Options, Store};
use testkit::wait::eventually;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::neighbour::Neighbour;

/// The neighbours in the order of the plan, and when they are told.
pub(crate) const PLAN: [(&str, Gate); 5] = [
    ("erp", Gate::BeforeReply),
    ("crm", Gate::BeforeReply),
    ("vpn", Gate::WithReply),
    ("wiki", Gate::AfterReply),
    ("bi", Gate::OnFirstConnection),
];
const PATIENCE: Duration = Duration::from_secs(60);
const ORIGIN: Origin =
    Origin { source: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), wire: Wire::ThingsboardHttp };

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

struct Nobody;

impl Sessions for Nobody {
    fn close(&self, _: &[DeviceKey], _: Farewell) {}

    fn present(&self, _: &[DeviceKey]) -> Vec<DeviceKey> {
        Vec::new()
    }

    fn close_others(&self, _: &[(DeviceKey, Option<Generation>)]) {}
}

pub(crate) struct House {
    pub(crate) registry: Registry,
    pub(crate) operator: Operator,
    pub(crate) tenant: Tenant,
    pub(crate) neighbours: [Arc<Neighbour>; PLAN.len()],
    engine: Engine,
    clock: Arc<Hands>,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl House {
    /// `grace_ms`: for how long devices that leave can be taken back.
    pub(crate) fn new(grace_ms: u64) -> House {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
        let kek = Arc::new(LocalKek::new("test", Zeroizing::new([7; 32])));
        let (dir, server) = (folder.path().to_owned(), "test".to_owned());
        let store =
            Store::open(Options { dir, server, backend: Backend::Directory }, kek, clock.now()).unwrap();
        let neighbours = PLAN.map(|(name, _)| Arc::new(Neighbour::new(name)));
        let connectors: Vec<Arc<dyn Connector>> =
            neighbours.iter().map(|it| Arc::clone(it) as Arc<dyn Connector>).collect();
        let ports =
            Ports { clock: clock.clone(), connectors: connectors.into(), ..Ports::system(Arc::new(Nobody)) };
        // Time passes in leaps here, and no lease ends by them.
        let long = Duration::from_secs(1 << 30);
        let settings = Settings { lease: long, patience: long, ..Settings::default() };
        let engine = Engine::start(store.clone(), settings, &ports).unwrap();
        let told: Told = engine.told();
        let registry = Registry::new(store, ports, told);
        let operator = Operator::server("test");
        let tenant = registry.tenant(&operator, None).unwrap();
        let runtime = Runtime::new().unwrap();
        let house = House { registry, operator, tenant, neighbours, engine, clock, runtime, _folder: folder };
        house.add_profile(grace_ms);
        house
    }

    fn add_profile(&self, grace_ms: u64) {
        let rule =
            |(connector, gate): &(&str, Gate)| StepRule { connector: (*connector).into(), gate: *gate };
        let wanted = NewProfile {
            name: "pumps".to_owned(),
            strategy: Strategy::CreateNew,
            provision_key: Some("key".to_owned()),
            provision_secret: Some(Secret::new("secret")),
            grace_period_ms: grace_ms,
            joining: Joining { steps: PLAN.iter().map(rule).collect(), ..Joining::default() },
            ..NewProfile::default()
        };
        self.registry.create_profile(&self.operator, &self.tenant, wanted).unwrap();
    }

    pub(crate) fn later(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Another secret takes the place of the present one, which stays good for a while.
    pub(crate) fn rotate(&self, secret: &str) {
        let rotation = Rotation { secret: Some(Secret::new(secret)), overlap_ms: 3_600_000 };
        let wanted = ProfileChange { rotation: Some(rotation), ..ProfileChange::default() };
        self.registry.set_profile(&self.operator, &self.tenant, "pumps", &wanted).unwrap();
    }

    /// A device asks, until it is answered; its token.
    pub(crate) fn ask(&self, name: &str) -> Result<Secret, Refusal> {
        self.ask_by(name, "secret")
    }

    /// The same by another group secret.
    pub(crate) fn ask_by(&self, name: &str, secret: &str) -> Result<Secret, Refusal> {
        let secret = self.engine.provisioner.keys().unwrap().verifier(secret);
        let request = Request {
            claim: Claim { within: None, registration_id: Some(name.to_owned()) },
            evidence: Evidence::GroupSecret { key: "key".to_owned(), secret },
            wish: Wish::ServerMade,
            gateway: false,
            origin: ORIGIN,
        };
        let provisioner = self.engine.provisioner.clone();
        let asked = self.runtime.spawn(async move { provisioner.provision(request).await });
        eventually("an answer", PATIENCE, || {
            self.hurry(name);
            asked.is_finished().then_some(())
        })
        .unwrap();
        match self.runtime.block_on(asked).unwrap() {
            Outcome::Granted(grant) => match grant.held {
                Held::Token(token) => Ok(token),
                other => panic!("{other:?}"),
            },
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    /// A device uses its token; whether it is let in.
    pub(crate) fn connect(&self, token: &Secret) -> bool {
        self.runtime.block_on(self.engine.device_auth.by_token(token.expose(), ORIGIN, None)).is_ok()
    }

    /// The device joins, connects, and has come to rest; or it has been stopped before its answer.
    pub(crate) fn join(&self, name: &str) -> Operation {
        match self.ask(name) {
            Ok(token) => {
                assert!(self.connect(&token));
                self.rest(name)
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::OperationStopped);
                self.newest(name).unwrap()
            }
        }
    }

    /// The device's newest operation, once there is nothing left in it that could happen by itself.
    pub(crate) fn rest(&self, name: &str) -> Operation {
        eventually("rest", PATIENCE, || {
            self.hurry(name);
            let operation = self.newest(name)?;
            let rests = |state: StepState| state.is_over() || state == StepState::Failed;
            operation.steps.iter().all(|step| rests(step.record.state)).then_some(operation)
        })
        .unwrap()
    }

    pub(crate) fn leave(&self, name: &str) -> Operation {
        self.registry.decommission_device(&self.operator, &self.tenant, name, None).unwrap();
        self.rest(name)
    }

    pub(crate) fn until_state(&self, name: &str, state: DeviceState) {
        eventually(state.word(), PATIENCE, || (self.state(name) == state).then_some(())).unwrap();
    }

    pub(crate) fn state(&self, name: &str) -> DeviceState {
        self.registry.life(&self.tenant, name).unwrap().device.state
    }

    /// What the neighbours hold of a device, in the order of the plan.
    pub(crate) fn held(&self, name: &str) -> [Option<String>; PLAN.len()] {
        self.neighbours.each_ref().map(|neighbour| neighbour.holds(name))
    }

    pub(crate) fn knows_nobody(&self, name: &str) -> bool {
        self.held(name).iter().all(Option::is_none)
    }

    pub(crate) fn act<T>(
        &self,
        act: impl FnOnce(&Registry, &Operator, &Tenant) -> Result<T, RegistryError>,
    ) -> Result<T, &'static str> {
        act(&self.registry, &self.operator, &self.tenant).map_err(|error| error.code())
    }

    fn newest(&self, name: &str) -> Option<Operation> {
        let wanted = OperationsWanted { device: Some(name), ..OperationsWanted::default() };
        self.registry.operations(&self.tenant, &wanted).ok()?.0.into_iter().next()
    }

    /// Lets the time pass that steps of a device wait for before they are tried again.
    fn hurry(&self, name: &str) {
        let steps = self.newest(name).map(|operation| operation.steps).unwrap_or_default();
        let due = steps.iter().filter(|step| step.record.state == StepState::Due).map(|step| step.due_at.0);
        self.clock.0.fetch_max(due.max().unwrap_or(0), Ordering::SeqCst);
    }
}

/// The external ids that the steps of an operation tell, in its order.
pub(crate) fn receipts(operation: &Operation) -> Vec<Option<String>> {
    let id = |step: &store::StepRow| step.record.receipt.as_ref().map(|receipt| receipt.external_id.clone());
    operation.steps.iter().map(id).collect()
}

pub(crate) fn states(operation: &Operation) -> Vec<StepState> {
    operation.steps.iter().map(|step| step.record.state).collect()
}

/// The neighbours that an operation undoes something at, in its order.
pub(crate) fn retired(operation: &Operation) -> Vec<&str> {
    assert!(operation.steps.iter().all(|step| step.record.action == Action::Retire), "{operation:?}");
    operation.steps.iter().map(|step| step.record.connector.as_str()).collect()
}
