//! What every connector has to keep, whatever neighbour it speaks to; run against the real connector and a real
//! neighbour in a process of its own.
//!
//! A new connector adds a [`Neighbour`] and one test that calls [`contract`].

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::{DeviceState, OperationId, Receipt, StepKey};
use engine::{Attributes, Connector, DeviceView, Fault};
use server::config::Config;
use testkit::receiver::{How, Misbehaviour, Receiver};
use tokio::runtime::Runtime;

/// How long a call may take before it counts as one without end. No connector here may take so long.
const WITHOUT_END: Duration = Duration::from_secs(60);

/// What the contract needs of a neighbour.
pub(crate) trait Neighbour {
    /// How many things it holds for a device.
    fn holds(&self, device: &DeviceView) -> usize;
    /// What it noticed that no careful connector does.
    fn complaints(&self) -> Vec<String>;
    /// Makes it troublesome.
    fn trouble(&self, trouble: &Trouble);
    /// Makes it well.
    fn heal(&self);
    /// The secrets that the connector speaks to it with.
    fn secrets(&self) -> Vec<String>;
}

/// What may be wrong with a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens.
    Down,
    /// It gives no answer in the connector's time, and has done the work or not.
    Silent { worked: bool },
    /// It says that something is wrong with it, and has done the work or not.
    Failing { worked: bool },
    /// It ends the connection, and has done the work or not.
    Cutting { worked: bool },
    /// Its process ends, and has done the work or not.
    Dying { worked: bool },
    /// It does the work and answers what makes no sense.
    Babbling,
    /// It does the work and answers far too much.
    Endless,
    /// It does the work and answers the right words with the wrong kinds of values.
    Confused,
    /// It says no.
    Refusing,
}

impl Trouble {
    const TEMPORARY: &[Trouble] = &[
        Trouble::Down,
        Trouble::Silent { worked: false },
        Trouble::Silent { worked: true },
        Trouble::Failing { worked: false },
        Trouble::Failing { worked: true },
        Trouble::Cutting { worked: false },
        Trouble::Cutting { worked: true },
        Trouble::Dying { worked: false },
        Trouble::Dying { worked: true },
    ];

    const PERMANENT: &[Trouble] =
        &[Trouble::Babbling, Trouble::Endless, Trouble::Confused, Trouble::Refusing];
}

/// Runs every case; a failure names its case.
pub(crate) fn contract(connector: &dyn Connector, neighbour: &dyn Neighbour) {
    let trial = Trial {
        connector,
        neighbour,
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        operations: Cell::new(0),
    };
    for (name, case) in CASES {
        let case = std::panic::AssertUnwindSafe(|| case(&trial));
        assert!(std::panic::catch_unwind(case).is_ok(), "the case `{name}` of the contract failed");
        assert_eq!(neighbour.complaints(), [""; 0], "after the case `{name}`");
    }
}

type Case = fn(&Trial<'_>);

const CASES: &[(&str, Case)] = &[
    ("it says whether it could work", it_says_whether_it_could_work),
    ("ensuring twice with one key makes one thing", ensuring_twice_makes_one_thing),
    ("ensuring anew finds the thing that is there", ensuring_anew_finds_what_is_there),
    ("what was ensured and retired is gone", what_was_retired_is_gone),
    ("retiring twice succeeds", retiring_twice_succeeds),
    ("retiring what never was succeeds", retiring_what_never_was_succeeds),
    ("retiring without a receipt finds what a lost answer left", retiring_without_a_receipt),
    ("a device may come back", a_device_may_come_back),
    ("devices do not touch each other", devices_do_not_touch_each_other),
    ("trouble that passes is temporary, and a repeat mends it", trouble_that_passes),
    ("an answer that makes no sense is permanent, and leaves nothing behind", trouble_that_stays),
    ("several calls at a time each have their own answer", several_calls_at_a_time),
];

/// One connector on trial.
struct Trial<'a> {
    connector: &'a dyn Connector,
    neighbour: &'a dyn Neighbour,
    runtime: Runtime,
    operations: Cell<u64>,
}

