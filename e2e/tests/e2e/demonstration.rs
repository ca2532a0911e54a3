//! `musterd quickstart` on a folder whose demonstration is no longer what it was.

use anyhow::{Result, ensure};
use e2e::musterd::{Musterd, SEED_SECRET, Setup};

/// Starts again, and what it prints then.
fn again(server: Musterd, setup: &Setup) -> Result<(Musterd, String)> {
    server.stop()?;
    let server = setup.start()?;
    let printed = server.printed().join("\n");
    Ok((server, printed))
}

#[test]
fn quickstart_starts_again_whatever_was_done_to_its_demonstration() -> Result<()> {
    let setup = Setup::quickstart()?;
    let server = setup.start()?;
    server.muster()?.ok(&["device", "disable", "demo-device-1"])?;
    let (server, printed) = again(server, &setup)?;
    ensure!(
        printed.contains("Simulated device `demo-device-2`") && printed.contains(SEED_SECRET),
        "{printed}"
    );

    server.muster()?.ok(&["device", "decommission", "demo-device-2", "--yes"])?;
    let (server, printed) = again(server, &setup)?;
    ensure!(printed.contains("Simulated device `demo-device-3`"), "{printed}");

    server.muster()?.ok(&["profile", "set", "demo", "--rotate-secret", "--yes"])?;
    let (server, printed) = again(server, &setup)?;
    ensure!(!printed.contains(SEED_SECRET) && printed.contains("--rotate-secret"), "{printed}");
    ensure!(printed.contains("Simulated device `demo-device-3`"), "{printed}");

    server.muster()?.ok(&["device", "delete", "demo-device-3", "--yes"])?;
    let (server, printed) = again(server, &setup)?;
    ensure!(printed.contains("No simulated device could be provisioned"), "{printed}");
    server.stop()
}
