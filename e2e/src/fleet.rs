//! Many devices at once, and the ledger of what they were promised.
//!
//! A device counts as promised once it has read SUCCESS, a value once it has read 200 or PUBACK. What was
//! sent and not answered may be there or not, but never twice.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::address::Address;
use crate::device::{Answer, Group, Http, Mqtt};
use crate::history;
use crate::musterd::Musterd;
use crate::operator::Operator;
use crate::settings::Chance;

/// How long a device that was told to come again rests.
const REST: Duration = Duration::from_millis(5);

/// What a device was told.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Its name.
    pub name: String,
    /// Its token.
    pub token: String,
    /// How many values were acknowledged: `temperature` = 1, 2, 3 and so on, one after the other.
    pub values: u64,
}

/// What a fleet was told so far.
#[derive(Debug, Default)]
pub struct Ledger {
    promises: Mutex<Vec<Promise>>,
    wrong: Mutex<Vec<String>>,
    granted: AtomicU64,
    stored: AtomicU64,
    later: AtomicU64,
}

impl Ledger {
    /// How many devices have their credentials.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// How many values were acknowledged.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// How many requests were put off: the temporary error, or no answer.
    #[must_use]
    pub fn put_off(&self) -> u64 {
        self.later.load(Ordering::Relaxed)
    }

    /// The promises.
    ///
    /// # Errors
    /// If a device was answered what the protocol page does not allow here.
    pub fn promises(&self) -> Result<Vec<Promise>> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(wrong.is_empty(), "{} wrong answers, for example: {}", wrong.len(), wrong.join("\n"));
        Ok(self.promises.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// One of the promises, of a device that does no more by itself.
    #[must_use]
    pub fn promise_at(&self, place: usize) -> Option<Promise> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
    }

    fn promise(&self, promise: Promise) {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).push(promise);
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// Devices that come one after the other on several connections, half by HTTP and half by MQTT.
#[derive(Debug)]
pub struct Fleet {
    stop: Arc<AtomicBool>,
    ledger: Arc<Ledger>,
    workers: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Lets them come. `label` begins their names, so that two fleets do not meet.
    #[must_use]
    pub fn start(address: Address, group: &Group, label: &str, workers: u64, seed: u64) -> Self {
        Self::at(&[address], false, group, label, workers, seed)
    }

    /// The same with devices that come again under their names, at whichever of the addresses, until they have
    /// credentials.
    #[must_use]
    pub fn insist(addresses: &[Address], group: &Group, label: &str, workers: u64, seed: u64) -> Self {
        Self::at(addresses, true, group, label, workers, seed)
    }

    fn at(addresses: &[Address], insists: bool, group: &Group, label: &str, workers: u64, seed: u64) -> Self {
        let (stop, ledger) = (Arc::new(AtomicBool::new(false)), Arc::new(Ledger::default()));
        let worker = |number| Worker {
            addresses: addresses.to_vec(),
            insists,
            group: group.clone(),
            label: format!("{label}-{number}"),
            chance: Chance::new(seed.wrapping_add(number)),
            stop: Arc::clone(&stop),
            ledger: Arc::clone(&ledger),
        };
        let workers = (0..workers).map(worker).map(|worker| thread::spawn(move || worker.run())).collect();
        Self { stop, ledger, workers }
    }

    /// What they were told so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Sends them home.
    ///
    /// # Errors
    /// As [`Ledger::promises`].
    pub fn stop(mut self) -> Result<Vec<Promise>> {
        self.end();
        self.ledger.promises()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                self.ledger.wrong("a worker panicked".to_owned());
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.end();
    }
}

struct Worker {
    addresses: Vec<Address>,
    insists: bool,
    group: Group,
    label: String,
    chance: Chance,
    stop: Arc<AtomicBool>,
    ledger: Arc<Ledger>,
}

/// What one exchange came to.
enum Came<T> {
    Good(T),
    /// The temporary error, or no answer: a device comes again.
    Later,
    Wrong(String),
}

impl Worker {
    fn run(mut self) {
        let mut device = 0;
        while !self.is_over() {
            let name = format!("{}-{device}", self.label);
            let by_http = self.chance.below(2) == 0;
            let values = self.chance.below(4);
            match if by_http { self.by_http(&name, values) } else { self.by_mqtt(&name, values) } {
                Came::Good(()) => device += 1,
                Came::Later => {
                    device += u64::from(!self.insists);
                    self.rest();
                }
                Came::Wrong(what) => {
                    device += 1;
                    self.ledger.wrong(format!("{name}: {what}"));
                }
            }
        }
    }

