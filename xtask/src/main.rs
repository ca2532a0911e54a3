//! Our chores: test, tidy, bench, crash, fuzz. Links nothing of the product.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod cache;
mod fuzz;
mod planted;
mod run;
mod sim;
mod suite;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use run::cargo;

const HELP: &str = "\
Chores of this workspace: cargo xtask COMMAND

  test                     install what the tests need, then run all of them; what CI runs
  tidy                     the rules of ARCHITECTURE.md, as tests of the tree
  refusals                 write docs/reference/refusals.md anew from the code
  bench [NAME] [--quick]   figures beside a calibration of the same run (cargo xtask bench --help)
  e2e [NAME]               the end-to-end tests, or those with NAME in their name
  crash [--all]            kills, power cuts and full disks: 20 runs of each, or 200
  faults [--all]           the fault matrix of neighbour, act and write: a kill for each pair, or at each write
  faults --planted         plant a bug in a copy of the tree and let the fault matrix find it
  servers [--seconds N]    two servers on one PostgreSQL with neighbours: killed, frozen and put off for N seconds (60)
  sim [HISTORIES [FIRST]]  seeded histories of engine and store beside a model: 10,000, from seed 1
  sim --planted            plant three bugs in copies of the tree and let the simulation find them
  fuzz [--minutes N]       every parser that faces the network, N minutes each (10)
  fuzz --planted           plant a bug for each fuzz target in a copy of the tree and let it be found
";

fn main() -> ExitCode {
    match chore(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => suite::all(),
        ["tidy"] => tidy::check(),
        ["refusals"] => suite::write_refusals(),
        ["bench", rest @ ..] => {
            suite::programs()?;
            cargo(&["run", "--release", "--locked", "--package", "bench", "--"]).args(rest).run()
        }
        ["e2e", names @ ..] => suite::e2e(names),
        ["crash"] => suite::repeated("crash", "MUSTER_CRASH_RUNS", 20),
        ["crash", "--all"] => suite::repeated("crash", "MUSTER_CRASH_RUNS", 200),
        ["faults"] => suite::faults(""),
        ["faults", "--all"] => suite::faults("all"),
        ["faults", "--planted"] => suite::faults_planted(),
        ["servers"] => suite::repeated("servers", "MUSTER_SERVER_SECONDS", 60),
        ["servers", "--seconds", seconds] => {
            suite::repeated("servers", "MUSTER_SERVER_SECONDS", seconds.parse()?)
        }
        ["sim"] => sim::live(10_000, 1),
        ["sim", "--planted"] => sim::planted(),
        ["sim", histories] => sim::live(histories.parse()?, 1),
        ["sim", histories, first] => sim::live(histories.parse()?, first.parse()?),
        ["fuzz"] => fuzz::all(10 * 60),
        ["fuzz", "--minutes", minutes] => fuzz::all(minutes.parse::<u64>()? * 60),
        ["fuzz", "--planted"] => fuzz::planted(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no chore `{}`; see cargo xtask --help", other.join(" ")),
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
