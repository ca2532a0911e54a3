//! Two servers on one PostgreSQL, and two neighbours. For as long as `MUSTER_SERVER_SECONDS` says (60 unless set)
//! one of them is always being killed, frozen or put off: the servers in turn, the database, the neighbours. In
//! the end all that was acknowledged is there, and the neighbours know who is in, and nobody else.
//!
//! `MUSTER_SEED` replays the draws of a run that was printed.

mod ends;
mod leaving;
mod pair;
mod storm;

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Group, Http, Mqtt};
use e2e::fleet::{Fleet, Promise};
use e2e::mqtt;
use e2e::settings::{Chance, runs, seed};
use testkit::http::HttpConnection;
use testkit::wait::eventually;

use leaving::Farewells;
use pair::Pair;

/// How many devices are busy at once with what neighbours are told of.
const JOINING: u64 = 16;

/// How many are, at each server, with what is nobody's business.
const ALONE: u64 = 1;

#[test]
fn what_two_servers_promise_holds_whoever_is_killed_or_frozen_and_neighbours_know_who_is_in() -> Result<()> {
    let mut chance = Chance::new(seed("servers"));
    let duration = Duration::from_secs(runs("MUSTER_SERVER_SECONDS", 60));
    let mut pair = Pair::start()?;
    let [one, two] = pair.addresses();
    let mut alone =
        |address, label| Fleet::start(address, &Group::new("alone", "a secret"), label, ALONE, chance.draw());
    let quiet = [alone(one, "one"), alone(two, "two")];
    let joining =
        Fleet::insist(&[one, two], &Group::new("joined", "a secret"), "joined", JOINING, chance.draw());
    let farewells = Farewells::new(&pair, &joining, chance.draw());
    let (storm, (left, turned_back)) = thread::scope(|scope| -> Result<_> {
        let leaving = scope.spawn(|| farewells.say());
        let storm = storm::rage(&mut pair, &mut chance, duration);
        farewells.end();
        let left = leaving.join().ok().context("a panic among those who leave")?;
        Ok((storm?, left?))
    })?;
    let mut promises = Vec::new();
    for fleet in quiet.into_iter().chain([joining]) {
        promises.extend(fleet.stop().map_err(|error| ends::explained(&pair, error))?);
    }
    say(&format!(
        "servers: {} kills, {} database restarts, {} freezes, {} late results refused, {} provisionings \
         acknowledged, {} departures, {turned_back} more on their way",
        storm.kills,
        storm.restarts,
        storm.freezes,
        storm.refused,
        promises.len(),
        left.len()
    ));
    ensure!(promises.len() > 20 && !left.is_empty(), "there was no load");
    ensure!(storm.freezes < 4 || storm.refused > 0, "whoever was frozen held no lease");
    ends::until_all_is_done(&pair)?;
    ends::check_promises(&pair, &promises, &left)?;
    let inside = ends::check_neighbours(&pair)?;
    ends::let_all_leave(&pair)?;
    say(&format!("servers: {inside} devices were in, all have left, and no neighbour knows of any"));
    Ok(())
}

#[test]
fn what_an_operator_does_at_one_server_holds_at_the_other_one() -> Result<()> {
    let pair = Pair::start()?;
    let [_, address] = pair.addresses();
    let fleet = Fleet::start(address, &Group::new("alone", "a secret"), "device", 4, 1);
    eventually("the load", PATIENCE, || (fleet.ledger().granted() >= 3).then_some(()))?;
    let promises = fleet.stop()?;
    let (here, there) = (pair.server(0)?, pair.server(1)?);
    let connect = |promise: &Promise| Mqtt::open_with_token(there.address().mqtt(), &promise.token);
    let mut session = connect(&promises[0])?;
    let mut other = connect(&promises[1])?;
    here.muster()?.ok(&["device", "disable", &promises[0].name])?;
    let last = session.raw().read_packet()?;
    ensure!(last.is_none(), "the session goes on with {last:?}");
    ensure!(other.telemetry(&serde_json::json!({ "still": "here" }))?, "another device was closed too");
    ensure!(connect(&promises[0]).is_err(), "it may come in again");
    Ok(())
}

#[test]
fn attributes_that_are_shared_at_one_server_reach_a_device_at_the_other_one() -> Result<()> {
    let pair = Pair::start()?;
    let (here, there) = (pair.server(0)?, pair.server(1)?);
    let ask = Group::new("alone", "a secret").ask("told");
    let token = Http::open(there.address().http())?.provision(&ask)?.into_token()?;
    let mut device = Mqtt::open_with_token(there.address().mqtt(), &token)?;
    device.raw().send(&mqtt::subscribe(TOPIC, false))?;
    device.raw().read_packet()?.context("no SUBACK")?;
    let id = here.muster()?.json(&["device", "show", "told"])?["id"].clone();
    let path = format!("/api/plugins/telemetry/DEVICE/{}", id.as_str().context("no id")?);
    let secret = std::fs::read_to_string(here.setup().folder().join("keys/admin-secret"))?;
    let key = format!("ApiKey {}", secret.trim_end());
    let mut http = HttpConnection::open(here.address().http())?;
    for (verb, rest, body, told) in [
        ("POST", "/SHARED_SCOPE", r#"{"interval":5}"#, r#"{"interval":5}"#),
        ("DELETE", "/SHARED_SCOPE?keys=interval", "", r#"{"deleted":["interval"]}"#),
    ] {
        let headers = [("X-Authorization", key.as_str())];
        let reply = http.request(verb, &format!("{path}{rest}"), &headers, body.as_bytes())?;
        ensure!(reply.status == 200, "{}", reply.text());
        let heard = device.raw().read_packet()?.context("the session ended")?;
        ensure!(mqtt::payload(&heard, TOPIC, false) == Some(told.as_bytes()), "{heard:?}");
    }
    Ok(())
}

/// Where a device hears of shared attributes.
const TOPIC: &str = "v1/devices/me/attributes";

#[expect(clippy::print_stderr, reason = "the test's output is where its reader looks for the figures")]
fn say(what: &str) {
    eprintln!("{what}");
}
