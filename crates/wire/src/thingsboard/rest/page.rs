//! Pages: how they are asked for, and how they are answered.

use serde::Serialize;

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// What stands on it.
    pub data: Vec<T>,
    /// How many pages there are.
    pub total_pages: u64,
    /// How many things there are on all of them.
    pub total_elements: u64,
    /// Whether another page follows.
    pub has_next: bool,
}

impl<T> Page<T> {
    /// The page of that number, counting from 0, with `size` things on a full one. `size` is not 0.
    #[must_use]
    pub fn new(data: Vec<T>, total: u64, page: u64, size: u64) -> Page<T> {
        let total_pages = total.div_ceil(size.max(1));
        let has_next = page.saturating_add(1) < total_pages;
        Page { data, total_pages, total_elements: total, has_next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_next_and_one_behind_it_is_empty() {
        let page = |number| Page::<()>::new(Vec::new(), 18, number, 10);
        assert_eq!((page(0).total_pages, page(0).has_next, page(1).has_next), (2, true, false));
        assert!(!page(99).has_next);
        assert_eq!(Page::<()>::new(Vec::new(), 0, 0, 10).total_pages, 0);
    }
}
