//! Devices that are made known to a neighbour before, with or after their answer, and leave it again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Answer, Group, Http, Mqtt};
use e2e::joined::{Joined, reading};
use e2e::musterd::{SEED_KEY, SEED_SECRET};
use serde_json::json;
use testkit::receiver::{How, Misbehaviour};
use testkit::wait::eventually;

const CREATE: [&str; 2] = ["--strategy", "create-new"];

fn joined(step: &str) -> Result<Joined> {
    Joined::start(&[&CREATE[..], &["--step", step, "--grace", "0s"]].concat())
}

#[test]
fn a_neighbour_knows_a_device_before_it_is_answered_and_nothing_of_it_once_it_has_left() -> Result<()> {
    let joined = joined("erp:before-reply")?;
    let token = joined.ask("pump-1")?.into_token()?;
    ensure!(joined.known_outside("pump-1")?.len() == 1, "the neighbour is told before the answer");
    let mut mqtt = Mqtt::open_to_provision(joined.setup.address().mqtt())?;
    ensure!(mqtt.provision(&Group::new(SEED_KEY, SEED_SECRET).ask("pump-2"))?.is_granted());
    ensure!(joined.known_outside("pump-2")?.len() == 1, "over MQTT too");
    ensure!(joined.lets_in(&token));
    joined.muster.ok(&["device", "decommission", "pump-1", "--yes"])?;
    ensure!(!joined.lets_in(&token), "its credentials are void at once");
    joined.until_known("pump-1", 0)?;
    joined.until_state("pump-1", "decommissioned")?;
    let again = joined.ask("pump-1")?.into_token()?;
    ensure!(again != token && joined.lets_in(&again), "the name is free for a new device");
    ensure!(joined.known_outside("pump-1")?.len() == 1);
    joined.check_peace()
}

#[test]
fn steps_with_and_after_the_reply_do_not_keep_a_device_waiting_for_a_neighbour_that_is_down() -> Result<()> {
    for gate in ["with-reply", "after-reply"] {
        let joined = joined(&format!("erp:{gate}"))?;
        joined.receiver.misbehave(&Misbehaviour::instead_of_work(How::Down))?;
        let token = joined.ask("pump")?.into_token()?;
        ensure!(joined.lets_in(&token), "{gate}");
        ensure!(joined.operations("pump")?[0]["phase"] == "obligations", "{gate}");
        joined.receiver.heal()?;
        joined.until_known("pump", 1)?;
        joined.until_settled("pump")?;
        joined.check_peace()?;
    }
    Ok(())
}

#[test]
fn a_first_connection_tells_the_neighbour_and_only_the_first() -> Result<()> {
    let joined = joined("erp:on-first-connection")?;
    let token = joined.ask("pump")?.into_token()?;
    ensure!(joined.operations("pump")?[0]["steps"][0]["state"] == "waiting");
    ensure!(joined.known_outside("pump")?.is_empty());
    ensure!(Http::open(joined.setup.address().http())?.telemetry(&token, &reading())?.status == 200);
    joined.until_known("pump", 1)?;
    ensure!(joined.lets_in(&token));
    joined.until_settled("pump")?;
    ensure!(joined.receiver.counts()?.deliveries == 1, "{:?}", joined.receiver.deliveries()?);
    joined.check_peace()
}

#[test]
fn a_device_that_stopped_waiting_joins_its_operation_and_gets_the_credentials_that_it_made() -> Result<()> {
    let joined = joined("erp:before-reply")?;
    joined.receiver.misbehave(&Misbehaviour::instead_of_work(How::Down))?;
    ensure!(joined.ask("pump")? == Answer::Later, "it hears that it is to come again");
    joined.until_state("pump", "provisioning")?;
    joined.receiver.heal()?;
    joined.until_state("pump", "provisioned")?;
    let token = joined.ask("pump")?.into_token()?;
    ensure!(joined.ask("pump")?.into_token()? == token, "until it has used them, it is told them again");
    ensure!(joined.lets_in(&token));
    let device = || matches!(joined.ask("pump"), Ok(Answer::Refused { .. }));
    eventually("who has used its credentials to be refused", PATIENCE, || device().then_some(()))?;
    ensure!(joined.receiver.counts()?.made == 1);
    joined.check_peace()
}

