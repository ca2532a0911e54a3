//! The fault matrix: whatever a neighbour does, whatever a device or an operator wants of it, and wherever the
//! power fails at the server's writes. After recovery there is no orphan at the neighbour, one identity, and the
//! receipts are true.
//!
//! The power fails right before or right after the n-th sync of the main database, by the layer of
//! `testkit::power_cut`: every write has both sides. Tests run a seeded sample (`MUSTER_FAULT_CASES`, 24 unless
//! set; `MUSTER_SEED` replays it); `cargo xtask faults --all` runs every case.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::Answer;
use e2e::joined::Joined;
use e2e::musterd::Musterd;
use e2e::settings::{Chance, runs, seed};
use testkit::power_cut::{Cut, PowerCut};
use testkit::receiver::{How, Misbehaviour};
use testkit::wait::eventually;

/// The file whose syncs are the server's writes.
const WRITES: &str = "main.db-wal";
/// Writes that a scene may make beyond those of a scene without faults: tries that fail are writes too.
const MORE_WRITES: u64 = 4;
/// How often a device asks before it gives up, in a scene that may be cut at any time.
const TRIES: usize = 2;
const DEVICE: &str = "pump";

/// What is wrong with the neighbour.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Down,
    Slow,
    Failing,
    Babbling,
    CutAfterWork,
    KilledInTheMiddle,
}

const WRONGS: [Wrong; 6] = [
    Wrong::Down,
    Wrong::Slow,
    Wrong::Failing,
    Wrong::Babbling,
    Wrong::CutAfterWork,
    Wrong::KilledInTheMiddle,
];

/// What is wanted meanwhile.
#[derive(Clone, Copy, Debug)]
enum Scene {
    Join,
    Rotate,
    Leave,
}

const SCENES: [Scene; 3] = [Scene::Join, Scene::Rotate, Scene::Leave];

#[derive(Clone, Copy, Debug)]
struct Case {
    wrong: Wrong,
    scene: Scene,
    /// The write at which the power fails, counted from the start of the scene.
    write: u64,
    before: bool,
}

#[test]
fn no_fault_leaves_an_orphan_a_second_identity_or_a_false_receipt() -> Result<()> {
    let mut chance = Chance::new(seed("faults"));
    let counted = SCENES.map(count);
    let mut cases = Vec::new();
    for (scene, counted) in SCENES.into_iter().zip(counted) {
        cases.extend(all_of(scene, counted?));
    }
    let wanted = runs("MUSTER_FAULT_CASES", 24);
    let sample = if wanted == 0 { cases } else { drawn(cases, wanted, &mut chance) };
    let mut hit = 0;
    for (number, case) in sample.iter().enumerate() {
        let cut = survive(*case, chance.draw()).with_context(|| format!("case {number}: {case:?}"))?;
        hit += u64::from(cut);
    }
    println!("{} cases, the power failed in {hit} of them", sample.len());
    ensure!(hit * 3 >= sample.len() as u64, "the power hardly ever failed");
    Ok(())
}

/// How many writes a scene makes: those up to where the server listens, and all.
fn count(scene: Scene) -> Result<(u64, u64)> {
    let stage = Stage::set(scene)?;
    let layer = PowerCut::new(0)?;
    let folder = stage.joined.setup.folder().to_owned();
    let server = stage.joined.setup.launch(|command| layer.count_only(command, &folder))?;
    server.wait_until_ready()?;
    let writes = || Ok::<_, anyhow::Error>(layer.sync_counts()?.get("db/main.db-wal").copied().unwrap_or(0));
    let started = writes()?;
    play(&stage.joined, scene);
    stage.joined.until_settled(DEVICE)?;
    let ended = writes()?;
    server.kill()?;
    Ok((started, ended))
}

fn all_of(scene: Scene, (started, ended): (u64, u64)) -> Vec<Case> {
    let writes = started + 1..=ended + MORE_WRITES;
    let mut cases = Vec::new();
    for write in writes {
        for wrong in WRONGS {
            cases.extend([true, false].map(|before| Case { wrong, scene, write, before }));
        }
    }
    cases
}

