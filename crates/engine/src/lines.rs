//! How much is under way at each neighbour. Each has a line of its own: one that does not answer fills its own line
//! and keeps no other one waiting.

use std::collections::HashMap;

use store::Capacity;

/// What a neighbour takes on at once is claimed so many times over, so that it never waits for our next claim.
const AHEAD: usize = 2;
/// What is claimed at once for a name that is not configured here: the operator is only told so.
const UNKNOWN: usize = 8;

/// The lines of all connectors, or of all hooks.
#[derive(Debug)]
pub(crate) struct Lines {
    most: HashMap<String, usize>,
    under_way: HashMap<String, usize>,
}

impl Lines {
    /// Lines of neighbours, each with the most calls that it takes on at once.
    pub(crate) fn new<'n>(neighbours: impl Iterator<Item = (&'n str, usize)>) -> Lines {
        let most = neighbours.map(|(name, most)| (name.to_owned(), most.saturating_mul(AHEAD))).collect();
        Lines { most, under_way: HashMap::new() }
    }

    /// One more is under way.
    pub(crate) fn begin(&mut self, name: &str) {
        *self.under_way.entry(name.to_owned()).or_default() += 1;
    }

    /// One has come to its end.
    pub(crate) fn end(&mut self, name: &str) {
        if let Some(count) = self.under_way.get_mut(name) {
            *count -= 1;
        }
        self.under_way.retain(|_, count| *count > 0);
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.values().sum()
    }

    /// What may be claimed.
    pub(crate) fn capacity(&self) -> Capacity {
        let under_way = |name: &str| self.under_way.get(name).copied().unwrap_or(0);
        let left = |(name, most): (&String, &usize)| (name.clone(), most.saturating_sub(under_way(name)));
        let unknown: usize =
            self.under_way.iter().filter(|(name, _)| !self.most.contains_key(*name)).map(|it| it.1).sum();
        Capacity { by_name: self.most.iter().map(left).collect(), others: UNKNOWN.saturating_sub(unknown) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(lines: &Lines, name: &str) -> usize {
        let capacity = lines.capacity();
        capacity.by_name.get(name).copied().unwrap_or(capacity.others)
    }

    #[test]
    fn a_line_that_is_full_leaves_the_others_their_capacity() {
        let mut lines = Lines::new([("erp", 2), ("crm", 3)].into_iter());
        (0..4).for_each(|_| lines.begin("erp"));
        lines.begin("gone");
        assert_eq!((left(&lines, "erp"), left(&lines, "crm"), left(&lines, "gone")), (0, 6, 7));
        lines.end("erp");
        assert_eq!((left(&lines, "erp"), lines.under_way()), (1, 4));
    }
}
