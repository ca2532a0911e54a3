//! The power-cut layer: what a disk holds when the power fails under an unmodified program.
//!
//! A `kill -9` says nothing about syncing, because the kernel still writes what the program wrote.
//! So a small library (`shim/power_cut.c`, which describes the model) is preloaded into the program
//! and keeps, beside the real folder, what a disk would hold. At a chosen sync call it writes the
//! copy that survives and kills the program.
//!
//! The copy holds what was synced plus a seeded subset of the unsynced 512-byte sectors and lengths;
//! new and changed names only after their directory's sync; never SQLite's shared-memory file.
//!
//! The program must be dynamically linked and make its file calls through the C library (Rust's
//! `std::fs` and SQLite do, `rustix` in its default form does not). What the layer could not stand
//! for makes [`PowerCut::recovered`] fail.
//!
//! A harness first runs the program once with [`PowerCut::count_only`], reads
//! [`PowerCut::sync_counts`], and then takes a [`Cut::choose`] for each seed. Each run has its own
//! `PowerCut`; the folder that was recovered is the next run's root.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::shim;

/// Sync calls by path from the root; a directory's ends with a slash, the root itself is `./`.
pub type SyncCounts = BTreeMap<String, u64>;

/// Where the power fails: at the `at`-th sync call (from 1) of the files whose path from the root
/// ends with `file`. The seed decides whether just before that sync or just after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// End of the path, for example `main.db-wal`; of a directory with its slash, `db/`.
    pub file: String,
    /// Number of the sync call, from 1.
    pub at: u64,
}

impl Cut {
    /// A seeded file of those that were synced, each equally likely, and a seeded call of it.
    /// `None` if nothing was synced.
    #[must_use]
    pub fn choose(seed: u64, counts: &SyncCounts) -> Option<Self> {
        let synced: Vec<_> = counts.iter().filter(|(_, calls)| **calls > 0).collect();
        let (file, calls) = synced.get(below(seed, 1, synced.len() as u64)? as usize)?;
        Some(Self { file: (*file).clone(), at: 1 + below(seed, 2, **calls)? })
    }
}

/// A number below `limit` from the seed (SplitMix64's output function); `None` if the limit is 0.
fn below(seed: u64, question: u64, limit: u64) -> Option<u64> {
    let mut z = seed.wrapping_add(question.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).checked_rem(limit)
}

/// On which side of its sync call a cut falls that is ordered while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the call was to bring to the disk may be lost.
    Before,
    /// The call has returned, and nothing after it has happened.
    After,
}

impl Side {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Side::Before => "before",
            Side::After => "after",
        }
    }
}

/// One run of a program above the layer. What the layer keeps is deleted on drop.
#[derive(Debug)]
pub struct PowerCut {
    shadow: TempDir,
    seed: u64,
}

impl PowerCut {
    /// A layer with nothing in it. The seed decides which unsynced sectors, lengths and removals
    /// reach the disk.
    ///
    /// # Errors
    /// If no temporary folder can be made.
    pub fn new(seed: u64) -> Result<Self> {
        let shadow = tempfile::Builder::new().prefix("power-cut-").tempdir()?;
        fs::create_dir(shadow.path().join("objects"))?;
        Ok(Self { shadow, seed })
    }

    /// Puts the layer below a command that is not started yet, over all files of `root`, which must
    /// exist: what it holds at the start counts as synced.
    ///
    /// # Errors
    /// If `root` is no folder, or the layer cannot be built.
    pub fn command(&self, command: &mut Command, root: &Path, cut: &Cut) -> Result<()> {
        self.count_only(command, root)?;
        command.env("POWER_CUT_FILE", &cut.file).env("POWER_CUT_AT", cut.at.to_string());
        Ok(())
    }

    /// As [`PowerCut::command`], without a cut: for counting the sync calls, or for [`PowerCut::order`].
    ///
    /// # Errors
    /// As [`PowerCut::command`].
    pub fn count_only(&self, command: &mut Command, root: &Path) -> Result<()> {
        ensure!(root.is_dir(), "{} must be a folder before the program starts", root.display());
        command.env("LD_PRELOAD", shim::library()?);
        command.env("POWER_CUT_SEED", self.seed.to_string());
        command.env("POWER_CUT_ROOT", root).env("POWER_CUT_SHADOW", self.shadow.path());
        Ok(())
    }

