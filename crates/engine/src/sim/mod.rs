//! A seeded life of a fleet, through the real decisions, batches, records and steps, against a small model.
//!
//! One thread, one clock that is a number, one source of chance. A history is one profile with random settings,
//! its devices, a neighbour, and some dozens of random events: requests, retries, answers, failures, leases that
//! end, crashes, operators. After each event the registry must be what the model says; at the end faults stop,
//! and everything must come to its end. `MUSTER_SIM_SEED=N cargo test -p engine sim` replays a history.

mod history;
mod model;
mod people;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// Histories of one run, unless `MUSTER_SIM_HISTORIES` says otherwise.
const HISTORIES: u64 = 10_000;
/// Histories that share a store: opening one costs more than living through several.
const TOGETHER: u64 = 250;

/// Random numbers that are the same for the same seed (SplitMix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit.max(1) as u64) as usize
    }

    pub(super) fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn no_history_leads_the_registry_away_from_the_model() {
    if let Some(seed) = setting("MUSTER_SIM_SEED") {
        return history::live(&mut World::new(), seed);
    }
    let first = setting("MUSTER_SIM_FIRST").unwrap_or(1);
    let mut world = World::new();
    for seed in first..first + setting("MUSTER_SIM_HISTORIES").unwrap_or(HISTORIES) {
        if seed % TOGETHER == 0 {
            world = World::new();
        }
        let lived = catch_unwind(AssertUnwindSafe(|| history::live(&mut world, seed)));
        assert!(lived.is_ok(), "replay it with MUSTER_SIM_SEED={seed}");
    }
}