/// A sample in which every fault and every scene has its turn.
fn drawn(mut cases: Vec<Case>, wanted: u64, chance: &mut Chance) -> Vec<Case> {
    let mut sample = Vec::new();
    for turn in 0..wanted as usize {
        let (wrong, scene) = (WRONGS[turn % 6], SCENES[turn / 6 % 3]);
        let same = |case: &Case| {
            std::mem::discriminant(&case.wrong) == std::mem::discriminant(&wrong)
                && std::mem::discriminant(&case.scene) == std::mem::discriminant(&scene)
        };
        let places: Vec<usize> = (0..cases.len()).filter(|at| same(&cases[*at])).collect();
        if let Some(place) = places.get(chance.below(places.len() as u64) as usize) {
            sample.push(cases.swap_remove(*place));
        }
    }
    sample
}

/// Everything before the scene: a server that was stopped, and a device that has joined where one is needed.
struct Stage {
    joined: Joined,
    /// The token of the device, where it has joined.
    token: Option<String>,
}

impl Stage {
    fn set(scene: Scene) -> Result<Stage> {
        let flags = ["--strategy", "create-new", "--reprovision", "rotate", "--grace", "0s"];
        let mut joined = Joined::start(&[&flags[..], &["--step", "erp:before-reply"]].concat())?;
        let token = match scene {
            Scene::Join => None,
            Scene::Rotate | Scene::Leave => {
                let token = joined.insist(DEVICE)?;
                ensure!(joined.lets_in(&token));
                joined.until_settled(DEVICE)?;
                Some(token)
            }
        };
        joined.server.take().context("a server")?.stop()?;
        Ok(Stage { joined, token })
    }
}

/// What is wanted, once; the server may end at any moment of it. What a device was given.
fn play(joined: &Joined, scene: Scene) -> Option<String> {
    if let Scene::Leave = scene {
        // Whether it was heard shows later.
        let _ = joined.muster.run(&["device", "decommission", DEVICE, "--yes"]);
        return None;
    }
    for _ in 0..TRIES {
        match joined.ask(DEVICE) {
            Ok(Answer::Later) => {}
            Ok(answer) => return answer.into_token().ok(),
            Err(_) => return None,
        }
    }
    None
}

/// Plays one case and looks at what is left; whether the power failed in it.
fn survive(case: Case, seed: u64) -> Result<bool> {
    let mut stage = Stage::set(case.scene)?;
    misbehave(&stage.joined, case.wrong, seed)?;
    let layer = PowerCut::new(seed)?;
    let folder = stage.joined.setup.folder().to_owned();
    let cut = Cut { file: WRITES.to_owned(), at: case.write };
    let server =
        stage.joined.setup.launch(|command| layer.command_at(command, &folder, &cut, case.before))?;
    let given = server.wait_until_ready().ok().and_then(|()| play(&stage.joined, case.scene));
    end(server, &layer)?;
    let happened = layer.what_happened();
    if happened.is_some() {
        fs::remove_dir_all(&folder)?;
        layer.recovered(&folder)?;
    }
    recover(&mut stage.joined)?;
    let said = happened.clone().unwrap_or_else(|| "not at all".to_owned());
    settle(&stage, case.scene, given).with_context(|| format!("the power failed {said}"))?;
    Ok(happened.is_some())
}

/// Lets the server come to the write at which it ends, or else ends it.
fn end(mut server: Musterd, layer: &PowerCut) -> Result<()> {
    if layer.what_happened().is_none() && !server.process().has_ended() {
        server.process_mut().kill()?;
    } else {
        server.process_mut().wait(PATIENCE)?;
    }
    Ok(())
}

fn misbehave(joined: &Joined, wrong: Wrong, seed: u64) -> Result<()> {
    let how = match wrong {
        Wrong::Down => Misbehaviour::instead_of_work(How::Down),
        // Longer than a call may take, shorter than its lease: the work comes when nobody waits for it.
        Wrong::Slow if seed.is_multiple_of(2) => Misbehaviour::instead_of_work(How::Slow(1500)),
        Wrong::Slow => Misbehaviour::after_work(How::Slow(1500)),
        Wrong::Failing => Misbehaviour::instead_of_work(How::Status(500, None)),
        Wrong::Babbling => Misbehaviour::after_work(How::Garbage),
        Wrong::CutAfterWork => Misbehaviour::after_work(How::Cut),
        Wrong::KilledInTheMiddle if seed.is_multiple_of(2) => Misbehaviour::instead_of_work(How::Die),
        Wrong::KilledInTheMiddle => Misbehaviour::after_work(How::Die),
    };
    joined.receiver.misbehave(&how)
}

