//! One case, played from its beginning to its end.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::PATIENCE;
use e2e::device::Answer;
use e2e::joined::Joined;
use serde_json::{Value, json};
use testkit::power_cut::{Cut, PowerCut};

use super::case::{Act, Case, Trouble};

/// The device it is about.
const NAME: &str = "pump";

/// The file whose syncs are the writes.
const WRITES: &str = "main.db-wal";

/// How long whoever waits rests between two looks.
const REST: Duration = Duration::from_millis(25);

/// How a case was played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Played {
    /// Whether the power failed: else there were fewer writes.
    pub(crate) cut: bool,
    /// How many writes there were until the end, or until the cut.
    pub(crate) writes: u64,
}

/// Plays a case, and looks at what is left.
pub(crate) fn play(case: Case) -> Result<Played> {
    let layer = PowerCut::new(case.write)?;
    let mut drama = Drama::open(case, &layer)?;
    let before = writes(&layer)?;
    layer.order(&Cut { file: WRITES.to_owned(), at: case.write }, case.side)?;
    drama.joined.receiver.misbehave(&case.trouble.misbehaviour())?;
    let over = drama.act()? == Course::Over;
    drama.heal()?;
    let over = over && drama.strive()? == Course::Over;
    let cut = !layer.withdraw();
    ensure!(over || cut, "the server ended by itself: {}", drama.transcript());
    let played = Played { cut, writes: writes(&layer)? - before };
    if cut {
        drama.until("the cut", |_| Ok(false))?;
        drama.recover(&layer)?;
        ensure!(drama.strive()? == Course::Over, "the server ended: {}", drama.transcript());
    }
    drama.check().with_context(|| drama.transcript())?;
    Ok(played)
}

fn writes(layer: &PowerCut) -> Result<u64> {
    let counts = layer.sync_counts()?;
    Ok(counts.iter().filter(|(file, _)| file.ends_with(WRITES)).map(|(_, calls)| calls).sum())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Over,
    /// The power has failed.
    Dead,
}

struct Drama {
    case: Case,
    joined: Joined,
    /// Every token that the device was told, in order.
    tokens: Vec<String>,
    /// Whether it was told one since the act began.
    answered: bool,
    /// Whether the operator was told that it leaves.
    leaves: bool,
}

impl Drama {
    fn open(case: Case, layer: &PowerCut) -> Result<Drama> {
        let profile = ["--strategy", "create-new", "--reprovision", "rotate"];
        let steps = ["--step", "erp:before-reply", "--grace", "0s"];
        let joined = Joined::start_by(&[profile, steps].concat(), |setup| {
            let server = setup.launch(|command| layer.count_only(command, setup.folder()))?;
            server.wait_until_ready()?;
            Ok(server)
        })?;
        let mut drama = Drama { case, joined, tokens: Vec::new(), answered: false, leaves: false };
        if case.act.begins_inside() {
            let token = drama.joined.insist(NAME)?;
            ensure!(drama.joined.lets_in(&token));
            drama.joined.until_settled(NAME)?;
            drama.tokens.push(token);
        }
        Ok(drama)
    }

    /// What the device and the operator do first, until the neighbour's trouble was met.
    fn act(&mut self) -> Result<Course> {
        if self.case.act == Act::TurnBack {
            self.ask()?;
        }
        self.until("the trouble to be met", |drama| {
            drama.go_on()?;
            drama.has_met_the_trouble()
        })
    }

    /// What the device and the operator do until they are answered: the one comes again until it has credentials
    /// that it did not have, the other tries again what was not confirmed.
    fn go_on(&mut self) -> Result<()> {
        if self.case.act.ends_outside() {
            self.let_leave()
        } else if !self.answered {
            self.ask()
        } else {
            Ok(())
        }
    }

