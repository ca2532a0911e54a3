//! One warning for an outage, however often it is tried again.

use store::StoreError;

/// Something that is tried again and again, and whether it failed the last time: it is told once, and once that
/// it works again. A database that is away for long is away every time.
pub(crate) struct Trouble {
    what: &'static str,
    failing: bool,
}

impl Trouble {
    /// What the log calls it, such as "the store could not be looked after".
    pub(crate) fn new(what: &'static str) -> Trouble {
        Trouble { what, failing: false }
    }

    /// What came of one attempt; `None` where it failed.
    pub(crate) fn tell<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        let was_failing = std::mem::replace(&mut self.failing, result.is_err());
        match &result {
            Err(error) if !was_failing => tracing::warn!(%error, "{}; it is tried again", self.what),
            Ok(_) if was_failing => tracing::info!("{}: that is over", self.what),
            Ok(_) | Err(_) => {}
        }
        result.ok()
    }
}