/// The neighbour behaves again, and the server comes back.
fn recover(joined: &mut Joined) -> Result<()> {
    if joined.receiver.is_running() {
        joined.receiver.heal()?;
    } else {
        joined.receiver.restart()?;
    }
    joined.server = Some(joined.setup.start()?);
    Ok(())
}

/// Drives what is wanted to its end, as a real device and a real operator would, and compares.
fn settle(stage: &Stage, scene: Scene, given: Option<String>) -> Result<()> {
    let joined = &stage.joined;
    match scene {
        Scene::Join | Scene::Rotate => {
            let token = given.map_or_else(|| insist(joined), Ok)?;
            until_done(joined)?;
            ensure!(joined.lets_in(&token), "the token of the last answer lets nobody in");
            let old = stage.token.as_ref().is_some_and(|old| joined.lets_in(old));
            ensure!(!old, "the old token lets somebody in");
            check_outside(joined, 1)?;
        }
        Scene::Leave => {
            leave(joined)?;
            let old = stage.token.as_ref().is_some_and(|old| joined.lets_in(old));
            ensure!(!old, "the token of a device that has left lets somebody in");
            check_outside(joined, 0)?;
        }
    }
    check_inside(joined, scene)?;
    joined.check_peace()
}

/// Asks until there is an answer; where a step has stopped for good the operator resumes it.
fn insist(joined: &Joined) -> Result<String> {
    let answer = eventually("an answer", PATIENCE, || {
        resume(joined);
        joined.ask(DEVICE).ok().filter(|answer| *answer != Answer::Later)
    })?;
    answer.into_token()
}

fn resume(joined: &Joined) {
    for operation in joined.operations(DEVICE).unwrap_or_default() {
        if operation["phase"] == "stopped" {
            // It may have been resumed since it was listed.
            let _ = joined.muster.run(&["operation", "resume", &operation["id"].to_string()]);
        }
    }
}

fn until_done(joined: &Joined) -> Result<()> {
    eventually("every operation to end", PATIENCE, || {
        resume(joined);
        let operations = joined.operations(DEVICE).ok()?;
        operations.iter().all(|operation| operation["phase"] == "done").then_some(())
    })
}

/// Repeats the decommissioning where it was not heard, and waits for its end.
fn leave(joined: &Joined) -> Result<()> {
    eventually("the device to be gone", PATIENCE, || {
        resume(joined);
        let state = joined.device(DEVICE).ok()?["state"].as_str()?.to_owned();
        if !state.starts_with("decommission") {
            let _ = joined.muster.run(&["device", "decommission", DEVICE, "--yes"]);
        }
        (state == "decommissioned").then_some(())
    })
}

/// The neighbour holds what it should, and the receipts tell the same.
fn check_outside(joined: &Joined, count: usize) -> Result<()> {
    let things = joined.receiver.devices()?;
    ensure!(things.len() == count, "the neighbour holds {things:?}");
    let operations = joined.operations(DEVICE)?;
    let ensured = operations
        .iter()
        .flat_map(|operation| operation["steps"].as_array().into_iter().flatten())
        .find(|step| step["action"] == "ensure" && step["state"] == "done");
    for thing in &things {
        let receipt = ensured.context("no receipt")?;
        ensure!(receipt["external_id"] == thing.external_id, "{receipt} for {thing:?}");
    }
    Ok(())
}

/// There is one device of the name, or none.
fn check_inside(joined: &Joined, scene: Scene) -> Result<()> {
    let listed = joined.muster.json(&["device", "list"])?;
    let expected = usize::from(!matches!(scene, Scene::Leave));
    ensure!(listed.as_array().map(Vec::len) == Some(expected), "{listed}");
    Ok(())
}
