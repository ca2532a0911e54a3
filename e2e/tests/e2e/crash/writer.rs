//! The power-cut layer is no paper tiger: with fewer syncs the same harness finds losses.
//!
//! `musterd` has no switch for its syncs, so the store's own test program `crash_writer` is cut off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::settings::{Chance, seed};
use testkit::power_cut::{Cut, PowerCut};
use testkit::process::{Process, Stream, binary};

use super::crash_runs;

/// How many batches of eight devices and eight values are written where nothing cuts them short.
const BATCHES: u64 = 48;

#[test]
fn a_store_that_syncs_loses_nothing_when_the_power_fails() -> Result<()> {
    let losses = losses("full", crash_runs())?;
    ensure!(losses.is_empty(), "{losses:?}");
    Ok(())
}

#[test]
fn a_store_that_syncs_at_checkpoints_only_is_caught_losing() -> Result<()> {
    ensure!(!losses("normal", 10)?.is_empty(), "the layer has lost its bite");
    Ok(())
}

#[test]
fn a_store_that_never_syncs_is_caught_losing() -> Result<()> {
    ensure!(!losses("off", 10)?.is_empty(), "the layer has lost its bite");
    Ok(())
}

/// Cuts the power so many times; the runs in which something acknowledged was lost.
fn losses(synchronous: &str, runs: u64) -> Result<Vec<String>> {
    let mut chance = Chance::new(seed(synchronous));
    let mut losses = Vec::new();
    for run in 0..runs {
        let seed = chance.draw();
        let lost = cut_short(synchronous, seed).with_context(|| format!("run {run}: seed {seed}"))?;
        losses.extend(lost.map(|what| format!("run {run}, seed {seed}: {what}")));
    }
    Ok(losses)
}

/// One run; what was lost in it.
fn cut_short(synchronous: &str, seed: u64) -> Result<Option<String>> {
    let home = tempfile::tempdir()?;
    let folder = home.path().join("store");
    fs::create_dir(&folder)?;
    let layer = PowerCut::new(seed)?;
    let mut command = writer(&folder, synchronous)?;
    layer.command(&mut command, &folder, &cut(synchronous, seed)?)?;
    let mut process = Process::start(&mut command)?;
    let status = process.wait(PATIENCE)?;
    let Some(what) = layer.what_happened() else {
        // No two runs sync equally often: the chosen call did not come.
        ensure!(status.success(), "{}", process.transcript());
        return Ok(None);
    };
    let kept = home.path().join("kept");
    layer.recovered(&kept)?;
    let found = check(&kept, &process.output_file(Stream::Out))?;
    Ok(found.map(|found| format!("{what}: {found}")))
}

/// Three of four cuts come after a batch, at a sync of a file that is no database: a store that never syncs
/// makes no sync call of its own to cut at. The others come anywhere.
fn cut(synchronous: &str, seed: u64) -> Result<Cut> {
    if !seed.is_multiple_of(4) {
        return Ok(Cut { file: "rounds".to_owned(), at: 1 + seed % BATCHES });
    }
    let folder = tempfile::tempdir()?;
    let layer = PowerCut::new(0)?;
    let mut command = writer(folder.path(), synchronous)?;
    layer.count_only(&mut command, folder.path())?;
    let mut process = Process::start(&mut command)?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "{}", process.transcript());
    layer.check_report()?;
    Cut::choose(seed, &layer.sync_counts()?).context("nothing was synced")
}

fn writer(folder: &Path, synchronous: &str) -> Result<Command> {
    let mut command = Command::new(program()?);
    command.arg(folder).args(["--synchronous", synchronous, "--batches", &BATCHES.to_string()]);
    Ok(command)
}

fn program() -> Result<PathBuf> {
    binary("examples/crash_writer")
        .context("cargo build --package store --example crash_writer --features test-durability")
}

/// Whether all that was printed is there; else what is not.
fn check(folder: &Path, acknowledged: &Path) -> Result<Option<String>> {
    let mut command = Command::new(program()?);
    command.arg(folder).arg("--check").stdin(Stdio::from(File::open(acknowledged)?));
    let output = command.output()?;
    if output.status.success() {
        return Ok(None);
    }
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    Ok(Some(String::from_utf8_lossy(said).into_owned()))
}
