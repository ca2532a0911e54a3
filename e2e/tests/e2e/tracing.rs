//! The trace of one device: its packets, what was decided, and none of its secrets.

use anyhow::{Context, Result, ensure};
use e2e::device::{Group, Http, Mqtt};
use e2e::musterd::{Musterd, SEED_KEY, SEED_SECRET, Setup};
use serde_json::{Value, json};

#[test]
fn a_trace_tells_what_a_newcomers_device_sends_and_is_told_and_no_secret() -> Result<()> {
    let server = Setup::quickstart()?.start()?;
    let muster = server.muster()?;
    muster.ok(&["trace", "on", "pump-1", "--for", "10m"])?;
    ensure!(muster.ok(&["trace", "show", "pump-1"])?.contains("Nothing was heard yet."));

    let address = server.address();
    let wrong = Group::new(SEED_KEY, "wrong-secret-of-the-device");
    Http::open(address.http())?.provision(&wrong.ask("pump-1"))?;
    Http::open(address.http())?.provision(&Group::new("nobodys-key", "another-secret").ask("pump-1"))?;
    let right = Group::new(SEED_KEY, SEED_SECRET);
    Http::open(address.http())?.provision(&right.ask("another-device"))?;
    let token = Mqtt::open_to_provision(address.mqtt())?.provision(&right.ask("pump-1"))?.into_token()?;
    ensure!(Http::open(address.http())?.telemetry(&token, &json!({"temperature": 25}))?.status == 200);
    ensure!(Mqtt::open_with_token(address.mqtt(), &token)?.telemetry(&json!({"temperature": 26}))?);

    let told = muster.json(&["trace", "show", "pump-1"])?;
    let seen: Vec<[&str; 3]> = told
        .as_array()
        .context("no list")?
        .iter()
        .map(|row| ["packet", "outcome", "code"].map(|member| row[member].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        ["provision", "refused", "proof-invalid"],
        ["provision", "refused", "profile-unknown"],
        ["provision", "accepted", ""],
        ["POST /api/v1/TOKEN/telemetry", "accepted", ""],
        ["CONNECT", "accepted", ""],
        ["PUBLISH v1/devices/me/telemetry", "accepted", ""],
    ];
    ensure!(seen == expected, "{told}");
    ensure!(told[0]["sent"].as_str().is_some_and(|sent| sent.contains(SEED_KEY)), "{told}");
    ensure!(told[0]["hint"].is_string() && told[3]["sent"] == r#"{"temperature":25}"#, "{told}");
    for secret in [SEED_SECRET, "wrong-secret-of-the-device", "another-secret", &token] {
        ensure!(!told.to_string().contains(secret), "a secret is shown: {told}");
    }

    ensure!(muster.json(&["trace", "list"])?[0]["exchanges"] == expected.len(), "{told}");
    muster.ok(&["trace", "off", "pump-1"])?;
    muster.fails(1, &["trace", "show", "pump-1"])?;
    ensure!(muster.json(&["trace", "list"])? == Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn an_operator_of_one_tenant_traces_its_own_devices_alone() -> Result<()> {
    let server = Musterd::serve("")?;
    let muster = server.muster()?;
    muster.ok(&["tenant", "create", "acme"])?;
    let of = |tenant: &str| -> Result<Group> {
        let create = ["profile", "create", "pumps", "--strategy", "create-new", "--tenant", tenant];
        let made = muster.json(&create)?;
        let word = |key: &str| made[key].as_str().map(str::to_owned).with_context(|| made.to_string());
        Ok(Group::new(&word("provision_key")?, &word("provision_secret")?))
    };
    let (theirs, ours) = (of("acme")?, of("default")?);
    muster.ok(&["trace", "on", "pump-1", "--tenant", "acme"])?;
    let mut http = Http::open(server.address().http())?;
    ensure!(http.provision(&ours.ask("pump-1"))?.is_granted());
    ensure!(http.provision(&theirs.ask("pump-1"))?.is_granted());
    let told = muster.json(&["trace", "show", "pump-1", "--tenant", "acme"])?;
    ensure!(told.as_array().is_some_and(|rows| rows.len() == 1), "{told}");
    Ok(())
}
