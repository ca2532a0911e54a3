//! Builds the library that [`crate::power_cut`] preloads, with the C compiler that the project needs
//! anyway. It lies beside the test binary and is built once for each version of its source.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};

const SOURCES: [(&str, &str); 5] = [
    ("power_cut.h", include_str!("../shim/power_cut.h")),
    ("power_cut.c", include_str!("../shim/power_cut.c")),
    ("extents.c", include_str!("../shim/extents.c")),
    ("recovered.c", include_str!("../shim/recovered.c")),
    ("hooks.c", include_str!("../shim/hooks.c")),
];

/// The built library.
pub(crate) fn library() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| find_or_build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow!("the power-cut layer could not be built: {error}"))
}

fn find_or_build() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let folder = exe.parent().context("the test binary lies in no folder")?;
    let library = folder.join(format!("power-cut-{:016x}.so", fingerprint()));
    if !library.exists() {
        build(folder, &library)?;
    }
    Ok(library)
}

fn fingerprint() -> u64 {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    hasher.finish()
}

/// Builds under another name first: tests of other processes may be looking for the library.
fn build(folder: &Path, library: &Path) -> Result<()> {
    let workshop = tempfile::tempdir_in(folder)?;
    for (name, text) in SOURCES {
        fs::write(workshop.path().join(name), text)?;
    }
    let mut cc = Command::new("cc");
    cc.current_dir(workshop.path()).args(["-O2", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-pthread"]);
    cc.args(["-o", "built.so"])
        .args(SOURCES.iter().map(|(name, _)| name).filter(|name| name.ends_with(".c")));
    crate::run(&mut cc)?;
    Ok(fs::rename(workshop.path().join("built.so"), library)?)
}
