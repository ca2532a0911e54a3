//! A registry with a million expected devices, imported from a CSV file, and kept for the next run.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testkit::process::binary;

use super::Bench;
use super::server::Server;
use crate::names::name;
use crate::report::Bar;

/// The profile that quickstart makes.
const PROFILE: &str = "demo";

/// Imports a fleet and tells how fast that was.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    import(bench).map(drop)
}

/// A copy of the folder of a server that expects a million devices; imports them where that has not been
/// done with this server yet.
pub(super) fn copy(bench: &mut Bench) -> Result<TempDir> {
    let fleet = folder(bench)?;
    if !fleet.exists() {
        import(bench)?;
    }
    let copy = tempfile::tempdir_in(&bench.folder)?;
    copy_folder(&fleet, copy.path())?;
    Ok(copy)
}

/// How many devices a full registry expects.
pub(super) fn size(bench: &Bench) -> u64 {
    if bench.quick { 20_000 } else { 1_000_000 }
}

/// One folder for each size and each build of the server.
fn folder(bench: &Bench) -> Result<PathBuf> {
    let built = fs::metadata(binary("musterd")?)?.modified()?.duration_since(UNIX_EPOCH)?.as_millis();
    Ok(bench.folder.join(format!("fleet-{}-{built}", size(bench))))
}

fn import(bench: &mut Bench) -> Result<()> {
    forget_older(bench)?;
    let csv = bench.folder.join("fleet.csv");
    write_csv(&csv, size(bench))?;
    let server = Server::empty(bench)?;
    let began = Instant::now();
    let mut import = server.musterd.muster()?.command(["device", "import"]);
    let status = import.arg(&csv).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "muster device import ended with {status}");
    fs::remove_file(csv)?;
    fs::rename(server.stop()?.keep(), folder(bench)?)?;
    let rows = size(bench);
    bench.report.add(format!("import of {rows} CSV rows"), rows as f64 / seconds, "/s", Bar::None);
    Ok(())
}

/// Registries of earlier builds are of no use any more.
fn forget_older(bench: &Bench) -> Result<()> {
    let prefix = format!("fleet-{}-", size(bench));
    for entry in fs::read_dir(&bench.folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn write_csv(path: &Path, rows: u64) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "name,type,label")?;
    for number in 0..rows {
        let name = name(number);
        writeln!(file, "{},{PROFILE},", String::from_utf8_lossy(&name))?;
    }
    Ok(file.flush()?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
