//! Two servers on one PostgreSQL: they are killed in turn, and so is the database.
//!
//! `MUSTER_SERVER_KILLS` says how often (12 unless set), `MUSTER_SEED` replays a run that was printed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Group, Mqtt};
use e2e::fleet::{self, Fleet, Promise};
use e2e::history;
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use e2e::settings::{Chance, runs, seed};
use testkit::postgres::Postgres;
use testkit::wait::eventually;

/// How many devices are busy at once at each server.
const WORKERS: u64 = 4;

/// Two servers that share a database and a key-encryption key.
struct Pair {
    setups: [Setup; 2],
    servers: [Option<Musterd>; 2],
}

impl Pair {
    fn start(url: &str, keys: &Path) -> Result<Pair> {
        let setup = |name: &str| -> Result<Setup> {
            let setup = Setup::quickstart()?.setting("NAME", name).setting("DATABASE__URL", url);
            Ok(setup.setting("KEYS__FILE", keys.join("kek")))
        };
        let setups = [setup("one")?, setup("two")?];
        let servers = [Some(setups[0].start()?), Some(setups[1].start()?)];
        Ok(Pair { setups, servers })
    }

    fn server(&self, which: usize) -> Result<&Musterd> {
        self.servers[which].as_ref().context("it was killed")
    }

    /// Kills one and starts it again.
    fn kill(&mut self, which: usize) -> Result<()> {
        let server = self.servers[which].take().context("it was killed")?;
        server.must_be_running()?;
        server.kill()?;
        self.servers[which] = Some(self.setups[which].start()?);
        Ok(())
    }
}

fn fleet(setup: &Setup, label: &str, seed: u64) -> Fleet {
    Fleet::start(setup.address(), &Group::new(SEED_KEY, SEED_SECRET), label, WORKERS, seed)
}

/// Waits until each fleet was told something more.
fn wait_for_load(fleets: &[Fleet; 2], more: u64) -> Result<()> {
    for fleet in fleets {
        let before = fleet.ledger().granted();
        eventually("the load", PATIENCE, || (fleet.ledger().granted() >= before + more).then_some(()))?;
    }
    Ok(())
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_two_servers_and_their_database_are_killed_in_turn() -> Result<()>
{
    let mut chance = Chance::new(seed("servers"));
    let postgres = Postgres::start()?;
    let database = postgres.database()?;
    let keys = tempfile::Builder::new().prefix("muster-keys-").tempdir()?;
    let mut pair = Pair::start(&postgres.url(&database), keys.path())?;
    let seeds = [chance.draw(), chance.draw()];
    let fleets = [fleet(&pair.setups[0], "one", seeds[0]), fleet(&pair.setups[1], "two", seeds[1])];
    for run in 0..runs("MUSTER_SERVER_KILLS", 12) {
        wait_for_load(&fleets, 1 + chance.below(200)).with_context(|| format!("run {run}"))?;
        match run % 8 {
            3 => postgres.kill().and_then(|()| postgres.resume()),
            7 => postgres.stop().and_then(|()| postgres.resume()),
            which => pair.kill((which % 2) as usize),
        }
        .with_context(|| format!("run {run}"))?;
    }
    wait_for_load(&fleets, 20)?;
    let promises: Vec<Vec<Promise>> = fleets.into_iter().map(Fleet::stop).collect::<Result<_>>()?;
    ensure!(promises.iter().all(|promises| promises.len() > 20), "there was no load");
    let stored = history::temperatures_in(&postgres, &database)?;
    // Each server keeps what the other one has promised.
    fleet::check_against(pair.server(1)?, &promises[0], &stored)?;
    fleet::check_against(pair.server(0)?, &promises[1], &stored)?;
    fleet::check_twins(pair.server(0)?)
}

#[test]
fn what_an_operator_does_at_one_server_holds_at_the_other_one() -> Result<()> {
    let postgres = Postgres::start()?;
    let keys = tempfile::Builder::new().prefix("muster-keys-").tempdir()?;
    let pair = Pair::start(&postgres.url(&postgres.database()?), keys.path())?;
    let fleet = fleet(&pair.setups[1], "device", 1);
    wait_for_load_of(&fleet, 3)?;
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

fn wait_for_load_of(fleet: &Fleet, devices: u64) -> Result<()> {
    eventually("the load", Duration::from_secs(60), || (fleet.ledger().granted() >= devices).then_some(()))
}
