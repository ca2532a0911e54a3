//! Tokens that have signed somebody on already, so that each stands in the journal once and not at every call.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use domain::{Secret, Timestamp};
use parking_lot::Mutex;

/// The most that are remembered.
const MOST: usize = 10_000;

/// Digests of tokens, with their ends.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<Vec<u8>, Timestamp>>);

impl Seen {
    /// Whether this token was not seen before; from now on it was.
    pub(super) fn is_new(&self, token: &Secret, ends_at: Timestamp, now: Timestamp) -> bool {
        let mut seen = self.0.lock();
        if seen.len() >= MOST {
            seen.retain(|_, end| *end > now);
        }
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(name(token), ends_at).is_none()
    }

    /// It has signed nobody on.
    pub(super) fn forget(&self, token: &Secret) {
        self.0.lock().remove(&name(token));
    }
}

fn name(token: &Secret) -> Vec<u8> {
    digest(&SHA256, token.expose().as_bytes()).as_ref().to_vec()
}
