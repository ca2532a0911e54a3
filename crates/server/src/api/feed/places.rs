//! Who may read streams at a time: bounded, and fair to tenants. As long as there is room anybody may read; where there
//! is none, whoever holds most makes room for one that holds less.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::registry::Right;
use parking_lot::Mutex;

/// Whose a place is: of a tenant, by its number, or of operators of the whole server.
type Holder = Option<u64>;

type Held = HashMap<Holder, Vec<Arc<AtomicBool>>>;

/// All places.
#[derive(Clone)]
pub(super) struct Places {
    most: usize,
    held: Arc<Mutex<Held>>,
}

/// A place; it is free again when this is dropped.
pub(super) struct Place {
    holder: Holder,
    lost: Arc<AtomicBool>,
    held: Arc<Mutex<Held>>,
}

impl Places {
    /// So many.
    pub(super) fn new(most: usize) -> Places {
        Places { most, held: Arc::default() }
    }

    /// A place for a reader with this right; `None` where there is none and nobody has more than its share.
    pub(super) fn take(&self, right: Right) -> Option<Place> {
        let holder = match right {
            Right::Server => None,
            Right::Tenant(tenant) => Some(tenant.0),
        };
        let mut held = self.held.lock();
        if held.values().map(Vec::len).sum::<usize>() >= self.most {
            let own = held.get(&holder).map_or(0, Vec::len);
            let places = held.values_mut().max_by_key(|places| places.len())?;
            if places.len() <= own + 1 {
                return None;
            }
            places.pop()?.store(true, Ordering::Relaxed);
        }
        let lost = Arc::new(AtomicBool::new(false));
        held.entry(holder).or_default().push(Arc::clone(&lost));
        Some(Place { holder, lost, held: Arc::clone(&self.held) })
    }
}

impl Place {
    /// Whether somebody else has it now.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(places) = held.get_mut(&self.holder) {
            places.retain(|place| !Arc::ptr_eq(place, &self.lost));
            if places.is_empty() {
                held.remove(&self.holder);
            }
        }
    }
}
