//! Fuzzing every parser that faces the network, and the proof that the targets find something.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::cache;
use crate::planted;
use crate::run::{Run, program};

const TARGETS: [&str; 5] =
    ["certificate", "mqtt_packet", "provision_request", "provision_response", "telemetry"];

/// How long a planted bug may hide, in seconds.
const PLANTED_SECONDS: u64 = 60;

/// Runs every target, so many seconds each, from the recordings.
pub(crate) fn all(seconds: u64) -> Result<()> {
    if !is_ready()? {
        println!(
            "\n==> fuzzing is LEFT OUT: there is no nightly compiler (rustup toolchain install nightly)"
        );
        return Ok(());
    }
    seeds(&crate::root())?;
    TARGETS.iter().try_for_each(|target| fuzz(&crate::root(), target, seconds).run())
}

/// Plants each bug in a copy of the tree and lets its target find it.
pub(crate) fn planted() -> Result<()> {
    ensure!(is_ready()?, "fuzzing needs a nightly compiler: rustup toolchain install nightly");
    for target in TARGETS {
        let copy = planted::tree(target, &format!("fuzz/planted/{target}.patch"))?;
        seeds(&copy)?;
        println!("\n==> {target}: looking for the planted bug, at most {PLANTED_SECONDS} s");
        let (survived, said) = fuzz(&copy, target, PLANTED_SECONDS).output()?;
        let found = !survived && said.contains("panicked at");
        ensure!(found, "{target} did not find its planted bug:\n{said}");
        println!("    found");
    }
    Ok(())
}

/// Whether there is a nightly compiler; installs cargo-fuzz into the cache where it is missing.
fn is_ready() -> Result<bool> {
    if !program("cargo", &["+nightly", "--version"]).succeeds() {
        return Ok(false);
    }
    if !tool().exists() {
        program("cargo", &["install", "cargo-fuzz", "--locked", "--root"]).args(&[cache::folder()]).run()?;
    }
    Ok(true)
}

fn tool() -> PathBuf {
    cache::folder().join("bin/cargo-fuzz")
}

/// Writes the corpus from the recordings.
fn seeds(tree: &Path) -> Result<()> {
    program("cargo", &["run", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--bin", "seeds"])
        .env("CARGO_TARGET_DIR", cache::folder().join("fuzz-target"))
        .within(tree)
        .run()
}

fn fuzz(tree: &Path, target: &str, seconds: u64) -> Run {
    let time = format!("-max_total_time={seconds}");
    program(tool(), &["fuzz", "run", target, "--", &time, "-max_len=512", "-len_control=0"])
        .env("RUSTUP_TOOLCHAIN", "nightly")
        .env("CARGO_TARGET_DIR", cache::folder().join("fuzz-target"))
        .within(tree)
}
