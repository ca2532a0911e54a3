//! What happens to the servers, their database and their neighbours: one thing every few seconds.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::settings::Chance;
use testkit::receiver::{How, Misbehaviour};

use super::pair::{LEASE_S, Pair};

/// The shortest and the longest pause between two of them, in milliseconds.
const PAUSE_MS: (u64, u64) = (500, 2500);

/// How much longer than a lease a server is frozen at most, in milliseconds; half of that at least.
const FROZEN_MS: u64 = 3000;

/// To how many calls a neighbour misbehaves at most, before it is well again by itself.
const MOST_BAD_CALLS: u64 = 60;

/// What there was.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    pub(crate) kills: u64,
    pub(crate) restarts: u64,
    pub(crate) freezes: u64,
    /// Results of steps that came after their lease was lost.
    pub(crate) refused: usize,
}

/// Rages for so long; then everything runs and everybody behaves.
pub(crate) fn rage(pair: &mut Pair, chance: &mut Chance, duration: Duration) -> Result<Storm> {
    let (mut storm, begun, mut beat) = (Storm::default(), Instant::now(), 0);
    while begun.elapsed() < duration {
        for receiver in &pair.receivers {
            misbehave(chance).map_or_else(|| receiver.heal(), |how| receiver.misbehave(&how))?;
        }
        pause(PAUSE_MS.0 + chance.below(PAUSE_MS.1 - PAUSE_MS.0));
        storm.strike(pair, chance, beat).with_context(|| format!("beat {beat}, {storm:?}"))?;
        beat += 1;
    }
    for receiver in &pair.receivers {
        receiver.heal()?;
    }
    storm.refused = pair.refused();
    Ok(storm)
}

impl Storm {
    /// Kills go in turn; in between there are the others.
    fn strike(&mut self, pair: &mut Pair, chance: &mut Chance, beat: u64) -> Result<()> {
        match beat % 8 {
            2 | 6 => {
                self.freezes += 1;
                freeze(pair, chance)
            }
            4 => {
                self.restarts += 1;
                match self.restarts.is_multiple_of(2) {
                    true => pair.postgres.stop()?,
                    false => pair.postgres.kill()?,
                }
                pair.postgres.resume()
            }
            _ => {
                self.kills += 1;
                pair.kill((self.kills % 2) as usize)
            }
        }
    }
}

/// Freezes a server for longer than its leases, while its calls are being answered.
fn freeze(pair: &Pair, chance: &mut Chance) -> Result<()> {
    for receiver in &pair.receivers {
        receiver.misbehave(&Misbehaviour::after_work(How::Slow(200)))?;
    }
    pause(chance.below(400));
    let which = chance.below(2) as usize;
    pair.freeze(which)?;
    pause(LEASE_S * 1000 + FROZEN_MS / 2 + chance.below(FROZEN_MS / 2));
    pair.wake(which)
}

/// What a neighbour does from now on; `None` is what it should.
fn misbehave(chance: &mut Chance) -> Option<Misbehaviour> {
    let bad = match chance.below(8) {
        0 => Misbehaviour::after_work(How::Slow(1 + chance.below(700))),
        // A call has a second.
        1 => Misbehaviour::after_work(How::Slow(1500)),
        2 => Misbehaviour::instead_of_work(How::Status(500, None)),
        3 => Misbehaviour::after_work(How::Status(500, None)),
        4 => Misbehaviour::instead_of_work(How::Cut),
        5 => Misbehaviour::after_work(How::Cut),
        _ => return None,
    };
    Some(bad.times(1 + chance.below(MOST_BAD_CALLS)))
}

/// The pace of the storm; nothing is waited for.
fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
