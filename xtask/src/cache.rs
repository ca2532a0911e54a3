//! What outlives a clone: built files and tools, in a folder outside it.

use std::env;
use std::path::PathBuf;

/// The cache: `MUSTER_CACHE`, else a folder of the user's.
pub(crate) fn folder() -> PathBuf {
    env::var_os("MUSTER_CACHE").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| ".".into())).join(".cache/muster"),
        PathBuf::from,
    )
}

/// The target folder in the cache, for CI and whoever set `MUSTER_CACHE`; `None` means cargo's own.
pub(crate) fn target() -> Option<PathBuf> {
    if let Some(given) = env::var_os("CARGO_TARGET_DIR") {
        return Some(given.into());
    }
    let wanted = env::var_os("CI").is_some() || env::var_os("MUSTER_CACHE").is_some();
    wanted.then(|| folder().join("target"))
}

/// The target folder, wherever it is.
pub(crate) fn any_target() -> PathBuf {
    target().unwrap_or_else(|| crate::root().join("target"))
}