    /// Orders a cut while the program runs that [`PowerCut::count_only`] has put the layer below: its sync calls
    /// are counted from now on. To be called once.
    ///
    /// # Errors
    /// If the order cannot be written.
    pub fn order(&self, cut: &Cut, side: Side) -> Result<()> {
        let draft = self.shadow.path().join("order.new");
        fs::write(&draft, format!("{} {} {}\n", cut.at, side.word(), cut.file))?;
        Ok(fs::rename(draft, self.shadow.path().join("order"))?)
    }

    /// Takes an order back. `false` where it is being carried out, or was: the program's end is certain then.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let folder = self.shadow.path();
        fs::rename(folder.join("order"), folder.join("withdrawn")).is_ok()
    }

    /// The sync calls so far; also readable while the program runs.
    ///
    /// # Errors
    /// If the layer was not loaded, for example into a statically linked program.
    pub fn sync_counts(&self) -> Result<SyncCounts> {
        let text = fs::read_to_string(self.shadow.path().join("counts"))
            .context("the power-cut layer was not loaded: is the program dynamically linked?")?;
        text.lines().map(parse_count).collect()
    }

    /// Where the power failed, in words (`before sync call 3 of main.db-wal`), or `None` if it did
    /// not: the program ended, or still runs, with fewer sync calls.
    #[must_use]
    pub fn what_happened(&self) -> Option<String> {
        let said = fs::read_to_string(self.shadow.path().join("cut")).ok()?;
        said.ends_with('\n').then(|| said.trim_end().to_owned())
    }

    /// Moves the copy that survived to `dest`, which must not exist yet. To be called once, after
    /// the program has ended.
    ///
    /// # Errors
    /// If the power did not fail, or if the program did something that the layer cannot stand for.
    pub fn recovered(&self, dest: &Path) -> Result<()> {
        self.check_report()?;
        let Some(_) = self.what_happened() else {
            bail!("the power did not fail; sync calls: {:?}", self.sync_counts()?);
        };
        ensure!(!dest.exists(), "{} is there already", dest.display());
        let survived = self.shadow.path().join("recovered");
        if fs::rename(&survived, dest).is_ok() {
            return Ok(());
        }
        crate::run(Command::new("cp").arg("-a").arg(&survived).arg(dest))
    }

    /// Fails if the program did something that the layer cannot stand for, such as mapping a
    /// database for writing. [`PowerCut::recovered`] asks this itself; after a run that only counts
    /// the caller does.
    ///
    /// # Errors
    /// What the layer reported.
    pub fn check_report(&self) -> Result<()> {
        let report = self.shadow.path().join("report");
        if !report.exists() {
            return Ok(());
        }
        bail!("the power-cut layer cannot stand for this run:\n{}", fs::read_to_string(report)?)
    }
}

fn parse_count(line: &str) -> Result<(String, u64)> {
    let (calls, path) = line.trim().split_once(' ').with_context(|| format!("no count: {line:?}"))?;
    Ok((path.trim_end().to_owned(), calls.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> SyncCounts {
        [("main.db-wal", 1000), ("main.db", 3), ("idle", 0)].map(|(path, n)| (path.to_owned(), n)).into()
    }

    #[test]
    fn a_choice_is_a_sync_call_that_was_seen() {
        for seed in 0..500 {
            let cut = Cut::choose(seed, &counts()).unwrap();
            assert!((1..=counts()[&cut.file]).contains(&cut.at), "{cut:?}");
        }
    }

    #[test]
    fn every_file_and_every_call_of_it_gets_its_turn() {
        let mut rare: Vec<_> = (0..500).filter_map(|seed| Cut::choose(seed, &counts())).collect();
        rare.retain(|cut| cut.file == "main.db");
        assert!(rare.len() > 150);
        assert!((1..=3).all(|at| rare.iter().any(|cut| cut.at == at)));
    }

    #[test]
    fn nothing_is_chosen_where_nothing_was_synced() {
        assert_eq!(Cut::choose(1, &SyncCounts::new()), None);
    }
}
