//! Names for simulated devices: spread like hashes, and the same for the same seed.

use std::hash::{BuildHasher as _, RandomState};

/// Makes names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
    seed: u64,
}

impl Names {
    pub(crate) fn new(prefix: String, seed: u64) -> Self {
        Self { prefix, seed }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The name of the device with this number. Two numbers never have the same name.
    pub(crate) fn name(&self, number: u64) -> String {
        format!("{}{:016x}", self.prefix, mixed(mixed(self.seed) ^ number))
    }
}

/// A seed that nobody has used yet.
pub(crate) fn fresh_seed() -> u64 {
    RandomState::new().hash_one("seed")
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
/// It maps different numbers to different numbers.
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_different_and_come_back_with_their_seed() {
        let names = Names::new("sim-".to_owned(), 7);
        let first: Vec<String> = (0..1_000).map(|number| names.name(number)).collect();
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 1_000);
        assert_eq!(Names::new("sim-".to_owned(), 7).name(999), first[999]);
        assert_ne!(Names::new("sim-".to_owned(), 8).name(999), first[999]);
    }
}
