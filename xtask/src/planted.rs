//! Copies of the tree with a bug in them, for whoever has to find it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cache;
use crate::run::{Run, program};

/// A copy of the tree, in the cache, with the bug of a patch planted.
pub(crate) fn tree(name: &str, patch: &str) -> Result<PathBuf> {
    let copy = copy_of_the_tree(name)?;
    program("patch", &["-p1", "-i"]).args(&[copy.join(patch)]).within(&copy).run()?;
    Ok(copy)
}

/// Lets a search for a bug run, which has to fail and print how its find is replayed.
pub(crate) fn find(bug: &str, search: Run, replayed_by: &str) -> Result<()> {
    println!("\n==> looking for the planted bug `{bug}`");
    let (survived, said) = search.output()?;
    let found = said.lines().find_map(|line| line.find(replayed_by).map(|at| &line[at..]));
    ensure!(!survived && found.is_some(), "`{bug}` was not found:\n{said}");
    println!("    found: {}", found.unwrap_or_default());
    Ok(())
}

/// The files that git knows, in a folder of their own.
fn copy_of_the_tree(name: &str) -> Result<PathBuf> {
    let copy = cache::folder().join("planted").join(name);
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::create_dir_all(&copy)?;
    let (listed, files) = program("git", &["ls-files"]).output()?;
    ensure!(listed, "git does not list the files: {files}");
    for file in files.lines() {
        let to = copy.join(file);
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::copy(crate::root().join(file), to).with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(copy)
}
