//! How often and from which seed a test runs: set by the environment, so that a failure can be replayed.

use std::env;
use std::hash::{BuildHasher, RandomState};

/// How often a test repeats itself: the value of `variable`, or `usual`.
#[must_use]
pub fn runs(variable: &str, usual: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The seed of a test, from `MUSTER_SEED` or drawn anew; printed, because a failure needs it.
#[must_use]
pub fn seed(test: &str) -> u64 {
    seed_of("MUSTER_SEED", test)
}

/// The same, from a variable of the test's own.
#[must_use]
#[expect(clippy::print_stderr, reason = "the test's output is where its reader looks for the seed")]
pub fn seed_of(variable: &str, test: &str) -> u64 {
    let given = env::var(variable).ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(test) >> 16);
    eprintln!("{test}: {variable}={seed}");
    seed
}

/// Random numbers that are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below a limit; 0 where the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw().checked_rem(limit).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            [chance.draw(), chance.below(10), chance.draw()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_eq!(Chance::new(1).below(0), 0);
    }
}