impl Trial<'_> {
    fn key(&self) -> StepKey {
        self.operations.set(self.operations.get() + 1);
        StepKey { operation: OperationId(self.operations.get()), index: 0 }
    }

    /// A device that nobody knows yet.
    fn device(&self) -> DeviceView {
        let number = self.key().operation.0;
        let attributes = [("room".to_owned(), 3.into()), ("näme".to_owned(), "ü\"\\\n".into())];
        DeviceView {
            id: format!("6ba7b810-9dad-41d1-80b4-{number:012x}"),
            name: format!("SN-{number} / ü"),
            tenant: "default".into(),
            profile: "line-1".into(),
            label: number.is_multiple_of(2).then(|| "hall 2".into()),
            gateway: number % 2 == 1,
            state: DeviceState::Provisioned,
            attributes: Attributes::from_iter(attributes),
        }
    }

    fn ensure(&self, device: &DeviceView, key: &StepKey) -> Result<Receipt, Fault> {
        self.within(async { self.connector.ensure(device, key).await.map(|ensured| ensured.receipt) })
    }

    fn retire(&self, device: &DeviceView, key: &StepKey, receipt: Option<&Receipt>) -> Result<(), Fault> {
        self.within(self.connector.retire(device, key, receipt))
    }

    fn check(&self) -> Result<(), Fault> {
        self.within(self.connector.check())
    }

    /// No call is without end, and no fault tells a secret.
    fn within<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let limited = async { tokio::time::timeout(WITHOUT_END, call).await };
        let answer = self.runtime.block_on(limited).expect("the call has an end");
        if let Err(fault) = &answer {
            let told = format!("{fault} {fault:?}");
            let leaks = |secret: &String| told.contains(secret.as_str());
            assert!(!self.neighbour.secrets().iter().any(leaks), "a secret is in {}", fault.code);
            assert!(!fault.message.is_empty() && !fault.code.is_empty());
        }
        answer
    }

    fn holds(&self, device: &DeviceView) -> usize {
        self.neighbour.holds(device)
    }

    fn in_trouble<T>(&self, trouble: Trouble, call: impl FnOnce() -> T) -> T {
        self.neighbour.trouble(&trouble);
        let answer = call();
        self.neighbour.heal();
        answer
    }
}

fn it_says_whether_it_could_work(trial: &Trial<'_>) {
    trial.check().unwrap();
    for trouble in [Trouble::Down, Trouble::Failing { worked: false }, Trouble::Refusing] {
        assert!(trial.in_trouble(trouble, || trial.check()).is_err(), "{trouble:?}");
    }
    trial.check().unwrap();
}

fn ensuring_twice_makes_one_thing(trial: &Trial<'_>) {
    let (device, key) = (trial.device(), trial.key());
    let first = trial.ensure(&device, &key).unwrap();
    assert_eq!(trial.ensure(&device, &key).unwrap(), first);
    assert_eq!(trial.holds(&device), 1);
}

fn ensuring_anew_finds_what_is_there(trial: &Trial<'_>) {
    let device = trial.device();
    let first = trial.ensure(&device, &trial.key()).unwrap();
    let second = trial.ensure(&device, &trial.key()).unwrap();
    assert_eq!((second.external_id, trial.holds(&device)), (first.external_id, 1));
}

fn what_was_retired_is_gone(trial: &Trial<'_>) {
    let device = trial.device();
    let receipt = trial.ensure(&device, &trial.key()).unwrap();
    trial.retire(&device, &trial.key(), Some(&receipt)).unwrap();
    assert_eq!(trial.holds(&device), 0);
}

fn retiring_twice_succeeds(trial: &Trial<'_>) {
    let device = trial.device();
    let receipt = trial.ensure(&device, &trial.key()).unwrap();
    let key = trial.key();
    for key in [key, key, trial.key()] {
        trial.retire(&device, &key, Some(&receipt)).unwrap();
        assert_eq!(trial.holds(&device), 0);
    }
}

fn retiring_what_never_was_succeeds(trial: &Trial<'_>) {
    let device = trial.device();
    trial.retire(&device, &trial.key(), None).unwrap();
    let receipt = Receipt { external_id: "never-was".into(), detail: None };
    trial.retire(&device, &trial.key(), Some(&receipt)).unwrap();
}

fn retiring_without_a_receipt(trial: &Trial<'_>) {
    for trouble in [Trouble::Cutting { worked: true }, Trouble::Silent { worked: true }, Trouble::Babbling] {
        let device = trial.device();
        trial.in_trouble(trouble, || trial.ensure(&device, &trial.key())).unwrap_err();
        assert_eq!(trial.holds(&device), 1, "{trouble:?}");
        trial.retire(&device, &trial.key(), None).unwrap();
        assert_eq!(trial.holds(&device), 0, "{trouble:?}");
    }
}

fn a_device_may_come_back(trial: &Trial<'_>) {
    let device = trial.device();
    for _ in 0..2 {
        let receipt = trial.ensure(&device, &trial.key()).unwrap();
        assert_eq!(trial.holds(&device), 1);
        trial.retire(&device, &trial.key(), Some(&receipt)).unwrap();
        assert_eq!(trial.holds(&device), 0);
    }
}

fn devices_do_not_touch_each_other(trial: &Trial<'_>) {
    let (one, other) = (trial.device(), trial.device());
    let receipts = [&one, &other].map(|device| trial.ensure(device, &trial.key()).unwrap());
    assert_ne!(receipts[0].external_id, receipts[1].external_id);
    trial.retire(&one, &trial.key(), Some(&receipts[0])).unwrap();
    assert_eq!((trial.holds(&one), trial.holds(&other)), (0, 1));
}

