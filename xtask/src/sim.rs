//! The seeded simulation of engine and store, and the proof that it finds something.

use anyhow::{Result, ensure};

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
        println!("\n==> sim: looking for the planted bug `{bug}`");
        let target = cache::folder().join("sim-target");
        let (survived, said) = simulation().env("CARGO_TARGET_DIR", target).within(&copy).output()?;
        let found = said.lines().find(|line| line.contains("MUSTER_SIM_SEED="));
        ensure!(!survived && found.is_some(), "the simulation did not find `{bug}`:\n{said}");
        println!("    found: {}", found.unwrap_or_default());
    }
    Ok(())
}

fn simulation() -> Run {
    cargo(&["test", "--locked", "--package", "engine", "--lib", "sim::"])
}
