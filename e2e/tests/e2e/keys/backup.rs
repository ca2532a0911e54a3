//! A backup that is made while devices come, restored onto an empty machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Group, Http};
use e2e::fleet::{Fleet, Promise};
use e2e::muster::{Ended, ended};
use e2e::musterd::{Musterd, Setup};
use e2e::settings::seed;
use serde_json::json;
use testkit::postgres::Postgres;
use testkit::process::binary;
use testkit::wait::eventually;

use super::{group, kek, logs_in, profile, provision_choosing, readiness};

fn musterd(arguments: &[&str]) -> Result<Ended> {
    ended(Command::new(binary("musterd")?).args(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[test]
fn a_backup_made_under_load_brings_every_acknowledged_device_back_on_an_empty_machine() -> Result<()> {
    let server = Musterd::serve("")?;
    profile(&server)?;
    provision_choosing(&server, "chose", 20)?;
    let promised = with_load(&server)?;
    let first = server.setup().clone();
    let copy = first.folder().join("backups/monday");
    server.stop()?;

    let whole = musterd(&["backup", "verify", text(&copy)])?;
    ensure!(whole.code == 0 && whole.out.contains("file"), "{whole:?}");
    let kek_bytes = fs::read(first.folder().join("keys/kek"))?;
    for file in fs::read_dir(&copy)? {
        let bytes = fs::read(file?.path())?;
        ensure!(
            !bytes.windows(kek_bytes.len()).any(|window| window == kek_bytes),
            "the backup holds the key"
        );
    }

    let empty = Setup::serve("")?;
    let restored = musterd(&["restore", "--from", text(&copy), "--data", text(empty.folder())])?;
    ensure!(restored.code == 0, "{restored:?}");
    let again = musterd(&["restore", "--from", text(&copy), "--data", text(empty.folder())])?;
    ensure!(again.code == 1 && again.err.contains("empty"), "{again:?}");
    let server = without_then_with_the_key(&empty, &first)?;
    for promise in &promised {
        logs_in(&server, &promise.token)?;
    }
    logs_in(&server, "chose-token-19")?;
    let fresh = Group::new(e2e::musterd::SEED_KEY, e2e::musterd::SEED_SECRET).ask("after");
    ensure!(Http::open(server.address().http())?.provision(&fresh)?.is_granted());
    ensure!(server.muster()?.json(&["audit", "verify"])?["ok"] == true);
    server.stop()
}

#[test]
fn a_backup_of_a_postgresql_comes_back_in_an_empty_database() -> Result<()> {
    let postgres = Postgres::start()?;
    let [full, empty] = [postgres.url(&postgres.database()?), postgres.url(&postgres.database()?)];
    let server = Setup::serve("")?.setting("DATABASE__URL", full).start()?;
    profile(&server)?;
    provision_choosing(&server, "chose", 20)?;
    let promised = with_load(&server)?;
    let first = server.setup().clone();
    let copy = first.folder().join("backups/monday");
    server.kill()?;

    let second = Setup::serve("")?.setting("DATABASE__URL", &empty);
    let restored = || {
        let mut command = Command::new(binary("musterd")?);
        command.args(["restore", "--from", text(&copy), "--data", text(second.folder())]);
        ended(command.env("MUSTER__DATABASE__URL", &empty))
    };
    let done = restored()?;
    ensure!(done.code == 0, "{done:?}");
    let again = restored()?;
    ensure!(again.code == 1 && again.err.contains("holds a store"), "{again:?}");
    let server = without_then_with_the_key(&second, &first)?;
    for promise in &promised {
        logs_in(&server, &promise.token)?;
    }
    logs_in(&server, "chose-token-19")?;
    ensure!(server.muster()?.json(&["audit", "verify"])?["ok"] == true);
    server.stop()
}

/// Devices come before, while and after the backup is made; those from before are given back.
fn with_load(server: &Musterd) -> Result<Vec<Promise>> {
    let early = Fleet::start(server.address(), &group(), "early", 2, seed("backup"));
    eventually("devices to be let in", PATIENCE, || (early.ledger().granted() > 50).then_some(()))?;
    let promised = early.stop()?;
    let busy = Fleet::start(server.address(), &group(), "busy", 4, seed("backup-busy"));
    eventually("more devices to be let in", PATIENCE, || (busy.ledger().granted() > 10).then_some(()))?;
    let made = server.muster()?.json(&["backup", "create", "--name", "monday"])?;
    let made = made.as_array().and_then(|rows| rows.first()).unwrap_or(&made).clone();
    ensure!(made["state"] == "done" && made["kek_ids"] == json!(["file"]), "{made}");
    ensure!(busy.ledger().put_off() == 0, "{} requests were put off", busy.ledger().put_off());
    busy.stop()?;
    Ok(promised)
}

/// Without the key there is no secret; with it there are all.
fn without_then_with_the_key(empty: &Setup, first: &Setup) -> Result<Musterd> {
    let server = empty.start()?;
    ensure!(readiness(&server)?.0 == 503);
    let (from, to) = (first.folder().join("keys/kek"), empty.folder().join("keys/kek"));
    fs::copy(from, to)?;
    server.muster()?.ok(&["secrets", "unlock"])?;
    ensure!(kek(&server, "file")?["state"] == "active");
    Ok(server)
}

#[test]
fn a_damaged_backup_is_told_and_restored_nowhere() -> Result<()> {
    let server = Musterd::serve("")?;
    server.muster()?.ok(&["backup", "create", "--name", "one"])?;
    let copy = server.setup().folder().join("backups/one");
    let mut bytes = fs::read(copy.join("secrets.db"))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(copy.join("secrets.db"), bytes)?;
    for verb in [vec!["backup", "verify", text(&copy)], vec!["restore", "--from", text(&copy), "--dry-run"]] {
        let told = musterd(&verb)?;
        ensure!(told.code == 1 && told.err.contains("secrets.db"), "{told:?}");
    }
    server.stop()
}