fn trouble_that_passes(trial: &Trial<'_>) {
    for trouble in Trouble::TEMPORARY {
        let (device, key) = (trial.device(), trial.key());
        let fault = trial.in_trouble(*trouble, || trial.ensure(&device, &key)).unwrap_err();
        assert!(!fault.permanent, "{trouble:?}: {fault:?}");
        let receipt = trial.ensure(&device, &key).unwrap();
        assert_eq!(trial.holds(&device), 1, "{trouble:?}");

        let key = trial.key();
        let fault = trial.in_trouble(*trouble, || trial.retire(&device, &key, Some(&receipt))).unwrap_err();
        assert!(!fault.permanent, "{trouble:?}: {fault:?}");
        trial.retire(&device, &key, Some(&receipt)).unwrap();
        assert_eq!(trial.holds(&device), 0, "{trouble:?}");
    }
}

fn trouble_that_stays(trial: &Trial<'_>) {
    for trouble in Trouble::PERMANENT {
        let device = trial.device();
        let fault = trial.in_trouble(*trouble, || trial.ensure(&device, &trial.key())).unwrap_err();
        assert!(fault.permanent, "{trouble:?}: {fault:?}");
        trial.retire(&device, &trial.key(), None).unwrap();
        assert_eq!(trial.holds(&device), 0, "{trouble:?}");
    }
}

fn several_calls_at_a_time(trial: &Trial<'_>) {
    let devices: Vec<(DeviceView, StepKey)> = (0..100).map(|_| (trial.device(), trial.key())).collect();
    let calls = devices.iter().map(|(device, key)| trial.connector.ensure(device, key));
    let answers = trial.within(async { Ok(futures_util::future::join_all(calls).await) }).unwrap();
    let names: std::collections::HashSet<String> =
        answers.into_iter().map(|answer| answer.unwrap().receipt.external_id).collect();
    assert_eq!(names.len(), devices.len());
    assert!(devices.iter().all(|(device, _)| trial.holds(device) == 1));
}

// === The webhook ===

/// The neighbour behind a webhook.
struct Behind(RefCell<Receiver>);

impl Neighbour for Behind {
    fn holds(&self, device: &DeviceView) -> usize {
        let things = self.0.borrow().devices().unwrap();
        things.iter().filter(|thing| thing.device == device.id && thing.name == device.name).count()
    }

    fn complaints(&self) -> Vec<String> {
        self.0.borrow().violations().unwrap()
    }

    fn trouble(&self, trouble: &Trouble) {
        let (work, how) = match *trouble {
            Trouble::Down => (false, How::Down),
            Trouble::Silent { worked } => (worked, How::Hang),
            Trouble::Failing { worked } => (worked, How::Status(500, None)),
            Trouble::Cutting { worked } => (worked, How::Cut),
            Trouble::Dying { worked } => (worked, How::Die),
            Trouble::Babbling => (true, How::Garbage),
            Trouble::Endless => (true, How::Huge),
            Trouble::Confused => (true, How::WrongType),
            Trouble::Refusing => (false, How::Status(422, None)),
        };
        self.0.borrow().misbehave(&Misbehaviour { how, work, times: None, event: None }).unwrap();
    }

    fn heal(&self) {
        // One that has died hears nothing.
        let mut receiver = self.0.borrow_mut();
        receiver.heal().or_else(|_| receiver.restart()).unwrap();
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.0.borrow().secret().unwrap()]
    }
}

fn configured(text: &str) -> Config {
    Config::read(text, std::path::Path::new("musterd.toml"), &[]).unwrap()
}

fn connector(settings: &str) -> Arc<dyn Connector> {
    let connectors = server::connectors::connectors(&configured(settings)).unwrap();
    connectors.into_iter().next().unwrap()
}

#[test]
fn the_webhook_keeps_the_contract_of_connectors() {
    let receiver = Receiver::start().unwrap();
    let webhook = connector(&(receiver.settings("connectors.crm") + "timeout_s = 1\n"));
    assert_eq!(webhook.name(), "crm");
    contract(webhook.as_ref(), &Behind(RefCell::new(receiver)));
}

#[test]
fn a_slow_neighbour_is_waited_for() {
    let receiver = Receiver::start().unwrap();
    receiver.misbehave(&Misbehaviour::after_work(How::Slow(200))).unwrap();
    let webhook = connector(&receiver.settings("connectors.crm"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(webhook.check()).unwrap();
}

#[test]
fn a_secret_is_exchanged_without_a_call_that_is_refused() {
    let receiver = Receiver::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unknown = folder.path().join("secret");
    std::fs::copy(receiver.secret_file(), &unknown).unwrap();
    std::fs::write(&unknown, "a-secret-that-the-neighbour-does-not-know-yet").unwrap();
    let known = receiver.settings("connectors.crm");
    let renamed =
        known.replace(&receiver.secret_file().display().to_string(), &unknown.display().to_string());
    let before = format!("previous_secret_file = {:?}\n", receiver.secret_file());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let check = |settings: &str| runtime.block_on(connector(settings).check());
    check(&known).unwrap();
    check(&(renamed.clone() + &before)).unwrap();
    assert_eq!(receiver.violations().unwrap(), [""; 0]);
    let fault = check(&renamed).unwrap_err();
    assert!(fault.permanent && fault.message.contains("does it know the same secret?"), "{fault}");
    assert_eq!(receiver.violations().unwrap(), ["a wrong signature"]);
}