#[test]
fn a_failure_for_good_stops_where_an_operator_resumes_unwinds_or_writes_off() -> Result<()> {
    let joined = joined("erp:before-reply")?;
    let stop = |name: &str| -> Result<String> {
        joined.receiver.misbehave(&Misbehaviour::instead_of_work(How::Status(422, None)))?;
        ensure!(joined.ask(name)? == Answer::Later, "{name}");
        joined.until_state(name, "failed")?;
        joined.receiver.heal()?;
        Ok(joined.operations(name)?[0]["id"].to_string())
    };
    let resumed = stop("resumed")?;
    ensure!(joined.muster.ok(&["operation", "list", "--stopped"])?.contains("resumed"));
    ensure!(joined.ask("resumed")? == Answer::Later, "it waits for the operator");
    joined.muster.ok(&["operation", "resume", &resumed])?;
    joined.until_state("resumed", "provisioned")?;
    ensure!(joined.ask("resumed")?.is_granted() && joined.known_outside("resumed")?.len() == 1);
    let written_off = stop("written-off")?;
    joined.muster.ok(&["operation", "write-off", &written_off, "0", "--yes"])?;
    ensure!(joined.ask("written-off")?.is_granted() && joined.known_outside("written-off")?.is_empty());
    let unwound = stop("unwound")?;
    joined.muster.fails(5, &["operation", "unwind", &unwound])?;
    joined.muster.ok(&["operation", "unwind", &unwound, "--yes"])?;
    joined.until_state("unwound", "decommissioned")?;
    ensure!(joined.ask("unwound")?.is_granted(), "it may come anew");
    joined.check_peace()
}

#[test]
fn a_device_that_leaves_can_be_taken_back_while_its_grace_lasts() -> Result<()> {
    let joined = Joined::start(&["--strategy", "check-pre-provisioned", "--step", "erp:before-reply"])?;
    joined.muster.ok(&["device", "add", "pump", "--profile", "pumps"])?;
    let token = joined.ask("pump")?.into_token()?;
    joined.muster.fails(1, &["device", "delete", "pump", "--yes"]).context("neighbours know it")?;
    joined.muster.ok(&["device", "decommission", "pump", "--grace", "1h", "--yes"])?;
    joined.until_known("pump", 0)?;
    ensure!(!joined.ask("pump")?.is_granted(), "who leaves stays out");
    joined.muster.ok(&["device", "restore", "pump"])?;
    let again = joined.ask("pump")?.into_token()?;
    ensure!(again != token && joined.lets_in(&again) && !joined.lets_in(&token));
    ensure!(joined.known_outside("pump")?.len() == 1);
    joined.check_peace()
}

#[test]
fn a_report_of_leaving_is_checked_without_a_server_and_does_not_bear_a_changed_byte() -> Result<()> {
    let mut joined = joined("erp:before-reply")?;
    joined.ask("pump")?.into_token()?;
    let file = joined.setup.home().join("report.json");
    let path = file.to_str().context("a path")?;
    joined.muster.ok(&["device", "decommission", "pump", "--report", path, "--yes"])?;
    let key =
        joined.muster.json(&["decommission", "key"])?["public_key"].as_str().context("a key")?.to_owned();
    drop(joined.server.take());
    let verify = |key: &str| joined.muster.run(&["decommission", "verify", path, "--key", key]);
    let said = verify(&key)?;
    ensure!(said.code == 0 && said.out.contains("everyone knows  yes"), "{said:?}");
    ensure!(verify(&key.replace('a', "b").replace('1', "2"))?.code != 0, "another key");
    let whole = std::fs::read_to_string(&file)?;
    for (from, to) in
        [("retire", "retirE"), ("pump", "pumq"), ("\\\"step_count\\\":2", "\\\"step_count\\\":1")]
    {
        ensure!(whole.contains(from), "{from} in {whole}");
        std::fs::write(&file, whole.replacen(from, to, 1))?;
        ensure!(verify(&key)?.code != 0, "{from}");
    }
    Ok(())
}

#[test]
fn a_whole_profile_leaves_with_one_word() -> Result<()> {
    let joined = joined("erp:after-reply")?;
    for number in 0..20 {
        joined.ask(&format!("pump-{number}"))?.into_token()?;
    }
    joined.ask("valve")?.into_token()?;
    eventually("the neighbour to know all", PATIENCE, || {
        (joined.receiver.devices().ok()?.len() == 21).then_some(())
    })?;
    let chosen = ["device", "decommission", "--profile", "pumps", "--name-prefix", "pump-"];
    let rehearsed = [&chosen[..], &["--dry-run"]].concat();
    let told = joined.muster.ok(&rehearsed)?;
    ensure!(told.contains("20 devices") && told.contains("erp: 20"), "{told}");
    ensure!(joined.muster.json(&rehearsed)?["would_retire"] == json!({ "erp": 20 }));
    joined.until_settled("valve")?;
    let outside = joined.known_outside("valve")?[0].external_id.clone();
    let alone = ["device", "decommission", "valve", "--dry-run"];
    let undone = json!([{ "step": 0, "connector": "erp", "external_id": outside }]);
    ensure!(joined.muster.json(&alone)?["would_retire"] == undone, "{outside}");
    ensure!(joined.muster.ok(&alone)?.contains(&format!("step 0, erp: {outside}")));
    ensure!(joined.receiver.devices()?.len() == 21);
    joined.muster.ok(&[&chosen[..], &["--yes"]].concat())?;
    eventually("the neighbour to forget them", PATIENCE, || {
        (joined.receiver.devices().ok()?.len() == 1).then_some(())
    })?;
    ensure!(joined.known_outside("valve")?.len() == 1);
    joined.check_peace()
}