    /// Whether a step has failed once, or there is nothing that could.
    fn has_met_the_trouble(&mut self) -> Result<bool> {
        let operations = self.operations()?;
        let met = |step: &&Value| step["fault"].is_string() || step["attempts"].as_u64() > Some(1);
        let steps = || operations.iter().filter_map(|operation| operation["steps"].as_array()).flatten();
        Ok(steps().any(|step| met(&step)) || self.is_answered() && self.is_settled()?)
    }

    fn heal(&mut self) -> Result<()> {
        match self.case.trouble {
            Trouble::Killed => self.joined.receiver.restart(),
            _ => self.joined.receiver.heal(),
        }
    }

    fn is_answered(&self) -> bool {
        if self.case.act.ends_outside() { self.leaves } else { self.answered }
    }

    /// Until all work has come to its end.
    fn strive(&mut self) -> Result<Course> {
        self.until("the end", |drama| {
            drama.go_on()?;
            drama.resume_what_stopped()?;
            drama.is_over()
        })
    }

    fn is_over(&mut self) -> Result<bool> {
        if !self.is_settled()? {
            return Ok(false);
        }
        let state = self.joined.server()?.operator()?.get(&format!("/devices/{NAME}"))?["state"].clone();
        let (outside, inside) = (self.case.act.ends_outside(), self.answered);
        Ok(outside && self.leaves && state == "decommissioned"
            || !outside && inside && state == "provisioned")
    }

