//! Key-encryption keys: rotated under load, missing at the start, typed, kept in a security module; and
//! backups, which never hold one.

mod backup;
mod security_module;

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Answer, Group, Http};
use e2e::fleet::{self, Fleet};
use e2e::muster::{Ended, ended};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use e2e::settings::seed;
use serde_json::{Value, json};
use testkit::http::HttpConnection;
use testkit::wait::eventually;

/// Devices with tokens of their own choice, which are sealed. `MUSTER_SEALED_VALUES` makes them more.
const SEALED: u64 = 1_000;

fn group() -> Group {
    Group::new(SEED_KEY, SEED_SECRET)
}

/// A profile that lets anybody in who knows the seed key and secret.
fn profile(server: &Musterd) -> Result<()> {
    let arguments = ["profile", "create", "pumps", "--strategy", "create-new"];
    let secrets = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
    server.muster()?.ok(&[&arguments[..], &secrets[..]].concat()).map(drop)
}

fn choosing(name: &str, token: &str) -> Value {
    let mut ask = group().ask(name);
    ask["credentialsType"] = json!("ACCESS_TOKEN");
    ask["token"] = json!(token);
    ask
}

fn provision_choosing(server: &Musterd, label: &str, count: u64) -> Result<()> {
    let mut http = Http::open(server.address().http())?;
    for at in 0..count {
        let answer = http.provision(&choosing(&format!("{label}{at}"), &format!("{label}-token-{at}")))?;
        ensure!(answer.is_granted(), "{answer:?}");
    }
    Ok(())
}

fn logs_in(server: &Musterd, token: &str) -> Result<()> {
    let reply = Http::open(server.address().http())?.telemetry(token, &json!({"up": true}))?;
    ensure!(reply.status == 200, "{token}: {}", reply.status_line);
    Ok(())
}

fn readiness(server: &Musterd) -> Result<(u16, String)> {
    let reply = HttpConnection::open(server.address().http())?.request("GET", "/readyz", &[], b"")?;
    Ok((reply.status, reply.text().trim().to_owned()))
}

/// A call with something on its standard input.
fn said(server: &Musterd, arguments: &[&str], input: &str) -> Result<Ended> {
    let file = server.setup().home().join("input");
    fs::write(&file, input)?;
    let mut command = server.muster()?.command(arguments);
    command.stdin(Stdio::from(fs::File::open(file)?));
    ended(&mut command)
}

fn kek(server: &Musterd, id: &str) -> Result<Value> {
    let secrets = server.muster()?.json(&["secrets", "list"])?;
    let keks = secrets["keks"].as_array().context("no keys")?;
    keks.iter().find(|kek| kek["id"] == id).cloned().with_context(|| format!("no {id} in {secrets}"))
}

#[test]
fn a_key_is_replaced_under_load_over_a_kill_and_the_old_one_is_useless() -> Result<()> {
    let count =
        std::env::var("MUSTER_SEALED_VALUES").ok().and_then(|text| text.parse().ok()).unwrap_or(SEALED);
    let server = Musterd::quickstart()?;
    provision_choosing(&server, "chose", count)?;
    let muster = server.muster()?;
    muster.ok(&["secrets", "kek", "add"])?;
    ensure!(kek(&server, "file:2")?["state"] == "active");
    let told = muster.fails(1, &["secrets", "kek", "retire", "file", "--yes"])?;
    ensure!(told.contains("sealed values need the key-encryption key `file`"), "{told}");
    let fleet = Fleet::start(server.address(), &group(), "busy", 4, seed("keys"));
    muster.ok(&["secrets", "kek", "rewrap", "--rate", &(count / 2).to_string()])?;
    eventually("half of the values to be rewrapped", PATIENCE, || {
        let moved = kek(&server, "file:2").ok()?["values"].as_u64()?;
        (moved > count / 2).then_some(())
    })?;
    ensure!(fleet.ledger().put_off() == 0, "{} requests were put off", fleet.ledger().put_off());
    let promises = fleet.stop()?;
    let setup = server.setup().clone();
    server.kill()?;

    let server = setup.start()?;
    eventually("the rest to be rewrapped after the restart", PATIENCE, || {
        (kek(&server, "file").ok()?["values"] == 0).then_some(())
    })?;
    fleet::check(&server, &promises)?;
    server.muster()?.ok(&["secrets", "kek", "retire", "file", "--dry-run"])?;
    server.muster()?.ok(&["secrets", "kek", "retire", "file", "--yes"])?;
    server.stop()?;

    let keys = setup.folder().join("keys");
    fs::rename(keys.join("kek"), keys.join("old"))?;
    let server = setup.start()?;
    ensure!(server.muster()?.json(&["secrets", "verify"])?["unreadable"] == 0);
    logs_in(&server, &format!("chose-token-{}", count - 1))?;
    server.stop()?;

    // The old key in the place of the new one opens nothing.
    fs::rename(keys.join("kek-2"), keys.join("new"))?;
    fs::copy(keys.join("old"), keys.join("kek-2"))?;
    let serve = Setup::serve("")?.on(setup.folder());
    let server = serve.start()?;
    ensure!(readiness(&server)? == (503, "locked".to_owned()));
    server.stop()
}

