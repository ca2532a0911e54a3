//! The power fails at a seeded sync call of a seeded file: what was not synced may be gone.

use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::PATIENCE;
use e2e::fleet::{self, Promise};
use e2e::musterd::{Musterd, Setup};
use e2e::settings::{Chance, seed};
use testkit::power_cut::{Cut, PowerCut, SyncCounts};

use super::{crash_runs, wait_for_load};

/// How much load the sync calls are counted under: enough for some checkpoints.
const LOAD: u64 = 3000;

/// A file that is synced less often than this is synced at the start and the end only.
const UNDER_LOAD: u64 = 8;

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_power_fails() -> Result<()> {
    let mut chance = Chance::new(seed("power cut"));
    let mut told = 0;
    for run in 0..crash_runs() {
        let (seed, during_load) = (chance.draw(), run % 4 != 0);
        let cut = choose(seed, during_load)?;
        told += power_cut(seed, &cut)
            .with_context(|| format!("run {run}: seed {seed}, sync call {} of {}", cut.at, cut.file))?;
    }
    ensure!(told > crash_runs(), "there was no load");
    Ok(())
}

/// One cut of four may be at the start; the others are under load.
fn choose(seed: u64, during_load: bool) -> Result<Cut> {
    let mut counts = counts()?.clone();
    counts.retain(|_, calls| !during_load || *calls >= UNDER_LOAD);
    Cut::choose(seed, &counts).context("nothing was synced")
}

/// The sync calls of a run without a cut.
fn counts() -> Result<&'static SyncCounts> {
    static COUNTS: OnceLock<Result<SyncCounts, String>> = OnceLock::new();
    let counts = COUNTS.get_or_init(|| count().map_err(|error| format!("{error:#}")));
    counts.as_ref().map_err(|error| anyhow!("{error}"))
}

fn count() -> Result<SyncCounts> {
    let setup = Setup::quickstart()?;
    let layer = PowerCut::new(0)?;
    let server = setup.launch(|command| layer.count_only(command, setup.folder()))?;
    server.wait_until_ready()?;
    let fleet = super::fleet(&setup, "count", 0);
    wait_for_load(&server, &fleet, LOAD)?;
    server.kill()?;
    fleet.stop()?;
    layer.check_report()?;
    layer.sync_counts()
}

/// Lets the power fail and looks at what is left; how many devices had been told.
fn power_cut(seed: u64, cut: &Cut) -> Result<u64> {
    let setup = Setup::quickstart()?;
    let layer = PowerCut::new(seed)?;
    let server = setup.launch(|command| layer.command(command, setup.folder(), cut))?;
    let promises = load_until_the_end(server, seed)?;
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
