//! What has to be true in the end.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use e2e::address::Address;
use e2e::device::Http;
use e2e::fleet::{self, Promise};
use e2e::history;
use e2e::operator::Operator;
use serde_json::{Value, json};
use testkit::receiver::{Receiver, Thing};
use testkit::wait::eventually;

use super::pair::{NEIGHBOURS, Pair};

/// How long the last work may take: a step that has failed often is tried again after minutes.
const LONGEST: Duration = Duration::from_secs(600);

/// A wrong answer, with what the server noted of the first device that had one.
pub(crate) fn explained(pair: &Pair, error: Error) -> Error {
    let name = error
        .to_string()
        .split("example: ")
        .nth(1)
        .and_then(|rest| Some(rest.split_once(": ")?.0.to_owned()));
    let noted =
        name.map(|name| -> Result<String> { pair.setups[0].muster()?.ok(&["attempts", "--name", &name]) });
    error.context(format!("{noted:?}"))
}

/// How many tokens are tried at once.
const AT_ONCE: usize = 8;

/// How many devices are looked into one by one.
const LOOKED_INTO: usize = 1000;

/// Waits until no operation is left to do.
pub(crate) fn until_all_is_done(pair: &Pair) -> Result<()> {
    let mut operator = pair.server(0)?.operator()?;
    let mut last = Value::Null;
    eventually("all operations to end", LONGEST, || {
        last = operator.get("/operations?limit=1").ok()?;
        last["items"].as_array()?.is_empty().then_some(())
    })
    .with_context(|| format!("for example {last}"))
}

/// All that was promised is there, whichever server is asked; who has left is out; nobody is there twice.
pub(crate) fn check_promises(pair: &Pair, promises: &[Promise], left: &HashSet<String>) -> Result<()> {
    let stored = history::temperatures_in(&pair.postgres, &pair.database)?;
    let devices = pair.server(0)?.operator()?.all("/devices?limit=1000")?;
    let states: HashMap<&str, &Value> =
        devices.iter().filter_map(|device| Some((device["name"].as_str()?, &device["state"]))).collect();
    let (gone, present): (Vec<_>, Vec<_>) =
        promises.iter().cloned().partition(|promise| left.contains(&promise.name));
    ensure!(gone.len() == left.len(), "who has left was promised something");
    for promise in &present {
        let state = states.get(promise.name.as_str());
        ensure!(state.is_some_and(|state| **state == "provisioned"), "{promise:?} is {state:?}");
        let stored = stored.get(&promise.name).copied().unwrap_or_default();
        let kept = stored == promise.values || stored == promise.values + 1;
        ensure!(kept, "{promise:?}: {stored} values are stored");
    }
    check_tokens(pair, &present, 200)?;
    check_tokens(pair, &gone, 401)?;
    let some: Vec<_> = present.iter().step_by(present.len() / LOOKED_INTO + 1).cloned().collect();
    fleet::check_against(pair.server(1)?, &some, &stored)?;
    fleet::check_twins(pair.server(0)?)
}

/// What each token is answered, at one server or the other.
fn check_tokens(pair: &Pair, promises: &[Promise], status: u16) -> Result<()> {
    let check = |address: Address, part: &[Promise]| -> Result<()> {
        let mut http = Http::open(address.http())?;
        for promise in part {
            let reply = http.telemetry(&promise.token, &json!({ "still": "here" }))?;
            ensure!(reply.status == status, "{promise:?} is answered {}", reply.status_line);
        }
        Ok(())
    };
    let parts = promises.chunks(promises.len() / AT_ONCE + 1).zip(pair.addresses().into_iter().cycle());
    thread::scope(|scope| {
        let checks: Vec<_> = parts.map(|(part, address)| scope.spawn(move || check(address, part))).collect();
        checks.into_iter().try_for_each(|check| check.join().ok().context("a panic")?)
    })
}

/// Each neighbour knows each device that was to be made known to it, once, by the name that the receipt says, and
/// nobody else; says how many.
pub(crate) fn check_neighbours(pair: &Pair) -> Result<usize> {
    let mut operator = pair.server(1)?.operator()?;
    let devices = operator.all("/devices?limit=1000")?;
    let inside = |device: &&Value| device["profile"] == "joined" && device["state"] != "decommissioned";
    let inside: Vec<&Value> = devices.iter().filter(inside).collect();
    let known = [known(&pair.receivers[0])?, known(&pair.receivers[1])?];
    for device in &inside {
        ensure!(device["state"] == "provisioned", "{device} is not in");
        let name = device["name"].as_str().context("a name")?;
        let receipts = receipts(&mut operator, name)?;
        for ((connector, _), known) in NEIGHBOURS.iter().zip(&known) {
            let (receipt, thing) = (receipts.get(*connector), known.get(name));
            let is_true = receipt.is_some() && receipt == thing.map(|thing| &thing.external_id);
            ensure!(is_true, "{name} at {connector}: the receipt says {receipt:?}, and there is {thing:?}");
        }
    }
    for known in &known {
        ensure!(known.len() == inside.len(), "{} are in, {} are known", inside.len(), known.len());
    }
    Ok(inside.len())
}

/// What a neighbour holds, by the name of the device.
fn known(receiver: &Receiver) -> Result<HashMap<String, Thing>> {
    let mut known = HashMap::new();
    for thing in receiver.devices()? {
        let twin = known.insert(thing.name.clone(), thing);
        ensure!(twin.is_none(), "a device is known twice: {twin:?}");
    }
    Ok(known)
}

/// The names that a device has outside, by connector, as its newest receipts say.
fn receipts(operator: &mut Operator, name: &str) -> Result<HashMap<String, String>> {
    let mut receipts = HashMap::new();
    let operations = operator.all(&format!("/operations?device={name}"))?;
    for step in operations.iter().rev().filter_map(|it| it["steps"].as_array()).flatten() {
        if let ("ensure", "done", Some(connector), Some(thing)) = (
            step["action"].as_str().unwrap_or_default(),
            step["state"].as_str().unwrap_or_default(),
            step["connector"].as_str(),
            step["external_id"].as_str(),
        ) {
            receipts.insert(connector.to_owned(), thing.to_owned());
        }
    }
    Ok(receipts)
}

/// All leave; then no neighbour knows anybody or has anything to complain of, and both journals are whole.
pub(crate) fn let_all_leave(pair: &Pair) -> Result<()> {
    let muster = pair.server(0)?.muster()?;
    for profile in ["joined", "alone"] {
        muster.ok(&["device", "decommission", "--profile", profile, "--yes"])?;
    }
    until_all_is_done(pair)?;
    for receiver in &pair.receivers {
        let (orphans, violations) = (receiver.devices()?, receiver.violations()?);
        ensure!(orphans.is_empty(), "{} orphans, for example {:?}", orphans.len(), orphans.first());
        ensure!(violations.is_empty(), "the neighbour complains: {violations:?}");
    }
    for which in [0, 1] {
        let verified = pair.server(which)?.muster()?.json(&["audit", "verify"])?;
        let chains = verified["writers"].as_array().map_or(0, Vec::len);
        ensure!(verified["ok"] == true && chains == 2, "the journal is broken: {verified}");
    }
    Ok(())
}
