//! The seeded simulation of engine and store, and the proof that it finds something.

use anyhow::Result;

use crate::cache;
use crate::planted;
use crate::run::{Run, cargo};

/// The bugs: `engine/src/sim/planted/NAME.patch`.
const BUGS: [&str; 3] = ["guard", "fence", "sync"];

/// Lives through so many histories, from one seed on.
pub(crate) fn live(histories: u64, first: u64) -> Result<()> {
    simulation()
        .env("MUSTER_SIM_HISTORIES", histories.to_string())
        .env("MUSTER_SIM_FIRST", first.to_string())
        .run()
}

/// Plants each bug in a copy of the tree and lets the simulation find it.
pub(crate) fn planted() -> Result<()> {
    for bug in BUGS {
        let copy = planted::tree(bug, &format!("crates/engine/src/sim/planted/{bug}.patch"))?;
        let target = cache::folder().join("sim-target");
        let search = simulation().env("CARGO_TARGET_DIR", target).within(&copy);
        planted::find(bug, search, "MUSTER_SIM_SEED=")?;
    }
    Ok(())
}

fn simulation() -> Run {
    cargo(&["test", "--locked", "--package", "engine", "--lib", "sim::"])
}
