//! The fault matrix: each thing that can be wrong with a neighbour, in each act of a device's life, with a server
//! whose power fails before and after each of its writes. Whatever dies in between, in the end the neighbour holds
//! what it should, the device has one identity, and the receipts are true.
//!
//! A write is a sync of the main database; they are counted from the moment the act begins. Usually one write is
//! drawn for each neighbour and act, from a seed that is printed: `MUSTER_FAULTS_SEED` replays it. With
//! `MUSTER_FAULTS=all` each write has its turn; with `MUSTER_FAULTS=CASE`, as a failure prints it, only that one.

mod case;
mod drama;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use e2e::settings::{Chance, seed_of};
use testkit::power_cut::Side;

use case::{Act, Case, Trouble};
use drama::Played;

/// How many cases are played at once: each spends most of its time with waiting.
const AT_ONCE: usize = 6;

/// The most writes of one act. It is there so that a broken one ends.
const MOST_WRITES: u64 = 60;

/// From how many first writes one is drawn; where an act has fewer, from those.
const USUAL_WRITES: u64 = 12;

#[test]
fn whatever_dies_in_between_there_is_no_orphan_and_one_identity() -> Result<()> {
    let chosen = std::env::var("MUSTER_FAULTS").unwrap_or_default();
    match chosen.as_str() {
        "" => a_sample(),
        "all" => all(),
        case => case.parse::<Case>()?.play().map(drop),
    }
}

/// One kill for each neighbour and act.
fn a_sample() -> Result<()> {
    let mut chance = Chance::new(seed_of("MUSTER_FAULTS_SEED", "faults"));
    let drawn = pairs().map(|(trouble, act)| (trouble, act, chance.draw(), chance.draw())).collect();
    let killed = side_by_side(drawn, |(trouble, act, first, second)| {
        let side = if second % 2 == 0 { Side::Before } else { Side::After };
        let case = |write| Case { trouble, act, write, side };
        let played = case(1 + first % USUAL_WRITES).play()?;
        match played.cut {
            true => Ok(1),
            // It had fewer writes than that.
            false => Ok(u64::from(case(1 + second / 2 % played.writes.max(1)).play()?.cut)),
        }
    })?;
    say(&format!("faults: {killed} kills"));
    ensure!(killed + 2 >= pairs().count() as u64, "only {killed} kills");
    Ok(())
}

/// A kill at each write.
fn all() -> Result<()> {
    let both = |(trouble, act)| [Side::Before, Side::After].map(|side| (trouble, act, side));
    let lanes = pairs().flat_map(both).collect();
    let killed = side_by_side(lanes, |(trouble, act, side)| {
        for write in 1..MOST_WRITES {
            let case = Case { trouble, act, write, side };
            if !case.play()?.cut {
                say(&format!("{trouble}/{act}: a kill {} each of {} writes", side.word(), write - 1));
                return Ok(write - 1);
            }
        }
        anyhow::bail!("{trouble}/{act} has more than {MOST_WRITES} writes");
    })?;
    say(&format!("faults: {killed} kills, {} cases without one", pairs().count() * 2));
    Ok(())
}

fn pairs() -> impl Iterator<Item = (Trouble, Act)> {
    Trouble::ALL.into_iter().flat_map(|trouble| Act::ALL.map(|act| (trouble, act)))
}

/// Works on all of them, some at once; the sum. The first failure ends it.
fn side_by_side<T: Send>(work: VecDeque<T>, play: impl Fn(T) -> Result<u64> + Sync) -> Result<u64> {
    let work = Mutex::new(work);
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let stop = || work.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let worker = || {
        let mut sum = 0;
        while let Some(item) = next() {
            sum += play(item).inspect_err(|_| stop())?;
        }
        Ok(sum)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let join =
            |worker: thread::ScopedJoinHandle<'_, Result<u64>>| worker.join().ok().context("a panic")?;
        workers.into_iter().map(join).sum()
    })
}

impl Case {
    fn play(self) -> Result<Played> {
        drama::play(self).with_context(|| format!("MUSTER_FAULTS={self}"))
    }
}

#[expect(clippy::print_stderr, reason = "the test's output is where its reader looks for the count")]
fn say(what: &str) {
    eprintln!("{what}");
}