#[test]
fn a_server_without_its_key_tells_devices_to_come_again_until_it_is_back() -> Result<()> {
    let server = Musterd::serve("")?;
    profile(&server)?;
    provision_choosing(&server, "chose", 3)?;
    let setup = server.setup().clone();
    server.stop()?;
    let (key, away) = (setup.folder().join("keys/kek"), setup.home().join("kek"));
    fs::rename(&key, &away)?;

    let server = setup.start()?;
    ensure!(readiness(&server)? == (503, "locked".to_owned()));
    let mut http = Http::open(server.address().http())?;
    ensure!(http.provision(&group().ask("late"))? == Answer::Later);
    ensure!(http.telemetry("chose-token-1", &json!({"up": true}))?.status == 503);
    let muster = server.muster()?;
    let secrets = muster.json(&["secrets", "list"])?;
    let why = secrets["locked"].as_str().context("it is not locked")?;
    ensure!(why.contains("put your copy of it back"), "{why}");
    ensure!(muster.ok(&["device", "list"])?.contains("chose2"));
    ensure!(muster.ok(&["profile", "list"])?.contains("pumps"));
    let told = muster.fails(1, &["device", "delete", "chose1", "--yes"])?;
    ensure!(told.contains("locked"), "{told}");
    ensure!(fs::metadata(&key).is_err(), "a new key was made in the place of the lost one");

    fs::rename(&away, &key)?;
    eventually("the server to find its key", PATIENCE, || {
        readiness(&server).ok().filter(|(status, _)| *status == 200)
    })?;
    logs_in(&server, "chose-token-1")?;
    ensure!(Http::open(server.address().http())?.provision(&group().ask("late"))?.is_granted());
    ensure!(muster.json(&["audit", "verify"])?["ok"] == true);
    server.stop()
}

#[test]
fn a_passphrase_opens_the_server_and_a_wrong_one_does_not() -> Result<()> {
    let server = Musterd::serve("[keys]\nprovider = \"passphrase\"\npassphrase_from = \"later\"\n")?;
    ensure!(readiness(&server)?.0 == 503);
    let unlock = ["secrets", "unlock", "--passphrase-file", "-"];
    let first = said(&server, &unlock, "correct horse battery\n")?;
    ensure!(first.code == 0, "{first:?}");
    profile(&server)?;
    provision_choosing(&server, "chose", 3)?;
    let setup = server.setup().clone();
    server.stop()?;

    let server = setup.start()?;
    ensure!(readiness(&server)?.0 == 503);
    let wrong = said(&server, &unlock, "wrong horse battery\n")?;
    ensure!(wrong.code == 1 && wrong.err.contains("not the one"), "{wrong:?}");
    let right = said(&server, &unlock, "correct horse battery\n")?;
    ensure!(right.code == 0 && !right.out.contains("horse"), "{right:?}");
    ensure!(readiness(&server)?.0 == 200);
    logs_in(&server, "chose-token-2")?;
    server.stop()
}

#[test]
fn a_lost_key_is_given_up_and_devices_come_anew() -> Result<()> {
    let server = Musterd::serve("")?;
    profile(&server)?;
    provision_choosing(&server, "chose", 3)?;
    let setup = server.setup().clone();
    server.stop()?;
    fs::remove_file(setup.folder().join("keys/kek"))?;

    let server = setup.start()?;
    let muster = server.muster()?;
    let cost = muster.json(&["secrets", "reset", "--dry-run"])?;
    ensure!(cost["keys_made"] == true && cost["dropped"].as_u64() > Some(3), "{cost}");
    ensure!(readiness(&server)?.0 == 503, "a dry run did something");
    muster.ok(&["secrets", "reset", "--i-understand"])?;
    ensure!(readiness(&server)?.0 == 200);
    ensure!(muster.json(&["device", "show", "chose1"])?["state"] == "expected");
    let rotated = muster.json(&["profile", "set", "pumps", "--rotate-secret"])?;
    let secret = rotated["provision_secret"].as_str().context("no secret")?;
    let again = Group::new(SEED_KEY, secret).ask("new1");
    ensure!(Http::open(server.address().http())?.provision(&again)?.is_granted());
    server.stop()
}