#[test]
fn a_connector_and_a_hook_are_tested_from_a_terminal_and_tell_what_is_wrong() -> Result<()> {
    let joined = Joined::start(&CREATE)?;
    for name in ["erp", "gate"] {
        let test = ["connector", "test", name];
        ensure!(joined.muster.ok(&test)?.contains("yes"), "{name}");
        for (how, code) in [(How::Down, "unreachable"), (How::Status(401, None), "rejected")] {
            joined.receiver.misbehave(&Misbehaviour::instead_of_work(how))?;
            let said = joined.muster.run(&test)?;
            ensure!(said.code == 1 && said.out.contains(code) && said.err.contains("hint:"), "{said:?}");
            joined.receiver.heal()?;
        }
        ensure!(joined.muster.json(&test)?["works"] == true, "{name} is well again");
    }
    let said = joined.muster.fails(1, &["connector", "test", "nobody"])?;
    ensure!(said.contains("hint:") && said.contains("muster connector list"), "{said}");
    ensure!(joined.receiver.counts()?.made == 0, "a test makes nothing");
    joined.check_peace()
}

#[test]
fn a_hook_is_asked_before_a_device_comes_in() -> Result<()> {
    let hook = ["--hook", "gate", "--initial-attributes", r#"{"site":"a","line":1}"#];
    let joined = Joined::start(&[&CREATE[..], &hook].concat())?;
    joined.receiver.answer_questions(&json!({ "allow": true, "attributes": { "site": "b" } }))?;
    ensure!(joined.ask("welcome")?.is_granted());
    ensure!(joined.device("welcome")?["attributes"] == json!({ "site": "b", "line": 1 }));
    joined.receiver.answer_questions(&json!({ "allow": false, "reason": "stolen" }))?;
    ensure!(matches!(joined.ask("unwelcome")?, Answer::Refused { .. }));
    ensure!(joined.muster.ok(&["approval", "list", "--all"])?.contains("unwelcome"));
    joined.receiver.answer_questions(&json!({ "allow": true }))?;
    joined.receiver.misbehave(&Misbehaviour::instead_of_work(How::Down))?;
    ensure!(joined.ask("patient")? == Answer::Later);
    joined.receiver.heal()?;
    ensure!(joined.insist("patient").map(|token| joined.lets_in(&token))?);
    joined.check_peace()
}

#[test]
fn a_question_outlives_the_server_and_a_person_answers_it() -> Result<()> {
    let mut joined = Joined::start(&[&CREATE[..], &["--approval", "on"]].concat())?;
    ensure!(joined.ask("pump")? == Answer::Later);
    joined.server.take().context("a server")?.kill()?;
    joined.server = Some(joined.setup.start()?);
    let waiting = joined.muster.json(&["approval", "list"])?;
    ensure!(waiting[0]["name"] == "pump" && waiting[0]["verdict"] == "awaits-person", "{waiting}");
    let number = waiting[0]["id"].to_string();
    let begun = Instant::now();
    let token = std::thread::scope(|scope| {
        let device = scope.spawn(|| joined.insist("pump"));
        joined.muster.ok(&["approval", "approve", &number])?;
        device.join().unwrap_or_else(|_| anyhow::bail!("the device failed"))
    })?;
    ensure!(joined.lets_in(&token) && begun.elapsed() < Duration::from_secs(60));
    joined.ask("stranger")?;
    let number = joined.muster.json(&["approval", "list"])?[0]["id"].to_string();
    joined.muster.ok(&["approval", "reject", &number, "--reason", "not ours"])?;
    ensure!(matches!(joined.ask("stranger")?, Answer::Refused { .. }));
    joined.muster.ok(&["approval", "forget", &number, "--yes"])?;
    ensure!(joined.ask("stranger")? == Answer::Later, "it is asked about anew");
    joined.check_peace()
}