    /// Looks until it is so, or the server is dead. What fails meanwhile is tried again.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Drama) -> Result<bool>) -> Result<Course> {
        let begun = Instant::now();
        loop {
            let found = is_so(self);
            if self.joined.server()?.process().has_ended() {
                return Ok(Course::Dead);
            }
            match found {
                Ok(true) => return Ok(Course::Over),
                found if begun.elapsed() > PATIENCE => {
                    let stands = self.operations();
                    bail!("in vain for {what}: {found:?}; {stands:?}; {}", self.transcript());
                }
                _ => thread::sleep(REST),
            }
        }
    }

    fn ask(&mut self) -> Result<()> {
        match self.joined.ask(NAME) {
            Ok(Answer::Later) | Err(_) => Ok(()),
            Ok(answer) => {
                let token = answer.into_token()?;
                // Until it is known that it has used them, it is told those that it has.
                if self.tokens.last() == Some(&token) {
                    let _ = self.joined.lets_in(&token);
                } else {
                    self.answered = true;
                    self.tokens.push(token);
                }
                Ok(())
            }
        }
    }

    fn let_leave(&mut self) -> Result<()> {
        if self.leaves {
            return Ok(());
        }
        let mut operator = self.joined.server()?.operator()?;
        let path = format!("/devices/{NAME}/decommission");
        let reply = operator.call("POST", &path, Some(&json!({})))?;
        // It may have been kept, and only the answer was lost.
        self.leaves = reply.status == 200 || reply.text().contains("device-leaving");
        // Where nothing of a first request was kept there is nobody who could leave; the device comes again.
        if reply.status == 404 && self.case.act.asks() {
            self.ask()?;
        }
        ensure!(self.leaves, "{} {}", reply.status_line, reply.text());
        Ok(())
    }

    /// A wrong answer stops a step; the operator, who has had the neighbour mended, resumes it.
    fn resume_what_stopped(&mut self) -> Result<()> {
        for operation in self.operations()? {
            if operation["phase"] == "stopped" {
                let path = format!("/operations/{}/resume", operation["id"]);
                self.joined.server()?.operator()?.post(&path, &json!({}))?;
            }
        }
        Ok(())
    }

    /// Its operations, the newest first; none where nobody knows it yet.
    fn operations(&self) -> Result<Vec<Value>> {
        let mut operator = self.joined.server()?.operator()?;
        if operator.call("GET", &format!("/devices/{NAME}"), None)?.status == 404 {
            return Ok(Vec::new());
        }
        operator.all(&format!("/operations?device={NAME}"))
    }

    fn is_settled(&self) -> Result<bool> {
        let operations = self.operations()?;
        Ok(!operations.is_empty() && operations.iter().all(|operation| operation["phase"] == "done"))
    }

    /// Starts the server on what the disk has kept.
    fn recover(&mut self, layer: &PowerCut) -> Result<()> {
        let setup = self.joined.setup.clone();
        let what = layer.what_happened().with_context(|| self.transcript())?;
        fs::remove_dir_all(setup.folder())?;
        let kept = setup.home().join("kept");
        layer.recovered(&kept)?;
        let setup = setup.on(&kept);
        self.joined.muster = setup.muster()?;
        self.joined.server = Some(setup.start().with_context(|| format!("the start after {what}"))?);
        self.joined.setup = setup;
        Ok(())
    }

    // === what has to be true in the end ===

    fn check(&self) -> Result<()> {
        let things = self.joined.known_outside(NAME)?;
        let wanted = usize::from(!self.case.act.ends_outside());
        ensure!(things.len() == wanted, "the neighbour holds {things:?}");
        ensure!(self.joined.receiver.devices()?.len() == wanted, "it holds another one's");
        self.check_receipts(things.first().map(|thing| (thing.external_id.as_str(), thing.operation)))?;
        self.check_identity()?;
        self.joined.check_peace()?;
        if self.case.act.ends_outside() {
            let token = self.joined.insist(NAME).context("its name is free")?;
            ensure!(!self.tokens.contains(&token) && self.joined.lets_in(&token));
            ensure!(self.joined.known_outside(NAME)?.len() == 1, "who comes anew is known anew");
        }
        Ok(())
    }

    /// The last receipt of a join is that of what is there; none is of what never was; each retirement is done.
    fn check_receipts(&self, there: Option<(&str, u64)>) -> Result<()> {
        let (operations, made) = (self.operations()?, self.joined.receiver.counts()?.made);
        let done = operations.iter().filter_map(|operation| operation["steps"].as_array()).flatten();
        let done: Vec<&Value> = done.filter(|step| step["state"] == "done").collect();
        for step in &done {
            let number =
                step["external_id"].as_str().and_then(|id| id.strip_prefix("thing-")?.parse::<u64>().ok());
            let joins = step["action"] == "ensure";
            ensure!(number.is_some_and(|number| number <= made) || !joins, "a receipt of nothing: {step}");
        }
        // The newest come first.
        let told = |last: &Value| match there {
            Some((thing, operation)) => {
                last["action"] == "ensure" && last["external_id"] == thing && last["operation"] == operation
            }
            None => last["action"] == "retire",
        };
        let nothing_happened = there.is_none() && made == 0;
        let is_true = done.first().map_or(nothing_happened, |last| told(last));
        ensure!(is_true, "{there:?} is there, but the last receipt is {:?}", done.first());
        Ok(())
    }

    /// The token of the last answer works, unless the device has left; no other one ever does.
    fn check_identity(&self) -> Result<()> {
        for (at, token) in self.tokens.iter().enumerate() {
            let newest = at + 1 == self.tokens.len() && !self.case.act.ends_outside();
            ensure!(self.joined.lets_in(token) == newest, "token {at} of {}", self.tokens.len());
        }
        let devices = self.joined.server()?.operator()?.all("/devices?limit=1000")?;
        let present = devices.iter().filter(|device| device["state"] != "decommissioned").count();
        ensure!(present == usize::from(!self.case.act.ends_outside()), "{devices:?}");
        Ok(())
    }

    fn transcript(&self) -> String {
        let server = self.joined.server.as_ref();
        let operations = self.operations().unwrap_or_default();
        let said = server.map(|server| server.process().transcript()).unwrap_or_default();
        let told = self.joined.receiver.deliveries().unwrap_or_default();
        format!("{}: operations {operations:#?}\nthe neighbour was told {told:#?}\n{said}", self.case)
    }
}
