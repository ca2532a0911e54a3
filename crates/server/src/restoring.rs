//! `musterd backup verify` and `musterd restore`: what is done with a backup where no server runs.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use engine::ports::{Clock, SystemClock};
use store::backup::{self, Manifest};

use crate::config::Config;
use crate::serve::load_config;

/// What restoring takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The backup's folder.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The configuration of the server that is to serve it; without it the defaults hold.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
    /// The server's folder, as for quickstart.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only look at the backup.
    #[arg(long)]
    dry_run: bool,
}

/// Looks at a whole backup.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(folder: &Path) -> anyhow::Result<()> {
    tell(&backup::verify(folder)?, "The backup is whole.")
}

/// Makes a store of a backup, where there is none.
///
/// # Errors
/// What is wrong with the backup, or in the way.
pub fn restore(wanted: &Arguments) -> anyhow::Result<()> {
    let mut config: Config = load_config(wanted.config.as_deref())?;
    config.directory = wanted.data.clone().unwrap_or(config.directory);
    if wanted.dry_run {
        return tell(&backup::verify(&wanted.from)?, "The backup is whole. Nothing was restored.");
    }
    let layout = config.layout();
    layout.make()?;
    let options =
        store::Options { dir: layout.db, server: config.name.clone(), backend: config.database.backend() };
    let manifest = backup::restore(&wanted.from, &options, SystemClock.now())
        .with_context(|| format!("cannot restore {}", wanted.from.display()))?;
    ensure!(!manifest.instance.is_empty(), "the backup is of a server that never had keys");
    tell(
        &manifest,
        "Restored. Put the keys that it needs where the configuration says, and start the server.",
    )
}

fn tell(manifest: &Manifest, sentence: &str) -> anyhow::Result<()> {
    let made = jiff::Timestamp::from_millisecond(manifest.made_at_ms)?;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{sentence}")?;
    writeln!(out, "made      {made} by {}", manifest.server)?;
    writeln!(out, "files     {} of {bytes} bytes", manifest.files.len())?;
    writeln!(out, "keys      {}", manifest.kek_ids.join(", "))?;
    Ok(out.flush()?)
}
