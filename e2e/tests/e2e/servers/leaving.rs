//! Devices that leave while others come in: some that are in, some that are still on their way.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use e2e::device::{Group, Http};
use e2e::fleet::Fleet;
use e2e::musterd::Setup;
use e2e::settings::Chance;
use serde_json::json;

use super::pair::Pair;

/// Of so many devices that have come in one leaves.
const ONE_OF: u64 = 3;

/// How long the operator rests where there is nobody who could leave, or no answer.
const REST: Duration = Duration::from_millis(20);

/// Lets devices leave, at whichever server.
pub(crate) struct Farewells<'a> {
    setups: [Setup; 2],
    fleet: &'a Fleet,
    seed: u64,
    over: AtomicBool,
}

impl Farewells<'_> {
    pub(crate) fn new<'a>(pair: &Pair, fleet: &'a Fleet, seed: u64) -> Farewells<'a> {
        Farewells { setups: pair.setups.clone(), fleet, seed, over: AtomicBool::new(false) }
    }

    /// No more from now on.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Until it is ended; who has left of those who were in, and how many have turned back on their way.
    pub(crate) fn say(&self) -> Result<(HashSet<String>, u64)> {
        let (mut chance, mut left, mut strays) = (Chance::new(self.seed), HashSet::new(), 0);
        while !self.over.load(Ordering::Relaxed) {
            let granted = self.fleet.ledger().granted();
            let chosen = self.fleet.ledger().promise_at(chance.below(granted) as usize);
            match chosen.filter(|promise| !left.contains(&promise.name)) {
                Some(promise) if (left.len() as u64 + 1) * ONE_OF <= granted => {
                    self.let_leave(&mut chance, &promise.name, false)?;
                    left.insert(promise.name);
                }
                _ => thread::sleep(REST),
            }
            if chance.below(8) == 0 {
                self.turn_back(&mut chance, &format!("stray-{strays}"))?;
                strays += 1;
            }
        }
        Ok((left, strays))
    }

    /// One asks, and leaves at once whatever it has heard.
    fn turn_back(&self, chance: &mut Chance, name: &str) -> Result<()> {
        let ask = Group::new("joined", "a secret").ask(name);
        let setup = &self.setups[chance.below(2) as usize];
        // Who was not answered may be on its way all the same.
        let _ = Http::open(setup.address().http()).and_then(|mut http| http.provision(&ask));
        self.let_leave(chance, name, true)
    }

    /// Tries until it is confirmed, at one server or the other. Where nothing was kept of a device, or an answer
    /// was lost that said it leaves, there is nobody of the name any more.
    fn let_leave(&self, chance: &mut Chance, name: &str, mut may_be_gone: bool) -> Result<()> {
        let path = format!("/devices/{name}/decommission");
        loop {
            let setup = &self.setups[chance.below(2) as usize];
            match setup.operator().and_then(|mut operator| operator.call("POST", &path, Some(&json!({})))) {
                Ok(reply) if reply.status == 200 => return Ok(()),
                Ok(reply) if may_be_gone && matches!(reply.status, 404 | 409) => return Ok(()),
                Ok(reply) if reply.status != 503 => {
                    bail!("{name} cannot leave: {} {}", reply.status_line, reply.text())
                }
                _ => may_be_gone = true,
            }
            thread::sleep(REST);
        }
    }
}
