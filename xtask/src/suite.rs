//! The whole suite, in the order in which failures are cheapest.

use std::time::Instant;

use anyhow::Result;

use crate::cache;
use crate::planted;
use crate::run::{Run, cargo, program};

/// The packages of the programs that are shipped, and of the neighbour that they talk to.
const PROGRAMS: [&str; 6] = ["--package", "server", "--package", "cli", "--package", "testkit"];
/// Seconds for each fuzz target.
const FUZZ_SECONDS: u64 = 20;

/// Installs what the tests need and runs everything.
pub(crate) fn all() -> Result<()> {
    let begun = Instant::now();
    install()?;
    cargo(&["fmt", "--all", "--check"]).run()?;
    crate::tidy::check()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]).run()?;
    programs()?;
    tests(&[]).run()?;
    crate::fuzz::all(FUZZ_SECONDS)?;
    println!("\neverything passed in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Builds the programs as they are shipped, the neighbour that they talk to, and the one that the crash tests
/// cut off.
pub(crate) fn programs() -> Result<()> {
    cargo(&["build", "--release", "--locked"]).args(&PROGRAMS).run()?;
    let writer = ["--features", "store/test-durability", "--example", "crash_writer"];
    cargo(&["build", "--workspace", "--locked"]).args(&writer).run()
}

/// The end-to-end tests with one of these words in their names; all without a word.
pub(crate) fn e2e(names: &[&str]) -> Result<()> {
    install()?;
    programs()?;
    tests(&["--test", "e2e", "--"]).args(names).run()
}

/// The end-to-end tests of one name, which go on as often or as long as a variable says.
pub(crate) fn repeated(name: &str, variable: &str, times: u32) -> Result<()> {
    install()?;
    programs()?;
    tests(&["--test", "e2e", "--", name, "--nocapture"]).env(variable, times.to_string()).run()
}

/// The fault matrix: `all`, one case, or a sample where nothing is said.
pub(crate) fn faults(which: &str) -> Result<()> {
    install()?;
    programs()?;
    matrix().env("MUSTER_FAULTS", which).run()
}

/// Plants a bug in a copy of the tree, and lets the fault matrix find it in the programs that are built of it.
pub(crate) fn faults_planted() -> Result<()> {
    const BUG: &str = "unanswered";
    install()?;
    let copy = planted::tree(BUG, &format!("e2e/tests/e2e/faults/planted/{BUG}.patch"))?;
    let target = cache::folder().join("faults-target");
    cargo(&["build", "--locked"]).args(&PROGRAMS).env("CARGO_TARGET_DIR", &target).within(&copy).run()?;
    planted::find(BUG, matrix().env("MUSTER_BIN_DIR", target.join("debug")), "MUSTER_FAULTS=")
}

fn matrix() -> Run {
    tests(&["--test", "e2e", "--", "faults::", "--nocapture"])
}

/// Writes the table of refusals that a test compares with the code.
pub(crate) fn write_refusals() -> Result<()> {
    cargo(&["test", "--locked", "--package", "server", "--lib", "refusals"])
        .env("MUSTER_WRITE_DOCS", "1")
        .run()
}

fn install() -> Result<()> {
    program("sh", &["e2e/install"]).env("MUSTER_CACHE", cache::folder()).run()
}

/// Tests of the whole workspace: always all of it, so that no dependency is built twice with other features.
/// One after the other, because an end-to-end test wants the machine for itself.
fn tests(which: &[&str]) -> Run {
    cargo(&["test", "--workspace", "--locked"])
        .args(which)
        .env("RUST_TEST_THREADS", "1")
        .env("MUSTER_BIN_DIR", cache::any_target().join("release"))
        .env("MUSTER_CACHE", cache::folder())
}
