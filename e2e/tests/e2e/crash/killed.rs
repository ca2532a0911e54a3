//! `kill -9` at random instants.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::fleet::{self, Promise};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use e2e::settings::{Chance, seed};
use testkit::process::{Process, binary};
use testkit::wait::eventually;

use super::{crash_runs, wait_for_load};

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_server_is_killed() -> Result<()> {
    let mut chance = Chance::new(seed("killed"));
    let setup = Setup::quickstart()?;
    let mut server = setup.start()?;
    let mut promises = Vec::new();
    for run in 0..crash_runs() {
        let load = Load::choose(run, &mut chance);
        let fresh = killed(server, load, &mut chance).with_context(|| format!("run {run}"))?;
        server = setup.start().with_context(|| format!("run {run}: the start after the kill"))?;
        fleet::check(&server, &fresh).with_context(|| format!("run {run}"))?;
        promises.extend(fresh);
    }
    ensure!(promises.len() as u64 > crash_runs(), "there was no load");
    fleet::check(&server, &promises)?;
    fleet::check_twins(&server)
}

/// Who makes the load: the simulator, by either protocol, or our own fleet by both.
enum Load {
    Fleet { label: String, seed: u64 },
    Simulator { wire: &'static str, seed: u64 },
}

impl Load {
    fn choose(run: u64, chance: &mut Chance) -> Self {
        let seed = chance.draw();
        match run % 3 {
            0 => Self::Fleet { label: format!("run-{run}"), seed },
            1 => Self::Simulator { wire: "thingsboard-http", seed },
            _ => Self::Simulator { wire: "thingsboard-mqtt", seed },
        }
    }
}

/// Kills the server while the load runs; what the load was told until then.
fn killed(server: Musterd, load: Load, chance: &mut Chance) -> Result<Vec<Promise>> {
    let enough = 1 + chance.below(300);
    let instant = Duration::from_micros(chance.below(20_000));
    match load {
        Load::Fleet { label, seed } => {
            let fleet = super::fleet(server.setup(), &label, seed);
            wait_for_load(&server, &fleet, enough)?;
            kill(server, instant)?;
            fleet.stop()
        }
        Load::Simulator { wire, seed } => {
            let file = server.setup().home().join(format!("acknowledged-{seed}"));
            let mut simulator = simulate(&server, wire, seed, &file)?;
            eventually("the load", PATIENCE, || (lines(&file) >= enough).then_some(()))?;
            kill(server, instant)?;
            // What it has noted by now stays: a line is written whole.
            simulator.kill()?;
            fleet::acknowledged(&file)
        }
    }
}

fn kill(server: Musterd, instant: Duration) -> Result<()> {
    server.must_be_running()?;
    // Not a wait for anything: the instant is the point.
    thread::sleep(instant);
    server.kill().map(drop)
}

fn simulate(server: &Musterd, wire: &str, seed: u64, acknowledged: &Path) -> Result<Process> {
    let address = server.address();
    let target = if wire == "thingsboard-http" { address.http() } else { address.mqtt() };
    let mut command = Command::new(binary("muster")?);
    command.args([
        "simulate",
        "--wire",
        wire,
        "--devices",
        "1000000",
        "--connections",
        "16",
        "--telemetry=3",
    ]);
    command.args(["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET]);
    command.args(["--target", &target.to_string(), "--seed", &seed.to_string()]);
    command.arg("--acknowledged").arg(acknowledged);
    Process::start(&mut command)
}

fn lines(file: &Path) -> u64 {
    fs::read(file).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count() as u64)
}
