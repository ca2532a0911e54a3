//! Whatever ends the server, what it acknowledged is there afterwards.
//!
//! `MUSTER_CRASH_RUNS` says how often (20 unless set), `MUSTER_SEED` replays a run that was printed.

mod full_disk;
mod killed;
mod power_cut;
mod writer;

use anyhow::Result;
use e2e::PATIENCE;
use e2e::device::Group;
use e2e::fleet::Fleet;
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use e2e::settings::runs;
use testkit::wait::eventually;

/// How many devices are busy at once.
const WORKERS: u64 = 8;

fn crash_runs() -> u64 {
    runs("MUSTER_CRASH_RUNS", 20)
}

fn fleet(setup: &Setup, label: &str, seed: u64) -> Fleet {
    Fleet::start(setup.address(), &Group::new(SEED_KEY, SEED_SECRET), label, WORKERS, seed)
}

/// Waits for this many acknowledgements, or for the server's end.
fn wait_for_load(server: &Musterd, fleet: &Fleet, acknowledgements: u64) -> Result<()> {
    eventually("the load", PATIENCE, || {
        let told = fleet.ledger().granted() + fleet.ledger().stored();
        (told >= acknowledgements || server.process().has_ended()).then_some(())
    })
}
