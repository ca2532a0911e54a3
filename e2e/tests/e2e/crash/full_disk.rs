//! A file system that is filled to the last byte.

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Group, Http, Mqtt};
use e2e::fleet::{self, Fleet};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use serde_json::json;
use testkit::loopfs::SmallFileSystem;
use testkit::wait::eventually;

#[test]
fn a_full_disk_is_a_temporary_error_and_service_resumes_by_itself() -> Result<()> {
    let (small, setup) = small_server()?;
    let server = setup.start()?;
    let fleet = super::fleet(&setup, "full", 1);
    super::wait_for_load(&server, &fleet, 300)?;
    fill(&small, &fleet)?;
    only_reads_work(&server).map_err(|error| server.must_be_running().err().unwrap_or(error))?;
    small.free()?;
    resumes(&fleet)?;
    server.must_be_running()?;
    let promises = fleet.stop()?;
    fleet::check(&server, &promises)?;
    fleet::check_twins(&server)
}

#[test]
fn a_server_that_is_killed_and_started_on_a_full_disk_reads_and_later_resumes() -> Result<()> {
    let (small, setup) = small_server()?;
    let server = setup.start()?;
    let fleet = super::fleet(&setup, "full", 2);
    super::wait_for_load(&server, &fleet, 300)?;
    fill(&small, &fleet)?;
    server.kill()?;
    small.fill()?;

    let server = setup.start().context("the start on a full disk")?;
    fill(&small, &fleet)?;
    only_reads_work(&server).map_err(|error| server.must_be_running().err().unwrap_or(error))?;
    small.free()?;
    resumes(&fleet)?;
    server.must_be_running()?;
    let promises = fleet.stop()?;
    fleet::check(&server, &promises)?;
    fleet::check_twins(&server)
}

fn small_server() -> Result<(SmallFileSystem, Setup)> {
    let small = SmallFileSystem::new()?;
    let setup = Setup::quickstart()?.on(&small.path().join("data"));
    Ok((small, setup))
}

/// Fills it, and again what the server's reserve gave back, until fifty requests in a row are put off.
fn fill(small: &SmallFileSystem, fleet: &Fleet) -> Result<()> {
    let ledger = fleet.ledger();
    eventually("nothing to be acknowledged any more", PATIENCE, || {
        let filled = small.fill();
        let (told, put_off) = (ledger.granted() + ledger.stored(), ledger.put_off());
        let waited = eventually("requests to be put off", PATIENCE, || {
            (ledger.put_off() >= put_off + 50).then_some(())
        });
        let silent = ledger.granted() + ledger.stored() == told;
        match filled.map(drop).and(waited) {
            Ok(()) => silent.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    })?
}

/// Listing, showing and logging in work; whatever would be written is put off.
fn only_reads_work(server: &Musterd) -> Result<()> {
    let muster = server.muster()?;
    let devices = muster.json(&["device", "list"])?;
    let first = devices[0]["name"].as_str().context("no devices")?;
    muster.json(&["device", "show", first])?;
    muster.json(&["device", "telemetry", first])?;
    muster.json(&["attempts"])?;

    let mut http = Http::open(server.address().http())?;
    let ask = Group::new(SEED_KEY, SEED_SECRET).ask("one-too-many");
    let answer = http.provision(&ask)?;
    ensure!(answer == e2e::device::Answer::Later, "{answer:?}");
    ensure!(Mqtt::open_to_provision(server.address().mqtt())?.provision(&ask)? == answer);

    let token = demo_token(server)?;
    let stored = http.telemetry(&token, &json!({"temperature": 1}))?;
    ensure!(stored.status == 503, "{stored:?}");
    Mqtt::open_with_token(server.address().mqtt(), &token).context("a login is only a read").map(drop)
}

/// The token of the simulated device, as quickstart prints it.
fn demo_token(server: &Musterd) -> Result<String> {
    let printed = server.printed();
    let line = printed.iter().find_map(|line| line.trim().strip_prefix("access token"));
    Ok(line.with_context(|| printed.join("\n"))?.trim().to_owned())
}

fn resumes(fleet: &Fleet) -> Result<()> {
    let before = (fleet.ledger().granted(), fleet.ledger().stored());
    eventually("service to resume", PATIENCE, || {
        let now = (fleet.ledger().granted(), fleet.ledger().stored());
        (now.0 > before.0 + 50 && now.1 > before.1 + 50).then_some(())
    })
}
