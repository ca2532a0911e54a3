//! What this process does to itself before anything secret is in its memory.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Switches core dumps off, for this process and what it starts: a dump would hold every secret.
///
/// # Errors
/// If the system refuses.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// As many open files as the system allows: every connection is one.
pub fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the number of open files stays as it is");
    }
}
