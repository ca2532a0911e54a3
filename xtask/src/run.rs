//! Commands, said before they are run.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// A command that is said before it is run.
pub(crate) struct Run(Command);

/// A program, to be run in the root of the checkout.
pub(crate) fn program(name: impl AsRef<OsStr>, arguments: &[&str]) -> Run {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(crate::root());
    Run(command)
}

/// Cargo, with the target folder that [`crate::cache`] names.
pub(crate) fn cargo(arguments: &[&str]) -> Run {
    let run = program("cargo", arguments);
    match crate::cache::target() {
        Some(folder) => run.env("CARGO_TARGET_DIR", folder),
        None => run,
    }
}

impl Run {
    /// Adds arguments.
    pub(crate) fn args(mut self, arguments: &[impl AsRef<OsStr>]) -> Run {
        self.0.args(arguments);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Run {
        self.0.env(name, value);
        self
    }

    /// Runs in another folder.
    pub(crate) fn within(mut self, folder: &Path) -> Run {
        self.0.current_dir(folder);
        self
    }

    /// Runs it, and fails where it fails.
    pub(crate) fn run(mut self) -> Result<()> {
        let said = self.said();
        println!("\n==> {said}");
        let begun = Instant::now();
        let status = self.0.status().with_context(|| format!("cannot run {said}"))?;
        println!("    {:.0} s", begun.elapsed().as_secs_f64());
        ensure!(status.success(), "{said}: {status}");
        Ok(())
    }

    /// Whether it succeeds; quietly.
    pub(crate) fn succeeds(mut self) -> bool {
        self.0.output().is_ok_and(|output| output.status.success())
    }

    /// What it prints, on both streams, and whether it succeeded.
    pub(crate) fn output(mut self) -> Result<(bool, String)> {
        let said = self.said();
        let output = self.0.output().with_context(|| format!("cannot run {said}"))?;
        let both = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&both).into_owned()))
    }

    fn said(&self) -> String {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }
}
