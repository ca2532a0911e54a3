//! Profiles by provision key, kept in memory for the device path.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Profile;
use parking_lot::RwLock;
use store::{Store, StoreError};

/// Most profiles kept; beyond it the cache starts anew.
const MOST_KEPT: usize = 10_000;

/// What was read lately. A stale profile does no harm: its version is compared when a decision is recorded.
#[derive(Default)]
pub(crate) struct ProfileCache {
    kept: RwLock<HashMap<String, Arc<Profile>>>,
    /// Rises when profiles change, so that what was read before the change is not kept after it.
    epoch: AtomicU64,
}

impl ProfileCache {
    /// The profile with this provision key, if it was read lately.
    pub(crate) fn kept(&self, key: &str) -> Option<Arc<Profile>> {
        self.kept.read().get(key).map(Arc::clone)
    }

    /// The profile with this provision key.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn by_key(&self, key: &str, store: &Store) -> Result<Option<Arc<Profile>>, StoreError> {
        if let Some(profile) = self.kept(key) {
            return Ok(Some(profile));
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        let Some(profile) = store.profile_by_provision_key(key)?.map(Arc::new) else { return Ok(None) };
        self.keep(key, &profile, epoch);
        Ok(Some(profile))
    }

    /// Profiles have changed: everything is read anew.
    pub(crate) fn clear(&self) {
        let mut kept = self.kept.write();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        kept.clear();
    }

    fn keep(&self, key: &str, profile: &Arc<Profile>, epoch: u64) {
        let mut kept = self.kept.write();
        if self.epoch.load(Ordering::Acquire) != epoch {
            return;
        }
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key.to_owned(), Arc::clone(profile));
    }
}
