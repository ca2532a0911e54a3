//! `muster completions` and `muster man`: what a shell and a reader want to have.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use crate::failure::Failure;

/// Writes what a shell has to read so that it completes our command line.
pub(crate) fn completions(shell: Shell, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "muster", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// Writes a manual page for each command into a folder.
pub(crate) fn manual(folder: &Path, command: Command) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .map_err(|error| Failure::usage(format!("cannot write into {}: {error}", folder.display())))
}
