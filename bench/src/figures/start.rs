//! How soon a server with a full registry works, and how much memory a full listing takes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use e2e::musterd::{Musterd, Setup};
use testkit::http::HttpConnection;

use super::server::request;
use super::{Bench, fleet};
use crate::processor::peak_memory_mb;
use crate::report::Bar;

/// How long the first answer may be waited for before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts, provisions one device, lists all.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let folder = fleet::copy(bench)?;
    let setup = Setup::quickstart()?.on(folder.path());
    let began = Instant::now();
    let musterd = setup.launch(|_| Ok(()))?;
    first_device(&musterd)?;
    let first = began.elapsed().as_secs_f64();
    let listed = list_all(bench, &musterd)?;
    let memory = peak_memory_mb(musterd.process().id())?;
    let report = &mut bench.report;
    report.add("from the start to the first device provisioned", first, "s", Bar::AtMost(2.0));
    report.add("a listing of all devices", listed.as_secs_f64(), "s", Bar::None);
    report.add("most memory of the server until then", memory, "MB", Bar::AtMost(600.0));
    musterd.stop()
}

/// Asks until a device is provisioned.
fn first_device(musterd: &Musterd) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        musterd.must_be_running()?;
        if is_provisioned(musterd.address().http()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("no device was provisioned within {PATIENCE:?}")
}

/// Nobody listens at first; that is no failure.
fn is_provisioned(address: SocketAddr) -> bool {
    let reply = HttpConnection::open(address)
        .and_then(|mut connection| connection.post_json("/api/v1/provision", &request(1 << 43)));
    reply.is_ok_and(|reply| reply.text().contains(r#""SUCCESS""#))
}

/// Lists all devices into a file, and looks whether they are all in it.
fn list_all(bench: &Bench, musterd: &Musterd) -> Result<Duration> {
    let path = bench.folder.join("listing.json");
    let began = Instant::now();
    let mut list = musterd.muster()?.command(["-o", "json", "device", "list"]);
    let status = list.stdout(File::create(&path)?).status()?;
    let took = began.elapsed();
    ensure!(status.success(), "muster device list ended with {status}");
    let named = BufReader::new(File::open(&path)?).split(b'"').map_while(Result::ok);
    let devices = named.filter(|part| part.starts_with(b"d-")).count() as u64;
    fs::remove_file(path)?;
    ensure!(devices > fleet::size(bench), "only {devices} devices were listed");
    Ok(took)
}