    /// Where it goes this time.
    fn address(&mut self) -> Address {
        let which = self.chance.below(self.addresses.len() as u64);
        self.addresses[which as usize]
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn rest(&self) {
        self.ledger.later.fetch_add(1, Ordering::Relaxed);
        thread::sleep(REST);
    }

    fn by_http(&mut self, name: &str, values: u64) -> Came<()> {
        let Ok(mut http) = Http::open(self.address().http()) else { return Came::Later };
        match judge(http.provision(&self.group.ask(name))) {
            Came::Good(token) => self.tell(name, token, values, |token, value| {
                let Ok(reply) = http.telemetry(token, value) else { return Came::Later };
                match reply.status {
                    200 => Came::Good(()),
                    503 => Came::Later,
                    _ => Came::Wrong(format!("telemetry: {}", reply.status_line)),
                }
            }),
            Came::Later => Came::Later,
            Came::Wrong(what) => Came::Wrong(what),
        }
    }

    fn by_mqtt(&mut self, name: &str, values: u64) -> Came<()> {
        let Ok(mut mqtt) = Mqtt::open_to_provision(self.address().mqtt()) else { return Came::Later };
        match judge(mqtt.provision(&self.group.ask(name))) {
            Came::Good(token) => {
                let (mut session, there) = (None, self.address().mqtt());
                self.tell(name, token, values, |token, value| publish_in(&mut session, there, token, value))
            }
            Came::Later => Came::Later,
            Came::Wrong(what) => Came::Wrong(what),
        }
    }

    /// Notes the promise, once it has posted values and counted those that were acknowledged. Whatever becomes of
    /// those, the device has its credentials and does not come again.
    fn tell(
        &self,
        name: &str,
        token: String,
        values: u64,
        mut post: impl FnMut(&str, &Value) -> Came<()>,
    ) -> Came<()> {
        self.ledger.granted.fetch_add(1, Ordering::Relaxed);
        let mut promise = Promise { name: name.to_owned(), token, values: 0 };
        let mut end = Came::Good(());
        while promise.values < values {
            let value = json!({"temperature": promise.values + 1});
            match post(&promise.token, &value) {
                Came::Good(()) => {
                    promise.values += 1;
                    self.ledger.stored.fetch_add(1, Ordering::Relaxed);
                }
                Came::Later => {
                    self.rest();
                    break;
                }
                Came::Wrong(what) => {
                    end = Came::Wrong(what);
                    break;
                }
            }
        }
        self.ledger.promise(promise);
        end
    }
}

fn publish_in(session: &mut Option<Mqtt>, address: SocketAddr, token: &str, value: &Value) -> Came<()> {
    if session.is_none() {
        match Mqtt::knock(address, &crate::device::Connect { user_name: Some(token), ..Default::default() }) {
            Ok(Ok(open)) => *session = Some(open),
            // 3: the server cannot look the token up now.
            Ok(Err(3)) | Err(_) => return Came::Later,
            Ok(Err(code)) => return Came::Wrong(format!("a promised token was refused with {code:#04x}")),
        }
    }
    match session.as_mut().map(|session| session.telemetry(value)) {
        Some(Ok(true)) => Came::Good(()),
        _ => Came::Later,
    }
}

fn judge(answer: Result<Answer>) -> Came<String> {
    match answer {
        Ok(answer) if answer.token().is_some() => Came::Good(answer.into_token().unwrap_or_default()),
        // A connection that breaks within an answer has given none.
        Ok(Answer::Later) | Err(_) => Came::Later,
        Ok(other) => Came::Wrong(format!("{other:?}")),
    }
}

/// What the simulator noted with `--acknowledged`.
///
/// # Errors
/// If the file cannot be read, or holds what the simulator does not write.
pub fn acknowledged(file: &Path) -> Result<Vec<Promise>> {
    let mut promises: Vec<Promise> = Vec::new();
    let mut places = HashMap::new();
    for line in fs::read_to_string(file)?.lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            [name, "ACCESS_TOKEN", token] => {
                places.insert(name.to_owned(), promises.len());
                promises.push(Promise { name: name.to_owned(), token: token.to_owned(), values: 0 });
            }
            [name, "TELEMETRY", _] => {
                let place = places.get(name).with_context(|| format!("telemetry before a token: {line}"))?;
                promises[*place].values += 1;
            }
            _ => bail!("not a line of the simulator: {line:?}"),
        }
    }
    Ok(promises)
}

/// Checks that the server keeps every promise: each device is there and can use its token, each value is
/// there once, and the journal is whole.
///
/// # Errors
/// The first broken promise.
pub fn check(server: &Musterd, promises: &[Promise]) -> Result<()> {
    check_against(server, promises, &history::temperatures(server.setup().folder())?)
}

/// The same, where it is known how many temperatures of each device are stored.
///
/// # Errors
/// The first broken promise.
pub fn check_against(server: &Musterd, promises: &[Promise], stored: &HashMap<String, u64>) -> Result<()> {
    let mut operator = server.operator()?;
    let mut http = Http::open(server.address().http())?;
    for promise in promises {
        let device = operator.get(&format!("/devices/{}", promise.name))?;
        ensure!(device["state"] == "provisioned", "{promise:?} is {device}");
        check_values(&mut operator, promise, stored.get(&promise.name).copied().unwrap_or_default())?;
        let reply = http.telemetry(&promise.token, &json!({"again": true}))?;
        ensure!(reply.status == 200, "{promise:?} cannot use its token: {}", reply.status_line);
    }
    let verified = server.muster()?.json(&["audit", "verify"])?;
    ensure!(verified["ok"] == true, "the journal is broken: {verified}");
    Ok(())
}

/// Values come one after the other and stop at the first that is not acknowledged, so that one may be there
/// besides. If the newest is the n-th, n of them are stored.
fn check_values(operator: &mut Operator, promise: &Promise, stored: u64) -> Result<()> {
    let latest = operator.all(&format!("/devices/{}/telemetry", promise.name))?;
    let newest = latest.iter().find(|value| value["key"] == "temperature");
    let newest = newest.map_or(Some(0), |value| value["value"].as_u64()).context("no number")?;
    let kept = newest == promise.values || newest == promise.values + 1;
    ensure!(kept, "{promise:?}: the newest value is {newest}");
    ensure!(stored == newest, "{promise:?}: the newest value is {newest}, but {stored} are stored");
    Ok(())
}

/// Checks that no device is there twice.
///
/// # Errors
/// The first twin.
pub fn check_twins(server: &Musterd) -> Result<()> {
    let mut names = HashSet::new();
    for device in server.operator()?.all("/devices?limit=1000")? {
        let name = device["name"].as_str().context("a device without a name")?.to_owned();
        ensure!(names.insert(name), "a device is there twice: {device}");
    }
    Ok(())
}
