//! The power fails at a seeded sync call of a seeded file: what was not synced may be gone.
//!
//! The server runs on a small file system, because there it keeps small logs: they are moved into their
//! files and begun anew under a load of seconds instead of minutes.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::fleet::{self, Promise};
use e2e::musterd::{Musterd, Setup};
use e2e::settings::{Chance, seed};
use testkit::loopfs::SmallFileSystem;
use testkit::power_cut::{Cut, PowerCut, SyncCounts};
use testkit::wait::eventually;

use super::{crash_runs, wait_for_load};

/// How much load the sync calls are counted under: enough for each log to begin anew.
const LOAD: u64 = 6000;

/// How often the database itself is synced under that load: once at the start and at each checkpoint.
const CHECKPOINTS: u64 = 4;

/// A file that is synced less often than this is synced at the start and the end only.
const UNDER_LOAD: u64 = 8;

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_power_fails() -> Result<()> {
    let mut chance = Chance::new(seed("power cut"));
    let small = SmallFileSystem::new()?;
    let counts = count(&small)?;
    let mut told = 0;
    for run in 0..crash_runs() {
        let (seed, during_load) = (chance.draw(), run % 4 != 0);
        let cut = choose(seed, counts.clone(), during_load)?;
        told += power_cut(&small, seed, &cut)
            .with_context(|| format!("run {run}: seed {seed}, sync call {} of {}", cut.at, cut.file))?;
    }
    ensure!(told > 0, "there was no load");
    Ok(())
}

/// One cut of four may be at the start; the others are under load.
fn choose(seed: u64, mut counts: SyncCounts, during_load: bool) -> Result<Cut> {
    counts.retain(|_, calls| !during_load || *calls >= UNDER_LOAD);
    Cut::choose(seed, &counts).context("nothing was synced")
}

/// The sync calls of a run without a cut.
fn count(small: &SmallFileSystem) -> Result<SyncCounts> {
    let setup = on(small)?;
    let layer = PowerCut::new(0)?;
    let server = setup.launch(|command| layer.count_only(command, setup.folder()))?;
    server.wait_until_ready()?;
    let fleet = super::fleet(&setup, "count", 0);
    wait_for_load(&server, &fleet, LOAD)?;
    eventually("some checkpoints", PATIENCE, || {
        layer.sync_counts().ok().filter(|counts| counts.get("db/main.db") >= Some(&CHECKPOINTS))
    })?;
    server.kill()?;
    fleet.stop()?;
    fs::remove_dir_all(setup.folder())?;
    layer.check_report()?;
    let mut counts = layer.sync_counts()?;
    // A draft carries the number of its process, so no other run has it.
    counts.retain(|path, _| !path.contains(".new-"));
    Ok(counts)
}

fn on(small: &SmallFileSystem) -> Result<Setup> {
    let folder = small.path().join("data");
    fs::create_dir(&folder)?;
    Ok(Setup::quickstart()?.on(&folder))
}

/// Lets the power fail and looks at what is left; how many devices had been told.
fn power_cut(small: &SmallFileSystem, seed: u64, cut: &Cut) -> Result<u64> {
    let setup = on(small)?;
    let layer = PowerCut::new(seed)?;
    let server = setup.launch(|command| layer.command(command, setup.folder(), cut))?;
    let promises = load_until_the_end(server, seed)?;
    fs::remove_dir_all(setup.folder())?;
    let what = layer.what_happened().context("the server ended, and not by the power")?;

    let kept = setup.home().join("kept");
    layer.recovered(&kept)?;
    let server = setup.clone().on(&kept).start().with_context(|| format!("the start after {what}"))?;
    fleet::check(&server, &promises).with_context(|| format!("the power failed {what}"))?;
    fleet::check_twins(&server)?;
    server.stop()?;
    Ok(promises.len() as u64)
}

fn load_until_the_end(mut server: Musterd, seed: u64) -> Result<Vec<Promise>> {
    if server.wait_until_ready().is_err() {
        // Cut before anybody was told anything, or an end that is not the power's: the caller looks.
        return Ok(Vec::new());
    }
    let fleet = super::fleet(server.setup(), "cut", seed);
    server.process_mut().wait(PATIENCE)?;
    fleet.stop()
}
