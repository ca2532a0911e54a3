//! Requests that the document allows, and requests that it does not, at random: no failure of the server's, no answer
//! that the document does not know, nothing taken that it forbids.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Group, Http};
use e2e::joined::Joined;
use e2e::muster::ended;
use e2e::python::Python;
use e2e::settings::{runs, seed};
use serde_json::{Value, json};
use testkit::postgres::Postgres;
use testkit::receiver::{How, Misbehaviour};
use testkit::wait::eventually;

/// Requests for each call and kind, where nobody says otherwise.
const REQUESTS: u64 = 20;
const GUESTS: (&str, &str) = ("guests-key", "guests-secret-of-some-length");

#[test]
fn no_request_at_random_finds_a_failure_or_an_answer_that_the_document_does_not_know() -> Result<()> {
    let joined = Joined::start(&PROFILE)?;
    ask_at_random(&joined)
}

#[test]
fn nor_does_one_on_postgresql() -> Result<()> {
    let postgres = Postgres::start()?;
    let url = postgres.url(&postgres.database()?);
    let joined = Joined::start_by(&PROFILE, |setup| setup.clone().setting("DATABASE__URL", url).start())?;
    ask_at_random(&joined)
}

const PROFILE: [&str; 4] = ["--strategy", "create-new", "--step", "erp:after-reply"];

fn ask_at_random(joined: &Joined) -> Result<()> {
    furnish(joined)?;
    let home = joined.setup.home();
    let told = home.join("answered.json");
    let ended = ended(command(joined)?.env("ANSWERED_FILE", &told))?;
    ensure!(ended.code == 0, "{}\n{}", ended.out, ended.err);
    let server = joined.server()?;
    server.must_be_running()?;
    let panicked = server.printed().into_iter().find(|line| line.contains("panicked"));
    ensure!(panicked.is_none(), "{panicked:?}");
    // Whoever is only ever turned away finds nothing.
    let told: Value = serde_json::from_str(&fs::read_to_string(told)?)?;
    let count = |what: &str| told[what].as_array().map(Vec::len).context("no list");
    ensure!(count("called")? > 50 && count("never")? * 3 < count("called")?, "{told}");
    Ok(())
}

/// Something of each kind: devices with work that has stopped, and one that waits for a person.
fn furnish(joined: &Joined) -> Result<()> {
    joined.receiver.misbehave(&Misbehaviour::instead_of_work(How::Status(422, None)))?;
    for name in ["pump-1", "pump-2", "pump-3"] {
        joined.ask(name)?.into_token()?;
        let stopped = || (joined.operations(name).ok()?[0]["phase"] == "stopped").then_some(());
        eventually("work that has stopped", PATIENCE, stopped)?;
    }
    let guarded = json!({
        "name": "guarded", "strategy": "create-new", "approval": true,
        "provision_key": GUESTS.0, "provision_secret": GUESTS.1,
    });
    let mut operator = joined.server()?.operator()?;
    // A character that not every database takes.
    for path in ["/freezes?tenant=%00", "/devices/%00", "/profiles/a%00b", "/operations?device=%00"] {
        let reply = operator.call("GET", path, None)?;
        ensure!(matches!(reply.status, 404 | 422), "{path}: {}", reply.text());
    }
    operator.post("/profiles", &guarded)?;
    let guest = Group::new(GUESTS.0, GUESTS.1).ask("guest-1");
    Http::open(joined.setup.address().http())?.provision(&guest)?;
    ensure!(operator.all("/approvals")?.len() == 1);
    let ann = json!({ "name": "ann@example.org", "role": "viewer", "password": "a password of some length" });
    operator.post("/operators", &ann)?;
    Ok(())
}

/// The one call that is left out voids the token that all others use: `resetSecrets`.
fn command(joined: &Joined) -> Result<Command> {
    let python = Python::Schemathesis.interpreter()?;
    let programs = e2e::own("programs/openapi");
    let token = fs::read_to_string(joined.setup.folder().join("keys/admin-secret"))?;
    let base = format!("http://{}/api/muster/v1", joined.setup.address().http());
    let mut command = joined.setup.neighbour(python.with_file_name("schemathesis"));
    command.current_dir(joined.setup.home()).env("PYTHONPATH", &programs).env("SCHEMATHESIS_HOOKS", "hooks");
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("COLUMNS", "160");
    command.arg("--config-file").arg(programs.join("schemathesis.toml"));
    command.args(["run", &format!("{base}/openapi.json"), "--url", &base]);
    command.args(["--header", &format!("Authorization: Bearer {}", token.trim_end())]);
    command.args(["--max-examples", &runs("MUSTER_RANDOM_REQUESTS", REQUESTS).to_string()]);
    command.args(["--seed", &seed("requests at random").to_string()]);
    command.args(["--continue-on-failure", "--workers", "1", "--request-timeout", "30", "--no-color"]);
    // That every request is carried out which the document allows cannot be: names have to name something.
    command.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
    command.args(["--exclude-operation-id", "resetSecrets"]);
    Ok(command)
}
