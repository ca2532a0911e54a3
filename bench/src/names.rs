//! Names of devices, as a factory's serial numbers after hashing: without order, never the same twice.

/// How the names are made, for the report.
pub const HOW: &str = "d- and 16 hexadecimal digits of SplitMix64 over a counter (no order, no repetition)";

/// Length of every name.
pub const LENGTH: usize = 18;

/// Makes names without end; two makers whose starts are far enough apart never make the same.
pub struct Names {
    counter: u64,
}

impl Names {
    /// The names of the numbers after this one.
    pub fn after(start: u64) -> Names {
        Names { counter: start }
    }

    /// One that has not been made yet.
    pub fn make(&mut self) -> [u8; LENGTH] {
        self.counter += 1;
        name(self.counter)
    }
}

/// The name of a number. SplitMix64 is a permutation: different numbers have different names.
pub fn name(number: u64) -> [u8; LENGTH] {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let mut name = *b"d-0000000000000000";
    for (index, digit) in name[2..].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(mixed >> (60 - 4 * index)) as usize & 15];
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_order_and_do_not_repeat() {
        let mut maker = Names::after(0);
        let names: Vec<_> = (0..10_000).map(|_| maker.make()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_ne!(sorted, names);
        sorted.dedup();
        assert_eq!(sorted.len(), names.len());
    }
}
